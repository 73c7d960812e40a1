"""Answers to the steps of a sign-in: each is counted and compared first, and used up in a transaction afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import MfaMode, MfaType, Settings
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.accounts.new_passwords import NewPasswords
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.custom import ChallengeState
from authsvc.core.factors.recovery import Recovery
from authsvc.core.factors.rules import KIND_OF, Kinds, find_kinds
from authsvc.core.factors.sent_code import SignInCodes
from authsvc.core.factors.totp import Match, Totp
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.names import parse_code
from authsvc.core.sign_in.steps import ANSWERS, AnswerKind, Proof, Step
from authsvc.domain import User
from authsvc.errors import InvalidFields, SessionExpired, Violation
from authsvc.store import challenges, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor
from authsvc.store.factors import preferences


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a user answered to a step; `attributes` come with a new password."""

    kind: AnswerKind
    value: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Answer({self.kind})"


@dataclass(frozen=True, slots=True)
class Taken:
    """Hold what a right answer came to: the account as it is now, what it proved or chose, what is asked next.

    `did` is what else it did, for the audit trail.
    """

    user: User
    proof: Proof | None = None
    chosen: MfaType | None = None
    asked: ChallengeState | None = None
    did: tuple[AuditKind, ...] = ()


# Uses a right answer up, in a transaction that holds the account's row; raises if another call was first.
Use = Callable[[Executor, User, datetime], Awaitable[Taken]]


