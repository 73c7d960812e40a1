"""Custom challenges as a factor: the operator's hook is called between transactions, never in one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import Opening, consume
from authsvc.core.access.throttle import Throttle
from authsvc.core.factors import kinds
from authsvc.core.factors.custom_hook import ChallengeState, CustomChallenge, Verdict
from authsvc.core.factors.factor import Accept, Accepted, Factor, Opened
from authsvc.domain import User
from authsvc.errors import CodeMismatch, HookUnavailable, NotAuthorized, SessionExpired
from authsvc.store import challenges, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class Custom(Factor):
    """Ask and verify custom challenges; whatever the hook fails at, or denies, ends the sign-in.

    A step is stored without its question, which is asked for after the commit: should the hook fail, the session can't
    be answered, and has ended.
    """

    spec = kinds.CUSTOM_CHALLENGE

    database: Database
    throttle: Throttle
    challenge: CustomChallenge
    clock: Clock

    async def open(self, executor: Executor, user: User, opening: Opening) -> Opened:
        """Leave the question to `ask`."""
        return Opened(is_unasked=True)

    async def ask(self, user: User, digest: bytes, caller: Caller) -> dict[str, str] | None:
        """Have the hook ask for a step that was stored; return what the user is shown, None if no answer is needed.

        Raises:
            HookUnavailable: the hook is away, slow, or answers what it must not.
            NotAuthorized: the hook denies the sign-in.
            SessionExpired: the sign-in was ended meanwhile.
        """
        asked = await self.challenge.begin(user, caller)
        if asked is Verdict.NOT_NEEDED:
            return None
        sealed = self.challenge.seal(asked, digest)
        if not await challenges.set_state(self.database, digest=digest, sealed_state=sealed, now=self.clock.now()):
            raise SessionExpired
        return dict(asked.asked.public)

    def waive(self, challenge: Challenge) -> Accept:
        """Return what uses a session up whose question the hook did not need."""

        async def accept(executor: Executor, user: User, now: datetime) -> Accepted:
            await consume(executor, challenge, now)
            return Accepted(user, is_waived=True)

        return accept

    def parse(self, challenge: Challenge, text: str) -> str:
        """Take an answer as it is, if there is a question."""
        if challenge.sealed_state is None:
            raise SessionExpired
        return text

    async def match(self, challenge: Challenge, answer: str, caller: Caller) -> Accept:
        """Have the hook verify an answer and, if it is right, say what comes next.

        Raises:
            HookUnavailable, NotAuthorized: see `ask`; the session has ended.
        """
        user = await users.find_by_id(self.database, user_id=challenge.user_id)
        if user is None or challenge.sealed_state is None:
            raise SessionExpired
        state = self.challenge.open(challenge.sealed_state, challenge.digest)
        try:
            verdict = await self.challenge.answer(user, state, answer, caller=caller)
        except (HookUnavailable, NotAuthorized):
            await challenges.consume(self.database, digest=challenge.digest, now=self.clock.now())
            raise
        if verdict is Verdict.WRONG:
            raise CodeMismatch

        async def accept(executor: Executor, locked: User, now: datetime) -> Accepted:
            await consume(executor, challenge, now)
            if verdict is Verdict.PASSED:
                await self.throttle.forget(executor, self.spec.guarded, locked.username_key, lane=challenge.lane)
                return Accepted(locked, self.spec.kind)
            # Nothing is forgotten yet: an easy round, answered before each guess, would clear the count of a hard one.
            await self.throttle.refund(executor, self.spec.guarded, locked.username_key, lane=challenge.lane)
            return Accepted(locked, opened=lambda opening: self._opened(verdict, opening))

        return accept

    def _opened(self, state: ChallengeState, opening: Opening) -> Opened:
        sealed = self.challenge.seal(state, opening.digest)
        return Opened(sealed_state=sealed, public_parameters=dict(state.asked.public))
