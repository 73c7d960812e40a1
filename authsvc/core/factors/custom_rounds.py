"""The rounds of a custom challenge within a sign-in: the hook is called between transactions, never in one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.factors.custom import CustomChallenge, Verdict
from authsvc.core.sign_in.answers import Taken, Use
from authsvc.core.sign_in.next_steps import Advance, SignInOutcome
from authsvc.core.sign_in.steps import Proof
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import User
from authsvc.errors import CodeMismatch, HookUnavailable, NotAuthorized, SessionExpired
from authsvc.store import challenges, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor


class CustomRounds:
    """Ask and verify custom challenges; whatever the hook fails at, or denies, ends the sign-in."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        throttle: Throttle,
        custom: CustomChallenge,
        clock: Clock,
        *,
        max_wrong: int,
    ) -> None:
        self._database = database
        self._ring = ring
        self._throttle = throttle
        self._custom = custom
        self._max_wrong = max_wrong
        self._clock = clock

    async def ask(self, advance: Advance, caller: Caller) -> SignInOutcome | None:
        """Have the hook ask for a step that was stored without its question; None if it needs no answer.

        Raises:
            HookUnavailable: the hook is away, slow, or answers what it must not.
            NotAuthorized: the hook denies the sign-in.
            SessionExpired: the sign-in was ended meanwhile.
        """
        # Without its question the session can't be answered: should the hook fail, it has ended.
        asked = await self._custom.begin(advance.user, caller)
        if asked is Verdict.NOT_NEEDED:
            return None
        digest = self._ring.digest(Purpose.CHALLENGE, advance.outcome.session)
        sealed = self._custom.seal(asked, digest)
        if not await challenges.set_state(self._database, digest=digest, sealed_state=sealed, now=self._clock.now()):
            raise SessionExpired
        return replace(advance.outcome, public_parameters=dict(asked.asked.public))

    def waive(self, challenge: Challenge) -> Use:
        """Return what uses a session up whose question the hook did not need."""

        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            await self._consume(executor, challenge, now)
            return Taken(user, Proof.NO_CUSTOM_CHALLENGE)

        return use

    async def verify(self, challenge: Challenge, answer: str, caller: Caller) -> Use:
        """Count an answer and have the hook verify it; return what uses it up.

        Raises:
            CodeMismatch: it is wrong; the session can be answered again.
            SessionExpired: the session is dead, or waits for its question.
            LimitExceeded: too many wrong answers for this account.
            HookUnavailable, NotAuthorized: see `ask`; the session has ended.
        """
        user = await users.find_by_id(self._database, user_id=challenge.user_id)
        if challenge.sealed_state is None or user is None:
            raise SessionExpired
        await self._throttle.spend_try(Factor.CUSTOM_CHALLENGE, challenge.username_key)
        if not await challenges.spend_answer(
            self._database, digest=challenge.digest, now=self._clock.now(), max_wrong=self._max_wrong
        ):
            raise SessionExpired
        state = self._custom.open(challenge.sealed_state, challenge.digest)
        try:
            verdict = await self._custom.answer(user, state, answer, caller)
        except (HookUnavailable, NotAuthorized):
            await challenges.consume(self._database, digest=challenge.digest, now=self._clock.now())
            raise
        if verdict is Verdict.WRONG:
            raise CodeMismatch

        async def use(executor: Executor, locked: User, now: datetime) -> Taken:
            await self._consume(executor, challenge, now)
            if verdict is Verdict.PASSED:
                await self._throttle.forget(executor, locked.username_key, Factor.CUSTOM_CHALLENGE)
                return Taken(locked, Proof.CUSTOM_CHALLENGE)
            # Nothing is forgotten yet: an easy round, answered before each guess, would clear the count of a hard one.
            await self._throttle.refund(executor, locked.username_key, Factor.CUSTOM_CHALLENGE)
            return Taken(locked, asked=verdict)

        return use

    async def _consume(self, executor: Executor, challenge: Challenge, now: datetime) -> None:
        if not await challenges.consume(executor, digest=challenge.digest, now=now):
            raise SessionExpired
