"""Sign-in: password, then the steps that the account and the settings ask for, then a session."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.config import AccountsSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import ChallengeSessions
from authsvc.core.access.gate import Gate, PasswordGuess, VerifiedPassword
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.accounts.login import Logins
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
from authsvc.domain import Step, UserStatus
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
from authsvc.store.db import RETRY_CONFLICT, Database
from authsvc.store.passwords import Credential

# A rehash or a password change between reading a hash and acting on it makes the flow read again, this often.
READS = 3
_PROVED = Proved(frozenset({PASSWORD.kind}))


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """Begin sign-ins with a password."""

    database: Database
    throttle: Throttle
    gate: Gate
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
        await self.throttle.spend_call(Action.SIGN_IN, caller)
        login, given = self.logins.parse_credentials(username, password)
        username_key = await self.logins.resolve(login)
        async with self.audit.failures(AuditKind.SIGN_IN, caller, username_key=username_key):
            async with self.gate.guess_password(username_key) as guess:
                advance = await self._try(guess, given, caller)
            return await self.progression.finish(advance, caller)

    async def _try(self, guess: PasswordGuess, password: Password, caller: Caller) -> Advance:
        for _ in range(READS):
            verified = await guess.verify(password)
            advance = await self._act(verified, caller)
            if isinstance(advance, DomainError):
                raise advance
            if advance is not None:
                return advance
        raise Conflict(retry_after=RETRY_CONFLICT)

    async def _act(self, verified: VerifiedPassword, caller: Caller) -> Advance | DomainError | None:
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
                at = At(transaction, caller, verified.at)
                try:
                    return await self.progression.steps.advance(at, Accepted(user), _PROVED, forget=PASSWORD.guarded)
                except (LimitExceeded, MfaNotEnrolled) as error:
                    refusal = error
            await self.throttle.forget(transaction, user.username_key, PASSWORD.guarded)
            return refusal

    async def _without_password(self, credential: Credential) -> Advance:
        """Ask for a reset: the account was imported without a password, so there is none to be right or wrong."""
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
        await self.throttle.spend_call(Action.SIGN_IN, caller)
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
        await self.throttle.spend_call(Action.RESEND, caller)
        challenge = await self._find(parse_handle(session, field="session"))
        factor = self.factors.find(kind_of_step(step_of(challenge)))
        if factor is None:
            raise SessionExpired
        factor.require_cooled_down(challenge)
        await factor.reserve(challenge.username_key)
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
