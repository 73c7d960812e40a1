"""Codes of second factors that are sent: by SMS or mail, bound to one step of one sign-in and to the address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import MfaType, Settings
from authsvc.core.access.throttle import SHORTEST_WAIT, Factor, Throttle
from authsvc.core.messages.codes import CodeDelivery, address_of, delivery_of
from authsvc.core.messages.kinds import SignInCode
from authsvc.core.messages.notices import Notices, addressed
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_code
from authsvc.domain import Medium, User, UsernameKey
from authsvc.errors import CodeExpired, CodeMismatch, LimitExceeded, SessionExpired
from authsvc.store import challenges
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor

FACTORS = {MfaType.SMS: Factor.SMS, MfaType.EMAIL: Factor.EMAIL}
_PURPOSE = "SIGN_IN"


@dataclass(frozen=True, slots=True)
class NewCode:
    """Hold a code that is about to be sent, and what is stored of it."""

    code: str
    digest: bytes

    def __repr__(self) -> str:
        return "NewCode(…)"


class SignInCodes:
    """Send and compare the codes of half-done sign-ins."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        throttle: Throttle,
        notices: Notices,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._throttle = throttle
        self._notices = notices
        self._codes = settings.codes
        self._max_wrong = settings.challenges.max_wrong
        self._clock = clock

    async def spend_send(self, medium: MfaType, username_key: UsernameKey) -> None:
        """Count a code to be sent, before it is made.

        Raises:
            LimitExceeded: the account had its codes of this hour.
        """
        await self._throttle.spend_send(FACTORS[medium], username_key)

    def make(self, medium: MfaType, user: User, challenge_digest: bytes) -> NewCode:
        """Make a code for one challenge session and the address that the account has now."""
        code = new_code(self._codes.sign_in_digits)
        return NewCode(code, self._ring.digest(Purpose.CODE, *self._bound(medium, user, challenge_digest), code))

    async def send(
        self,
        executor: Executor,
        medium: MfaType,
        user: User,
        new: NewCode,
        challenge_digest: bytes,
        *,
        now: datetime,
        expires_at: datetime,
    ) -> None:
        """Enqueue the message, in the transaction that stores the code; it replaces one that still waits.

        An address or number that is yet to be verified may be anybody's: after its codes of this hour, whichever
        accounts they were for, nothing is sent. That is no error, as `spend_address` says.
        """
        is_verified, key = {
            MfaType.SMS: (user.phone_verified_at is not None, user.phone_number),
            MfaType.EMAIL: (user.email_verified_at is not None, user.email_key),
        }[medium]
        may_send = is_verified or await self._throttle.spend_address(key)
        await self._notices.enqueue(
            executor,
            SignInCode(new.code),
            addressed(user, address_of(user, Medium(medium))) if may_send else None,
            medium=Medium(medium),
            now=now,
            expires_at=expires_at,
            supersede_key=f"{_PURPOSE} {challenge_digest.hex()}",
        )

    async def match(self, medium: MfaType, challenge: Challenge, user: User, code: str) -> list[bytes]:
        """Count a try and compare; return the digests by which the caller uses session and code up.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: another one was sent since, or the address was changed.
            SessionExpired: the session was answered too often.
            LimitExceeded: too many wrong codes for this account.
        """
        await self._throttle.spend_try(FACTORS[medium], challenge.username_key)
        if not await challenges.spend_answer(
            self._database, digest=challenge.digest, now=self._clock.now(), max_wrong=self._max_wrong
        ):
            raise SessionExpired
        digests = self._ring.digests(Purpose.CODE, *self._bound(medium, user, challenge.digest), code)
        if challenge.code_digest in digests:
            return digests
        if not set(challenge.superseded).isdisjoint(digests):
            raise CodeExpired
        raise CodeMismatch

    def require_cooled_down(self, challenge: Challenge) -> None:
        """Refuse a further code too soon after the former one.

        Raises:
            SessionExpired: the step sends no code.
            LimitExceeded: it is too soon, until `retry_after`.
        """
        if challenge.code_sent_at is None:
            raise SessionExpired
        wait = challenge.code_sent_at + self._codes.sign_in_cooldown - self._clock.now()
        if wait > self._codes.sign_in_cooldown * 0:
            raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))

    async def resend(self, executor: Executor, medium: MfaType, challenge: Challenge, user: User) -> CodeDelivery:
        """Replace the code of a session, in a transaction that holds the account's row.

        Raises:
            SessionExpired: the session has ended.
            LimitExceeded: another call sent a code just now.
        """
        now = self._clock.now()
        new = self.make(medium, user, challenge.digest)
        cooldown = self._codes.sign_in_cooldown
        if not await challenges.replace_code(
            executor, digest=challenge.digest, code_digest=new.digest, now=now, sent_before=now - cooldown
        ):
            still_there = await challenges.find_live(
                executor, digests=[challenge.digest], now=now, max_wrong=self._max_wrong
            )
            raise LimitExceeded(retry_after=cooldown) if still_there else SessionExpired
        await self.send(executor, medium, user, new, challenge.digest, now=now, expires_at=challenge.expires_at)
        return delivery_of(user, Medium(medium))

    def _bound(self, medium: MfaType, user: User, challenge_digest: bytes) -> tuple[str, str, str]:
        return _PURPOSE, challenge_digest.hex(), address_of(user, Medium(medium))
