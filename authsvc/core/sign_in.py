"""Sign-in: password, then the steps that the account and the settings ask for, then a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.caller import Caller
from authsvc.core.names import parse_code
from authsvc.core.sessions import NewSession, Sessions, Tokens
from authsvc.core.steps import (
    ANSWERED_ELSEWHERE,
    ONE_TIME_PASSWORD,
    PASSWORD,
    SETUP_STEPS,
    AnswerKind,
    Progress,
    Step,
    amr,
    next_step,
)
from authsvc.core.throttle import Action, Factor, Throttle
from authsvc.core.totp import Match, Totp, TotpSetup
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.errors import (
    Conflict,
    InvalidFields,
    NotAuthorized,
    SessionExpired,
    UserDisabled,
    UserNotFound,
    Violation,
)
from authsvc.store import challenges, totp_devices, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.users import User

# A rehash or a password change between reading a hash and acting on it makes the flow read again, this often.
READS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a user answered to a step."""

    kind: AnswerKind
    value: str

    def __repr__(self) -> str:
        return f"Answer({self.kind})"


@dataclass(frozen=True, slots=True)
class SignInOutcome:
    """Hold where a sign-in stands: `session` and `totp_setup` with steps that need them, `tokens` with DONE."""

    step: Step
    session: str = ""
    totp_setup: TotpSetup | None = None
    tokens: Tokens | None = None

    def __repr__(self) -> str:
        return f"SignInOutcome({self.step})"


@dataclass(frozen=True, slots=True)
class _Advance:
    """Hold what a transaction stored; the tokens of a new session are signed after its commit."""

    step: Step
    session: str = ""
    totp_setup: TotpSetup | None = None
    new: NewSession | None = None


