"""Sign-in: password, then the steps that the account and the settings ask for, then a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from authsvc.config import AccountsSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import ChallengeSessions
from authsvc.core.access.gate import Gate, PasswordGuess, VerifiedPassword
from authsvc.core.access.lanes import Lanes, lane_of_proofs
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.accounts.login import Logins, Standings
from authsvc.core.accounts.password_policy import Password
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.factors.factor import Accepted, Factors
from authsvc.core.factors.kinds import PASSWORD, kind_of_step
from authsvc.core.factors.proved import Proved
from authsvc.core.fields import Fields, parse_handle
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.sign_in.answers import Answer, Answers, check_answer, require_fitting
from authsvc.core.sign_in.next_steps import At
from authsvc.core.sign_in.outcomes import Advance, SignInOutcome
from authsvc.core.sign_in.progression import Progression
from authsvc.core.sign_in.replies import Replies, Retry, check_request_id
from authsvc.core.sign_in.steps import step_of
from authsvc.domain import Lane, Step, User, UsernameKey, UserStatus
from authsvc.errors import (
    Conflict,
    DomainError,
    LimitExceeded,
    MfaNotEnrolled,
    NotAuthorized,
    SessionExpired,
    UserDisabled,
    UserNotFound,
)
from authsvc.store import users
from authsvc.store.challenges import Challenge
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.passwords import Credential

# A rehash or a password change between reading a hash and acting on it makes the flow read again, this often.
READS = 3
_PROVED = Proved(frozenset({PASSWORD.kind}))


@dataclass(frozen=True, slots=True)
class Trial:
    """Hold by what names a password is tried, in which lane, and on whose behalf."""

    standings: Standings
    lane: Lane
    caller: Caller


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """Begin sign-ins with a password."""

    database: Database
    throttle: Throttle
    gate: Gate
    lanes: Lanes
    logins: Logins
    audit: Audit
    progression: Progression
    settings: AccountsSettings

    async def start(self, username: str, password: str, caller: Caller) -> SignInOutcome:
        """Verify a password and tell the first step.

        Raises:
            InvalidFields: the username or the password can't be one.
            NotAuthorized: wrong username or password; UserNotFound instead for a wrong username, by setting.
            UserDisabled: the password is right, the account is disabled.
            MfaNotEnrolled: a second factor is required, and this account can't set any up.
            HookUnavailable: the custom challenge can't be asked.
            LimitExceeded: too many tries from this source or for this account, or too many codes sent to it.
            Overloaded: too many hashes wait.
        """
        admission = await self.throttle.admit(Action.SIGN_IN, caller)
        login, given = self.logins.parse_credentials(username, password)
        standings = await self.logins.resolve_sign_in(login)
        lane = await self.lanes.find(standings.username_key, caller)
        admission.require(lane)
        trial = Trial(standings, lane, caller)
        async with self.audit.failures(AuditKind.SIGN_IN, caller, username_key=standings.username_key):
            async with self.gate.guess_password(standings.username_key, lane, counted_as=standings.typed) as guess:
                advance = await self._try(guess, given, trial)
            return await self.progression.finish(advance, caller)

    async def _try(self, guess: PasswordGuess, password: Password, trial: Trial) -> Advance:
        for _ in range(READS):
            advance = await self._act(await self._verify(guess, password, trial.standings.names), trial)
            if isinstance(advance, DomainError):
                raise advance
            if advance is not None:
                return advance
        raise Conflict(retry_after=RETRY_CONFLICT)

    async def _verify(self, guess: PasswordGuess, password: Password, names: Sequence[UsernameKey]) -> VerifiedPassword:
        """Verify a password of the first name that has it; where none has, each cost a hash."""
        tried = []
        for name in names:
            verified = await guess.verify(password, of=name)
            if verified.is_right:
                return verified
            tried.append(verified)
        return next((verified for verified in tried if verified.credential), tried[0])

    async def _act(self, verified: VerifiedPassword, trial: Trial) -> Advance | DomainError | None:
        """Store the first step; None if the hash was changed meanwhile.

        A refusal is returned, not raised, where the password was right: that stays noted.
        """
        credential = verified.credential
        if credential is None:
            raise NotAuthorized if self.settings.prevent_user_existence_errors else UserNotFound
        if credential.hash is None:
            return await self._without_password(credential)
        if not verified.is_right:
            raise NotAuthorized
        async with self.database.transaction() as transaction:
            user = await users.lock(transaction, user_id=credential.user_id)
            if user is None or not await verified.holds(transaction, user):
                return None
            refusal: DomainError = UserDisabled()
            if user.disabled_at is None:
                at = At(executor=transaction, caller=trial.caller, lane=lane_of_proofs(trial.lane), now=verified.at)
                try:
                    return await self.progression.steps.advance(
                        at, Accepted(user), _PROVED, settle=partial(self._settle, user, trial)
                    )
                except (LimitExceeded, MfaNotEnrolled) as error:
                    refusal = error
            await self._settle(user, trial, transaction)
            return refusal

    async def _settle(self, user: User, trial: Trial, executor: Executor) -> None:
        """Forget the failures before the right password.

        That of a sign-up which is yet to confirm the address takes back its own try alone: anybody can sign up with an
        address, and would so have their guesses at its owner's password forgotten.
        """
        typed = trial.standings.typed
        if user.username_key == trial.standings.username_key:
            await self.throttle.forget(executor, PASSWORD.guarded, typed, lane=trial.lane)
        else:
            await self.throttle.refund(executor, PASSWORD.guarded, typed, lane=trial.lane)

    async def _without_password(self, credential: Credential) -> Advance:
        """Ask for a reset, where names may be told: the account was imported without a password to be right or wrong.

        Elsewhere any password is wrong: else whatever is typed would tell that there is such an account.
        """
        if self.settings.prevent_user_existence_errors:
            raise NotAuthorized
        user = await users.find_by_id(self.database, user_id=credential.user_id)
        if user is None or user.status is not UserStatus.RESET_REQUIRED or user.disabled_at is not None:
            raise NotAuthorized
        return Advance(user, SignInOutcome(Step.RESET_PASSWORD))


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInSteps:
    """Go on with sign-ins that wait for an answer."""

    throttle: Throttle
    challenge_sessions: ChallengeSessions
    answers: Answers
    factors: Factors
    audit: Audit
    progression: Progression
    replies: Replies

    async def confirm(
        self, session: str, answer: Answer | None, caller: Caller, *, request_id: str = ""
    ) -> SignInOutcome:
        """Take the answer to a step and tell the next one; the same call again, by `request_id`, is told the same.

        Raises:
            InvalidFields: the session or the answer can't be one, or the step waits for another kind of answer; nothing
                was counted against the account.
            SessionExpired: the session is unknown, expired, used or dead.
            InvalidPassword: the new password breaks the policy; nothing was counted.
            CodeMismatch: the answer is wrong; the session can be answered again.
            CodeAlreadyUsed: the code was accepted before.
            CodeExpired: the code was sent again since.
            UserDisabled: the account was disabled meanwhile.
            MfaNotEnrolled, HookUnavailable, Overloaded: see `SignIn.start`.
            LimitExceeded: too many tries from this source or for this account, or too many codes sent to it.
        """
        await self.throttle.spend_source(Action.SIGN_IN_CONFIRM, caller)
        fields = Fields()
        handle = fields.take(parse_handle, session, field="session")
        given = fields.take(check_answer, answer)
        fields.take(check_request_id, request_id)
        fields.check()
        if not request_id:
            return await self._confirm(handle.value, given.value, caller)
        retry = self.replies.retry_of(handle.value, given.value, caller, request_id=request_id)
        async with self.replies.one_at_a_time(retry):
            try:
                return await self._confirm(handle.value, given.value, caller, retry=retry)
            except DomainError:
                # Told already, here or by another server, whatever it is that the answer fails at now.
                reply = await self.replies.find(retry)
                if reply is None:
                    raise
                return reply

    async def _confirm(
        self, session: str, answer: Answer, caller: Caller, *, retry: Retry | None = None
    ) -> SignInOutcome:
        challenge = await self._find(session)
        await self.throttle.spend_all(Action.SIGN_IN_CONFIRM, challenge.lane)
        require_fitting(challenge, answer)
        async with self.audit.failures(AuditKind.CONTINUE_SIGN_IN, caller, user_id=challenge.user_id) as tried:
            tried.details = {"step": challenge.step, "answer": answer.name}
            accept = await self.answers.verify(challenge, answer, caller)
            return await self.progression.take(challenge, accept, caller, retry=retry)

    async def resend(self, session: str, caller: Caller) -> CodeDelivery:
        """Send a new code for a step that waits for one; the former code ends.

        Raises:
            InvalidFields: the session can't be one.
            SessionExpired: the session is unknown, expired, used or dead, or its step sends no code.
            UserDisabled: the account was disabled meanwhile.
            LimitExceeded: it is too soon, or too many codes were sent to this account or from this source.
        """
        await self.throttle.spend_source(Action.RESEND, caller)
        challenge = await self._find(parse_handle(session, field="session"))
        await self.throttle.spend_all(Action.RESEND, challenge.lane)
        factor = self.factors.find(kind_of_step(step_of(challenge)))
        if factor is None:
            raise SessionExpired
        factor.require_cooled_down(challenge)
        await factor.reserve(challenge.username_key, challenge.lane, caller)
        async with self.challenge_sessions.hold(challenge) as held:
            delivery = await factor.resend(held.executor, held.user, challenge)
            details = {"medium": str(delivery.medium)}
            event = AuditEvent(AuditKind.SEND_SIGN_IN_CODE, caller, held.user.user_id, details=details)
            await self.audit.record(held.executor, event)
        return delivery

    async def _find(self, session: str) -> Challenge:
        challenge = await self.challenge_sessions.find(session)
        # What waits for VerifyTotp is no sign-in.
        if challenge.step not in set(Step):
            raise SessionExpired
        return challenge
