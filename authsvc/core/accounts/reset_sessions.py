"""Tries at reset codes: with the session that a code was asked for by, or, for want of one, at the latest code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.core.access.caller import Caller
from authsvc.core.access.lanes import Lanes
from authsvc.core.access.throttle import Action, Admission
from authsvc.core.messages.codes import RESET_PASSWORD, RESET_PASSWORD_KNOWN, RESETS, CodeRef, Codes, Issued
from authsvc.crypto.sealing import Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.domain import STRANGERS, Lane, Medium, UsernameKey
from authsvc.errors import CodeExpired, CodeMismatch, DomainError
from authsvc.store import reset_sessions
from authsvc.store.codes import find_latest
from authsvc.store.db import Executor
from authsvc.store.reset_sessions import Asked, ResetSession

_BY_KEY = {purpose.key: purpose for purpose in RESETS}


def reset_ref(lane: Lane, name: UsernameKey) -> CodeRef:
    """Name the reset code of a name: that of strangers, or that of all who are known to the account."""
    return CodeRef(RESET_PASSWORD if lane == STRANGERS else RESET_PASSWORD_KNOWN, name, is_one_of_many=True)


@dataclass(frozen=True, slots=True)
class Naming:
    """Hold by what name a reset was asked for, as typed, and the name of the account that it stands for.

    Codes and tries are kept by what was typed: else those of an address would tell whose it is.
    """

    typed: UsernameKey
    username_key: UsernameKey


class ResetTry(ABC):
    """Stand for one who may try a code."""

    @abstractmethod
    async def spend(self, code: str) -> None:
        """Count a try and compare, committed at once; who passes goes on to `consume`.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: it was replaced, or there is no live code.
            LimitExceeded: too many tries for this name in this lane.
        """

    @abstractmethod
    async def forgive(self, code: str) -> None:
        """Forget the tries at a code that was right, when something else stopped its use."""

    @abstractmethod
    async def consume(self, executor: Executor, code: str, *, now: datetime) -> Medium:
        """Use a right code up; return what carried it.

        Raises:
            CodeExpired: another call used or replaced it.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class ResetSessions:
    """Open sessions of resets, and take who comes with one, or without."""

    codes: Codes
    lanes: Lanes

    async def open(self, executor: Executor, ref: CodeRef, issued: Issued, *, medium: Medium, lane: Lane) -> str:
        """Store a session for a code that was issued in this transaction; return its handle."""
        handle = new_handle()
        await reset_sessions.insert(
            executor,
            session=ResetSession(
                digest=self.codes.ring.digest(Purpose.RESET, handle),
                username_key=ref.username_key,
                purpose=ref.purpose.key,
                code_digest=issued.digest,
                medium=medium,
                lane=lane,
                expires_at=issued.expires_at,
            ),
        )
        return handle

    async def count(self, session: str, caller: Caller) -> Admission:
        """Count a call that answers a reset, before anything that it says is looked at.

        With a session its source alone is counted here: there may be none.

        Raises:
            LimitExceeded: too many calls from this source.
        """
        if not session:
            return await self.codes.throttle.admit(Action.RESET_CONFIRM, caller)
        await self.codes.throttle.spend_source(Action.RESET_CONFIRM, caller)
        return Admission()

    async def take(self, session: str, naming: Naming, caller: Caller, *, admission: Admission) -> ResetTry:
        """Return what takes the code of a call that was counted.

        Raises:
            CodeExpired: the session is unknown, of another name, expired, used or dead.
            LimitExceeded: too many calls in all, and the account does not know whence this one comes.
        """
        if not session:
            lane = await self.lanes.find(naming.username_key, caller)
            admission.require(lane)
            return _LatestCode(codes=self.codes, naming=naming, lane=lane)
        asked = await reset_sessions.find_live(
            self.codes.database,
            digests=self.codes.ring.digests(Purpose.RESET, session),
            username_key=naming.typed,
            now=self.codes.clock.now(),
            max_wrong=self.codes.settings.max_wrong,
        )
        if asked is None:
            raise CodeExpired
        await self.codes.throttle.spend_all(Action.RESET_CONFIRM, asked.lane)
        return _OwnCode(codes=self.codes, asked=asked, ref=CodeRef(_BY_KEY[asked.purpose], naming.typed))

    async def end_all(self, executor: Executor, names: Collection[UsernameKey]) -> None:
        """End all resets of an account, in a transaction that holds its row."""
        await self.codes.drop(executor, names, *RESETS)
        await self.codes.throttle.open(executor, names, RESET_PASSWORD.guarded)


@dataclass(frozen=True, kw_only=True, slots=True)
class _OwnCode(ResetTry):
    """Take the code of a session: wrong ones count against that alone, so nobody else can use its tries up."""

    codes: Codes
    asked: Asked
    ref: CodeRef

    async def spend(self, code: str) -> None:
        codes = self.codes
        is_right = await reset_sessions.spend_try(
            codes.database,
            digest=self.asked.digest,
            code_digests=codes.digests(self.ref, code),
            now=codes.clock.now(),
            max_wrong=codes.settings.max_wrong,
        )
        if is_right is None:
            raise CodeExpired
        if not is_right:
            raise CodeMismatch

    async def forgive(self, code: str) -> None:
        await reset_sessions.forgive(self.codes.database, digest=self.asked.digest)

    async def consume(self, executor: Executor, code: str, *, now: datetime) -> Medium:
        medium = await reset_sessions.consume(executor, digest=self.asked.digest, now=now)
        if medium is None:
            raise CodeExpired
        return medium


@dataclass(kw_only=True, slots=True)
class _LatestCode(ResetTry):
    """Take the latest code of a name, for callers that keep no session.

    The answer is that of the code which was asked for by this name, from such a lane as this. Right is also the latest
    one of the other kind of lane, and of the account's own name: users move, and an operator's code is kept by that.
    """

    codes: Codes
    naming: Naming
    lane: Lane
    found: CodeRef | None = field(default=None, init=False)

    async def spend(self, code: str) -> None:
        ref = reset_ref(self.lane, self.naming.typed)
        refusal: DomainError | None = None
        try:
            await self.codes.try_code(ref, code, lane=self.lane)
        except (CodeMismatch, CodeExpired) as error:
            refusal = error
        other = await self._find_other(code)
        self.found = ref if refusal is None else other
        if self.found is None and refusal is not None:
            raise refusal

    async def forgive(self, code: str) -> None:
        if self.found is not None:
            await self.codes.forgive(self.found, code)

    async def consume(self, executor: Executor, code: str, *, now: datetime) -> Medium:
        if self.found is None:
            raise CodeExpired
        return await self.codes.consume(executor, self.found, code, now=now)

    async def _find_other(self, code: str) -> CodeRef | None:
        # The same statement for a name that nobody has.
        codes, names = self.codes, [self.naming.typed, self.naming.username_key]
        refs = [CodeRef(purpose, name) for name in names for purpose in RESETS]
        latest = await find_latest(
            codes.database,
            username_keys=names,
            digests=[digest for ref in refs for digest in codes.digests(ref, code)],
            now=codes.clock.now(),
            max_wrong=codes.settings.max_wrong,
        )
        return CodeRef(_BY_KEY[latest.purpose], latest.username_key) if latest else None
