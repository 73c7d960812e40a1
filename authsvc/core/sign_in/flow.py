"""Sign-in: password, then the steps that the account and the settings ask for, then a session."""

from __future__ import annotations

from dataclasses import replace

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action, Factor, Throttle
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.factors.custom_rounds import CustomRounds
from authsvc.core.factors.sent_code import SignInCodes
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sign_in.answers import Answer, Answers, Use, require_kind
from authsvc.core.sign_in.next_steps import Advance, NextSteps, SignInOutcome
from authsvc.core.sign_in.steps import SENDING_STEPS, AnswerKind, Proof, Step
from authsvc.crypto.password_hash import HashPlace, PasswordHasher
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import User, UserId, UsernameKey, UserStatus
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
from authsvc.store import challenges, passwords, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import RETRY_CONFLICT, Database, Executor

# A rehash or a password change between reading a hash and acting on it makes the flow read again, this often.
READS = 3


class SignIn:
    """Run the step machine."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        hasher: PasswordHasher,
        throttle: Throttle,
        sessions: Sessions,
        audit: Audit,
        steps: NextSteps,
        answers: Answers,
        codes: SignInCodes,
        rounds: CustomRounds | None,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._hasher = hasher
        self._throttle = throttle
        self._sessions = sessions
        self._audit = audit
        self._steps = steps
        self._answers = answers
        self._codes = codes
        self._rounds = rounds
        self._accounts = settings.accounts
        self._max_wrong = settings.challenges.max_wrong
        self._clock = clock

    async def start(
        self, username_key: UsernameKey, password: str, caller: Caller, *, typed: str | None = None
    ) -> SignInOutcome:
        """Verify a password, which was `typed` before it was normalised, and tell the first step.

        Raises:
            NotAuthorized: wrong username or password; UserNotFound instead for a wrong username, by setting.
            UserDisabled: the password is right, the account is disabled.
            MfaNotEnrolled: a second factor is required, and this account can't set any up.
            HookUnavailable: the custom challenge can't be asked.
            LimitExceeded: too many tries from this source or for this account, or too many codes sent to it.
            Overloaded: too many hashes wait.
        """
        await self._throttle.spend_call(Action.SIGN_IN, caller)
        async with self._audit.failures(AuditKind.SIGN_IN, caller, username_key=username_key):
            async with self._hasher.place() as place:
                await self._throttle.spend_try(Factor.PASSWORD, username_key)
                for _ in range(READS):
                    advance = await self._try_password(place, username_key, password, typed, caller)
                    if isinstance(advance, DomainError):
                        raise advance
                    if advance is not None:
                        break
                else:
                    raise Conflict(retry_after=RETRY_CONFLICT)
            return await self._finish(advance, caller)

    async def confirm(self, session: str, answer: Answer, caller: Caller) -> SignInOutcome:
        """Take the answer to a step and tell the next one.

        Raises:
            SessionExpired: the session is unknown, expired, used or dead.
            InvalidFields: the step waits for another kind of answer; nothing was counted.
            InvalidPassword: the new password breaks the policy; nothing was counted.
            CodeMismatch: the answer is wrong; the session can be answered again.
            CodeAlreadyUsed: the code was accepted before.
            CodeExpired: the code was sent again since.
            UserDisabled: the account was disabled meanwhile.
            MfaNotEnrolled, HookUnavailable, Overloaded: see `start`.
            LimitExceeded: too many tries from this source or for this account, or too many codes sent to it.
        """
        await self._throttle.spend_call(Action.SIGN_IN, caller)
        challenge = await self._find(session)
        require_kind(challenge, answer)
        async with self._audit.failures(AuditKind.CONTINUE_SIGN_IN, caller, user_id=challenge.user_id) as tried:
            tried.details = {"step": challenge.step, "answer": str(answer.kind)}
            if answer.kind is AnswerKind.CUSTOM_ANSWER and self._rounds is not None:
                use = await self._rounds.verify(challenge, answer.value, caller)
            else:
                use = await self._answers.verify(challenge, answer)
            return await self._finish(await self._take(challenge, use, caller), caller)

    async def resend(self, session: str, caller: Caller) -> CodeDelivery:
        """Send a new code for a step that waits for one; the former code ends.

        Raises:
            SessionExpired: the session is unknown, expired, used or dead, or its step sends no code.
            UserDisabled: the account was disabled meanwhile.
            LimitExceeded: it is too soon, or too many codes were sent to this account or from this source.
        """
        await self._throttle.spend_call(Action.RESEND, caller)
        challenge = await self._find(session)
        self._codes.require_cooled_down(challenge)
        medium = SENDING_STEPS[Step(challenge.step)]
        await self._codes.spend_send(medium, challenge.username_key)
        async with self._database.transaction() as transaction:
            user = await self._lock(transaction, challenge)
            delivery = await self._codes.resend(transaction, medium, challenge, user)
            event = AuditEvent(AuditKind.SEND_SIGN_IN_CODE, caller, user.user_id, details={"medium": medium})
            await self._audit.record(transaction, event)
        return delivery

    async def _try_password(
        self, place: HashPlace, username_key: UsernameKey, password: str, typed: str | None, caller: Caller
    ) -> Advance | DomainError | None:
        """Verify a password and store the first step; None if the hash was changed meanwhile.

        A refusal is returned, not raised, where the password was right: that stays noted.
        """
        # No connection is held while the hash runs.
        credential = await passwords.find(self._database, username_key=username_key)
        verified = credential.hash if credential else None
        is_right = await place.verify(verified, password, typed=typed)
        now = self._clock.now()
        if credential is None and not self._accounts.prevent_user_existence_errors:
            raise UserNotFound
        if credential is None:
            raise NotAuthorized
        if verified is None:
            return await self._without_password(credential.user_id)
        if not is_right or (credential.expires_at is not None and credential.expires_at <= now):
            raise NotAuthorized
        rehashed = await place.hash(password) if self._hasher.needs_rehash(verified) else None
        async with self._database.transaction() as transaction:
            user = await users.lock(transaction, user_id=credential.user_id)
            if user is None or not await passwords.has_hash(transaction, user_id=user.user_id, hash_=verified):
                return None
            if rehashed is not None:
                await passwords.rehash(transaction, user_id=user.user_id, verified=verified, hash_=rehashed)
            refusal: DomainError = UserDisabled()
            if user.disabled_at is None:
                proved = frozenset({Proof.PASSWORD})
                try:
                    return await self._steps.advance(transaction, user, proved, caller, now, forget=Factor.PASSWORD)
                except (LimitExceeded, MfaNotEnrolled) as error:
                    refusal = error
            await self._throttle.forget(transaction, username_key, Factor.PASSWORD)
            return refusal

    async def _without_password(self, user_id: UserId) -> Advance:
        """Ask for a reset: the account was imported without a password, so there is none to be right or wrong."""
        user = await users.find_by_id(self._database, user_id=user_id)
        if user is None or user.status is not UserStatus.RESET_REQUIRED or user.disabled_at is not None:
            raise NotAuthorized
        return Advance(user, SignInOutcome(Step.RESET_PASSWORD))

    async def _find(self, session: str) -> Challenge:
        challenge = await challenges.find_live(
            self._database,
            digests=self._ring.digests(Purpose.CHALLENGE, session),
            now=self._clock.now(),
            max_wrong=self._max_wrong,
        )
        # What waits for VerifyTotp is no sign-in.
        if challenge is None or challenge.step not in set(Step):
            raise SessionExpired
        return challenge

    async def _lock(self, executor: Executor, challenge: Challenge) -> User:
        user = await users.lock(executor, user_id=challenge.user_id)
        if user is None:
            raise SessionExpired
        if user.disabled_at is not None:
            raise UserDisabled
        return user

    async def _take(self, challenge: Challenge, use: Use, caller: Caller) -> Advance:
        """Use a right answer up and store the next step."""
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            user = await self._lock(transaction, challenge)
            taken = await use(transaction, user, now)
            proved = frozenset(Proof(each) for each in challenge.proved) | ({taken.proof} if taken.proof else set())
            return await self._steps.advance(
                transaction, taken.user, proved, caller, now, chosen=taken.chosen, asked=taken.asked, did=taken.did
            )

    async def _finish(self, advance: Advance, caller: Caller) -> SignInOutcome:
        """Do what comes after the commit: sign tokens, or have the operator's hook ask."""
        outcome = advance.outcome
        if advance.new is not None:
            return replace(outcome, tokens=await self._sessions.tokens_of(advance.user, advance.new))
        if outcome.step is not Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE or advance.is_asked or self._rounds is None:
            return outcome
        asked = await self._rounds.ask(advance, caller)
        if asked is not None:
            return asked
        challenge = await self._find(outcome.session)
        return await self._finish(await self._take(challenge, self._rounds.waive(challenge), caller), caller)
