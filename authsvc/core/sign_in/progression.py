"""How a sign-in goes on: an answer is used up, the next step stored, and what calls out comes after the commit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import ChallengeSessions
from authsvc.core.factors.custom import Custom
from authsvc.core.factors.factor import Accept
from authsvc.core.factors.proved import Proved
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sign_in.next_steps import At, NextSteps
from authsvc.core.sign_in.outcomes import Advance, SignInOutcome
from authsvc.core.sign_in.replies import Retry
from authsvc.store.challenges import Challenge


@dataclass(frozen=True, kw_only=True, slots=True)
class Progression:
    """Take sign-ins from step to step."""

    challenge_sessions: ChallengeSessions
    steps: NextSteps
    sessions: Sessions
    custom: Custom | None

    async def take(
        self, challenge: Challenge, accept: Accept, caller: Caller, *, retry: Retry | None = None
    ) -> SignInOutcome:
        """Use a right answer up and tell the next step, to be told again to the call that `retry` names.

        Raises:
            SessionExpired, CodeAlreadyUsed, CodeMismatch: another call was first.
            UserDisabled: the account was disabled meanwhile.
            MfaNotEnrolled, LimitExceeded: see `NextSteps.advance`.
            HookUnavailable, NotAuthorized: see `Custom.ask`.
        """
        async with self.challenge_sessions.hold(challenge) as held:
            accepted = await accept(held.executor, held.user, held.now)
            at = At(executor=held.executor, caller=caller, lane=challenge.lane, now=held.now, retry=retry)
            before = Proved.of_stored(challenge.proved)
            proved = before.with_(accepted.proved, is_waived=accepted.is_waived)
            advance = await self.steps.advance(at, accepted, proved)
        return await self.finish(advance, caller)

    async def finish(self, advance: Advance, caller: Caller) -> SignInOutcome:
        """Do what comes after the commit: sign tokens, or have the operator's hook ask."""
        outcome = advance.outcome
        if advance.new is not None:
            return replace(outcome, tokens=await self.sessions.tokens_of(advance.user, advance.new))
        if advance.unasked is None or self.custom is None:
            return outcome
        shown = await self.custom.ask(advance.user, advance.unasked, caller)
        if shown is not None:
            return replace(outcome, public_parameters=shown)
        challenge = await self.challenge_sessions.find(outcome.session)
        return await self.take(challenge, self.custom.waive(challenge), caller)