class SignIn:
    """Run the step machine."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        hasher: PasswordHasher,
        throttle: Throttle,
        sessions: Sessions,
        totp: Totp,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._hasher = hasher
        self._throttle = throttle
        self._sessions = sessions
        self._totp = totp
        self._settings = settings
        self._clock = clock

    async def start(self, username_key: str, password: str, caller: Caller) -> SignInOutcome:
        """Verify a password and tell the first step.

        Raises:
            NotAuthorized: wrong username or password; UserNotFound instead for a wrong username, by setting.
            UserDisabled: the password is right, the account is disabled.
            LimitExceeded: too many tries from this source or for this account.
            Overloaded: too many hashes wait.
        """
        await self._throttle.spend_call(Action.SIGN_IN, caller)
        async with self._hasher.place() as place:
            await self._throttle.spend_try(Factor.PASSWORD, username_key)
            for _ in range(READS):
                # No connection is held while the hash runs.
                credential = await users.find_credential(self._database, username_key=username_key)
                verified = credential.hash if credential else None
                is_right = await place.verify(verified, password)
                if credential is None and not self._settings.accounts.prevent_user_existence_errors:
                    raise UserNotFound
                if credential is None or not is_right:
                    raise NotAuthorized
                rehashed = await place.hash(password) if self._hasher.needs_rehash(credential.hash) else None
                now = self._clock.now()
                async with self._database.transaction() as transaction:
                    user = await users.lock(transaction, user_id=credential.user_id)
                    if user is None or not await users.has_hash(
                        transaction, user_id=user.user_id, hash_=credential.hash
                    ):
                        continue
                    await self._throttle.forget(transaction, username_key, Factor.PASSWORD)
                    if rehashed is not None:
                        await users.rehash_password(
                            transaction, user_id=user.user_id, verified=credential.hash, hash_=rehashed
                        )
                    if user.disabled_at is None:
                        advance = await self._advance(transaction, user, frozenset({PASSWORD}), caller, now)
                # Out of the transaction: that the password was right stays counted.
                if user.disabled_at is not None:
                    raise UserDisabled
                return await self._outcome(user, advance)
        raise Conflict(retry_after=RETRY_CONFLICT)

    async def confirm(self, session: str, answer: Answer, caller: Caller) -> SignInOutcome:
        """Take the answer to a step and tell the next one.

        Raises:
            SessionExpired: the session is unknown, expired, used or dead.
            InvalidFields: the step waits for another kind of answer; nothing was counted.
            CodeMismatch: the code is wrong; the session can be answered again.
            CodeAlreadyUsed: the code was accepted before.
            UserDisabled: the account was disabled meanwhile.
            LimitExceeded: too many tries from this source or for this account.
        """
        await self._throttle.spend_call(Action.SIGN_IN, caller)
        challenge = await challenges.find_live(
            self._database,
            digests=self._ring.digests(Purpose.CHALLENGE, session),
            now=self._clock.now(),
            max_wrong=self._settings.challenges.max_wrong,
        )
        if challenge is None:
            raise SessionExpired
        match challenge.step:
            case Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP:
                code = _code_of(answer, AnswerKind.TOTP_CODE)
                matched = await self._totp.match_pending(challenge, code)
            case Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE:
                code = _code_of(answer, AnswerKind.TOTP_CODE)
                matched = await self._totp.match_active(challenge, code)
            case _:
                raise SessionExpired
        return await self._prove_totp(challenge, matched, caller)

    async def _prove_totp(self, challenge: Challenge, matched: Match, caller: Caller) -> SignInOutcome:
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            user = await users.lock(transaction, user_id=challenge.user_id)
            if user is None:
                raise SessionExpired
            if user.disabled_at is not None:
                raise UserDisabled
            if matched.device.is_active:
                await self._totp.accept(transaction, user, matched, now)
            else:
                # Another sign-in may have set one up since: a password alone must not add a second.
                if await totp_devices.count_active(transaction, user_id=user.user_id):
                    raise SessionExpired
                await self._totp.activate(transaction, user, matched, now)
            if not await challenges.consume(transaction, digest=challenge.digest, now=now):
                raise SessionExpired
            proved = frozenset({*challenge.proved, ONE_TIME_PASSWORD})
            advance = await self._advance(transaction, user, proved, caller, now)
        return await self._outcome(user, advance)

    async def _advance(
        self, executor: Executor, user: User, proved: frozenset[str], caller: Caller, now: datetime
    ) -> _Advance:
        """Store the next step, chosen by how the account stands now, in a transaction that holds its row."""
        step = next_step(
            Progress(
                status=user.status,
                mfa=self._settings.accounts.mfa,
                has_totp=await totp_devices.count_active(executor, user_id=user.user_id) > 0,
                proved=proved,
            )
        )
        if step is Step.DONE:
            return _Advance(step, new=await self._sessions.start(executor, user, amr(proved), caller, now))
        if step in ANSWERED_ELSEWHERE:
            return _Advance(step)
        session = new_handle()
        setup = (
            await self._totp.begin_setup(executor, user, "", now)
            if step is Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP
            else None
        )
        limits = self._settings.challenges
        await challenges.insert(
            executor,
            digest=self._ring.digest(Purpose.CHALLENGE, session),
            user_id=user.user_id,
            step=step,
            proved=sorted(proved),
            totp_device_id=setup.device_id if setup else None,
            now=now,
            expires_at=now + (limits.setup_ttl if step in SETUP_STEPS else limits.ttl),
        )
        return _Advance(step, session, setup)

    async def _outcome(self, user: User, advance: _Advance) -> SignInOutcome:
        tokens = await self._sessions.tokens_of(user, advance.new) if advance.new else None
        return SignInOutcome(advance.step, advance.session, advance.totp_setup, tokens)


def _code_of(answer: Answer, kind: AnswerKind) -> str:
    if answer.kind is not kind:
        violation = Violation("answer", "KIND", f"must be {kind}: that is what the session waits for")
        raise InvalidFields(violations=(violation,))
    code = parse_code(answer.value, field=kind)
    if isinstance(code, Violation):
        raise InvalidFields(violations=(code,))
    return code
