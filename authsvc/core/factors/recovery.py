"""Recovery codes: each stands once in the place of any second factor."""

from __future__ import annotations

import re
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.fields import REQUIRED, refused
from authsvc.core.messages.kinds import MfaChange, MfaChanged, RecoveryCodeUsed
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_recovery_code
from authsvc.domain import User
from authsvc.errors import CodeMismatch
from authsvc.store.db import Database, Executor
from authsvc.store.factors import recovery as recovery_codes

CODES = 10
GROUP = 4
_CODE = re.compile(r"[a-z2-7]{16}")
# Typed from paper: what the alphabet lacks is read as what it looks like.
_LOOK_ALIKES = str.maketrans("018", "olb")
# What a recovery code stands for, and so opens again when it was closed by wrong tries.
_STANDS_FOR = (Factor.RECOVERY_CODE, Factor.TOTP, Factor.SMS, Factor.EMAIL)


class Recovery:
    """Make and accept recovery codes."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        throttle: Throttle,
        bearers: Bearers,
        notices: Notices,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._throttle = throttle
        self._bearers = bearers
        self._notices = notices
        self._audit = audit
        self._clock = clock

    async def generate(self, bearer: Bearer) -> list[str]:
        """Replace the user's codes by ten new ones and tell the user by mail; they are told here and kept nowhere.

        Raises:
            ReauthenticationRequired: the authentication is too old.
            TokenRevoked: the session ended meanwhile.
        """
        self._bearers.require_recent(bearer)
        now = self._clock.now()
        codes = [new_recovery_code() for _ in range(CODES)]
        user_id = bearer.standing.user_id
        digests = [self._ring.digest(Purpose.RECOVERY_CODE, str(user_id), code) for code in codes]
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            await recovery_codes.replace(transaction, user_id=user_id, digests=digests, now=now)
            # Nothing has been guessed at the new ones.
            await self._throttle.forget(transaction, user.username_key, Factor.RECOVERY_CODE)
            await self._notices.tell(transaction, user, MfaChanged(MfaChange.RECOVERY_CODES_MADE), now=now)
            await self._audit.record(transaction, event_of(bearer, AuditKind.GENERATE_RECOVERY_CODES))
        return [_grouped(code) for code in codes]

    async def accept(self, executor: Executor, user: User, code: str, now: datetime) -> int:
        """Use a code up and tell the user by mail, in a transaction that holds the user's row; return how many remain.

        `code` is what `parse` returned; the try was counted before, by `Factor.RECOVERY_CODE`. Factors that wrong tries
        had closed are open again.

        Raises:
            CodeMismatch: the user has no such code, or it was used.
        """
        digests = self._ring.digests(Purpose.RECOVERY_CODE, str(user.user_id), code)
        if not await recovery_codes.consume(executor, user_id=user.user_id, digests=digests):
            raise CodeMismatch
        await self._throttle.forget(executor, user.username_key, *_STANDS_FOR)
        left = await recovery_codes.count(executor, user_id=user.user_id)
        await self._notices.tell(executor, user, RecoveryCodeUsed(left), now=now)
        return left

    @staticmethod
    def parse(text: str, *, field: str) -> str:
        """Return a code as it is compared; letter case, spaces and hyphens don't matter.

        Raises:
            InvalidFields: it can be no recovery code.
        """
        letters = "".join(text.split()).replace("-", "").lower().translate(_LOOK_ALIKES)
        if not letters:
            raise refused(field, *REQUIRED)
        if not _CODE.fullmatch(letters):
            raise refused(field, "RECOVERY_CODE", "must be a recovery code of 16 letters and digits")
        return letters


def _grouped(code: str) -> str:
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))