class Answers:
    """Verify answers; those to custom challenges are the hook's to verify."""

    def __init__(
        self,
        database: Database,
        throttle: Throttle,
        totp: Totp,
        codes: SignInCodes,
        recovery: Recovery,
        new_passwords: NewPasswords,
        notices: Notices,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._throttle = throttle
        self._totp = totp
        self._codes = codes
        self._recovery = recovery
        self._new_passwords = new_passwords
        self._notices = notices
        self._allowed = frozenset(settings.accounts.mfa_types)
        # Elsewhere no sign-in asks for what is not set up.
        self._sets_up = settings.accounts.mfa is MfaMode.REQUIRED
        self._max_wrong = settings.challenges.max_wrong
        self._clock = clock

    async def verify(self, challenge: Challenge, answer: Answer) -> Use:
        """Count and compare an answer, outside any transaction; return what uses it up.

        Raises:
            InvalidFields: the step waits for another kind of answer; nothing was counted.
            InvalidPassword: the new password breaks the policy; nothing was counted.
            CodeMismatch: the code is wrong; the session can be answered again.
            CodeExpired: another code was sent since.
            SessionExpired: the session is dead.
            LimitExceeded: too many wrong answers for this account.
            Overloaded: too many hashes wait.
        """
        step = Step(challenge.step)
        match answer.kind:
            case AnswerKind.TOTP_CODE if step is Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP:
                return await self._totp_setup(challenge, _code(answer))
            case AnswerKind.TOTP_CODE:
                return await self._totp_code(challenge, _code(answer))
            case AnswerKind.SMS_CODE:
                return await self._sent_code(challenge, MfaType.SMS, _code(answer))
            case AnswerKind.EMAIL_CODE:
                return await self._sent_code(challenge, MfaType.EMAIL, _code(answer))
            case AnswerKind.RECOVERY_CODE:
                return await self._recovery_code(challenge, answer.value)
            case AnswerKind.MFA_TYPE:
                return await self._choice(challenge, step, MfaType(answer.value))
            case AnswerKind.NEW_PASSWORD:
                return await self._new_password(challenge, answer)
            case AnswerKind.CUSTOM_ANSWER:
                raise SessionExpired
        raise SessionExpired

    async def _totp_setup(self, challenge: Challenge, code: str) -> Use:
        match = await self._totp.match_pending(challenge, code)

        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            _require_none_in_use(await find_kinds(executor, user, self._allowed))
            await self._totp.activate(executor, user, match, now)
            await self._consume(executor, challenge, now)
            return Taken(user, Proof.TOTP, did=(AuditKind.ADD_TOTP_DEVICE,))

        return use

    async def _totp_code(self, challenge: Challenge, code: str) -> Use:
        match: Match = await self._totp.match_active(challenge, code)

        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            await self._totp.accept(executor, user, match, now)
            await self._consume(executor, challenge, now)
            return Taken(user, Proof.TOTP)

        return use

    async def _sent_code(self, challenge: Challenge, medium: MfaType, code: str) -> Use:
        before = await users.find_by_id(self._database, user_id=challenge.user_id)
        if before is None:
            raise SessionExpired
        digests = await self._codes.match(medium, challenge, before, code)

        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            # The code was compared for the address that the account had a moment ago.
            if (user.email, user.phone_number) != (before.email, before.phone_number):
                raise SessionExpired
            if not await challenges.consume_with_code(executor, digest=challenge.digest, now=now, code_digests=digests):
                raise SessionExpired
            kinds = await find_kinds(executor, user, self._allowed)
            did: tuple[AuditKind, ...] = ()
            if medium not in kinds.enrolled:
                # It was asked for, and disabled since: it must not come back by this.
                if not self._sets_up:
                    raise SessionExpired
                _require_none_in_use(kinds)
                user = await self._set_up(executor, user, medium, now)
                did = (AuditKind.UPDATE_MFA_PREFERENCE,)
            await self._throttle.forget(executor, user.username_key, Factor(medium))
            return Taken(user, Proof(medium.lower()), did=did)

        return use

    async def _set_up(self, executor: Executor, user: User, medium: MfaType, now: datetime) -> User:
        """Make what a code was sent to a second factor: this sign-in had none to ask for."""
        if medium is MfaType.SMS:
            await users.verify_phone(executor, user_id=user.user_id, now=now)
        elif not await users.verify_email(executor, user_id=user.user_id, now=now):
            raise SessionExpired
        await preferences.enable(executor, user_id=user.user_id, kind=KIND_OF[medium])
        await self._notices.tell(executor, user, MfaChanged(MfaChange.PREFERENCE_CHANGED), now=now)
        return await users.find_by_id(executor, user_id=user.user_id) or user

    async def _recovery_code(self, challenge: Challenge, code: str) -> Use:
        parsed = self._recovery.parse(code, field=AnswerKind.RECOVERY_CODE)
        await self._throttle.spend_try(Factor.RECOVERY_CODE, challenge.username_key)
        if not await challenges.spend_answer(
            self._database, digest=challenge.digest, now=self._clock.now(), max_wrong=self._max_wrong
        ):
            raise SessionExpired

        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            await self._recovery.accept(executor, user, parsed, now)
            await self._consume(executor, challenge, now)
            return Taken(user, Proof.RECOVERY_CODE, did=(AuditKind.USE_RECOVERY_CODE,))

        return use

    async def _choice(self, challenge: Challenge, step: Step, chosen: MfaType) -> Use:
        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            kinds = await find_kinds(executor, user, self._allowed)
            is_setup = step is Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION
            if is_setup:
                _require_none_in_use(kinds)
            if chosen not in (kinds.settable if is_setup else kinds.askable):
                violation = Violation(AnswerKind.MFA_TYPE, "CHOICE", "must be one of allowed_mfa_types")
                raise InvalidFields(violations=(violation,))
            await self._consume(executor, challenge, now)
            return Taken(user, chosen=chosen)

        return use

    async def _new_password(self, challenge: Challenge, answer: Answer) -> Use:
        change = await self._new_passwords.verify(challenge, answer.value, answer.attributes)

        async def use(executor: Executor, user: User, now: datetime) -> Taken:
            await self._consume(executor, challenge, now)
            changed = await self._new_passwords.accept(executor, user, change, now)
            return Taken(changed, did=(AuditKind.UPDATE_PASSWORD,))

        return use

    async def _consume(self, executor: Executor, challenge: Challenge, now: datetime) -> None:
        if not await challenges.consume(executor, digest=challenge.digest, now=now):
            raise SessionExpired


def require_kind(challenge: Challenge, answer: Answer) -> None:
    """Refuse an answer of a kind that the step does not wait for.

    Raises:
        InvalidFields: it is of another kind; says which the step takes.
    """
    kinds = ANSWERS[Step(challenge.step)]
    if answer.kind not in kinds:
        wanted = " or ".join(sorted(kinds))
        violation = Violation("answer", "KIND", f"must be {wanted}: that is what the session waits for")
        raise InvalidFields(violations=(violation,))


def _require_none_in_use(kinds: Kinds) -> None:
    # Another sign-in may have set a factor up since: a password alone must not add a second.
    if kinds.in_use:
        raise SessionExpired


def _code(answer: Answer) -> str:
    return parse_code(answer.value, field=answer.kind)
