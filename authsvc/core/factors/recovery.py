"""Recovery codes: each stands once in the place of any second factor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors import kinds
from authsvc.core.factors.factor import Accept, Accepted, StepUpFactor
from authsvc.core.fields import refused
from authsvc.core.messages.kinds import MfaChange, MfaChanged, RecoveryCodeUsed
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_recovery_code
from authsvc.domain import Lane, User, UserId
from authsvc.errors import CodeMismatch, MfaNotEnrolled
from authsvc.store.db import Database, Executor
from authsvc.store.factors import recovery

CODES = 10
GROUP = 4
_CODE = re.compile(r"[a-z2-7]{16}")
# Typed from paper: what the alphabet lacks is read as what it looks like.
_LOOK_ALIKES = str.maketrans("018", "olb")


def parse_recovery_code(text: str) -> str:
    """Return a code as it is compared; letter case, spaces and hyphens don't matter.

    Raises:
        InvalidFields: it is none.
    """
    field = kinds.RECOVERY_CODE.answer
    letters = "".join(text.split()).replace("-", "").lower().translate(_LOOK_ALIKES)
    if not letters:
        raise refused(field, "REQUIRED", "must not be empty")
    if not _CODE.fullmatch(letters):
        raise refused(field, "RECOVERY_CODE", "must be a recovery code of 16 letters and digits")
    return letters


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryCode(StepUpFactor):
    """Accept recovery codes."""

    spec = kinds.RECOVERY_CODE

    database: Database
    ring: KeyRing
    throttle: Throttle
    notices: Notices

    def parse_own(self, text: str) -> str:
        """Return a code as it is compared."""
        return parse_recovery_code(text)

    async def require_enrolled(self, user_id: UserId) -> None:
        """See that codes are left."""
        if not await recovery.count(self.database, user_id=user_id):
            raise MfaNotEnrolled

    async def match_own(self, user_id: UserId, answer: str, lane: Lane) -> Accept:
        """Leave comparing to the statement that uses the code up."""

        async def accept(executor: Executor, locked: User, now: datetime) -> Accepted:
            await self.accept(executor, locked, answer, now=now)
            return Accepted(locked, self.spec.kind, did=(AuditKind.USE_RECOVERY_CODE,))

        return accept

    async def accept(self, executor: Executor, user: User, code: str, *, now: datetime) -> int:
        """Use a code up and tell the user by mail, in a transaction that holds the user's row; return how many remain.

        Factors that wrong tries had closed are open again, in every lane: a recovery code stands for each.

        Raises:
            CodeMismatch: the user has no such code, or it was used.
        """
        digests = self.ring.digests(Purpose.RECOVERY_CODE, str(user.user_id), code)
        if not await recovery.consume(executor, user_id=user.user_id, digests=digests):
            raise CodeMismatch
        await self.throttle.open(executor, [user.username_key], *(spec.guarded for spec in kinds.SECOND))
        left = await recovery.count(executor, user_id=user.user_id)
        await self.notices.tell(executor, user, RecoveryCodeUsed(left), now=now)
        return left


@dataclass(frozen=True, kw_only=True, slots=True)
class RecoveryCodes:
    """Make the codes of signed-in users."""

    ring: KeyRing
    throttle: Throttle
    signed_in: SignedIn
    notices: Notices

    async def generate(self, bearer: Bearer) -> list[str]:
        """Replace the user's codes by ten new ones and tell the user by mail; they are told here and kept nowhere.

        Raises:
            ReauthenticationRequired: the authentication is too old.
            TokenRevoked: the session ended meanwhile.
        """
        self.signed_in.require_recent(bearer)
        codes = [new_recovery_code() for _ in range(CODES)]
        user_id = str(bearer.standing.user_id)
        digests = [self.ring.digest(Purpose.RECOVERY_CODE, user_id, code) for code in codes]
        async with self.signed_in.change(bearer, AuditKind.GENERATE_RECOVERY_CODES, is_sensitive=True) as change:
            tx, user = change.executor, change.user
            await recovery.replace(tx, user_id=user.user_id, digests=digests, now=change.now)
            # Nothing has been guessed at the new ones.
            await self.throttle.open(tx, [user.username_key], kinds.RECOVERY_CODE.guarded)
            await self.notices.tell(tx, user, MfaChanged(MfaChange.RECOVERY_CODES_MADE), now=change.now)
        return [_grouped(code) for code in codes]


def _grouped(code: str) -> str:
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))
