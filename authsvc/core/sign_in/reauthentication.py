"""Step-up: a signed-in user proves themselves again, a fresh authentication of the same session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from authsvc.core.access.gate import Gate
from authsvc.core.access.lanes import lane_of_session
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.accounts.password_policy import Password, PasswordPolicy
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.factor import Accept, Accepted, Factors
from authsvc.core.factors.kinds import PASSWORD, SPECS
from authsvc.core.fields import refused
from authsvc.core.sessions.bearers import Bearer
from authsvc.core.sessions.sessions import Sessions, Tokens
from authsvc.core.sign_in.answers import FactorAnswer
from authsvc.domain import User
from authsvc.store import passwords
from authsvc.store.db import Executor
from authsvc.store.sessions import Standing


@dataclass(frozen=True, kw_only=True, slots=True)
class Reauthentication:
    """Verify proofs and renew sessions."""

    throttle: Throttle
    gate: Gate
    policy: PasswordPolicy
    factors: Factors
    signed_in: SignedIn
    sessions: Sessions

    async def prove(self, bearer: Bearer, proof: FactorAnswer | None) -> Tokens:
        """Verify a proof; return new tokens of the session, the only ones that stand for the proof.

        Raises:
            InvalidFields: there is no proof, or it can't be one.
            NotAuthorized: the password is wrong.
            CodeMismatch: the code is wrong.
            CodeAlreadyUsed: the TOTP code was accepted before.
            MfaNotEnrolled: the user has no authenticator, or no recovery codes.
            LimitExceeded: too many tries from this source or for this account.
            Overloaded: too many hashes wait.
            Conflict: the password was changed at the same time.
        """
        await self.throttle.spend_source(Action.SIGN_IN_CONFIRM, bearer.caller)
        await self.throttle.spend_all(Action.SIGN_IN_CONFIRM, lane_of_session(bearer.standing.session_id))
        if proof is None:
            raise refused("proof", "REQUIRED", "must be given")
        verify = self._prepare(bearer.standing, proof)
        details = {"proof": proof.name}
        async with self.signed_in.tries(bearer, AuditKind.REAUTHENTICATE, **details):
            accept = await verify()
            async with self.signed_in.change(bearer, AuditKind.REAUTHENTICATE, details) as change:
                tx, user, now = change.executor, change.user, change.now
                change.also += (await accept(tx, user, now)).did
                if SPECS[proof.kind].is_second:
                    await passwords.settle(tx, user_id=user.user_id)
                renewed = await self.sessions.renew(tx, change.bearer, proof.kind, now=now)
        return await self.sessions.further_tokens(user, renewed.standing, renewed.refresh_token)

    def _prepare(self, standing: Standing, proof: FactorAnswer) -> Callable[[], Awaitable[Accept]]:
        """Parse a proof; return what counts and verifies it.

        Raises:
            InvalidFields: it can't be one.
        """
        if proof.kind is PASSWORD.kind:
            password = self.policy.parse(proof.text, field=proof.name)
            return lambda: self._verify_password(standing, password)
        factor = self.factors.step_up(proof.kind)
        if factor is None:
            raise refused("proof", "KIND", "must be a kind of proof that is accepted here")
        answer = factor.parse_own(proof.text)
        return lambda: self.gate.verify_own(standing, factor, answer)

    async def _verify_password(self, standing: Standing, password: Password) -> Accept:
        lane = lane_of_session(standing.session_id)
        async with self.gate.guess_password(standing.username_key, lane) as guess:
            verified = await guess.require(password)

        async def accept(executor: Executor, user: User, _now: datetime) -> Accepted:
            await verified.require_held(executor, user)
            await self.throttle.forget(executor, PASSWORD.guarded, user.username_key, lane=lane)
            return Accepted(user, PASSWORD.kind)

        return accept
