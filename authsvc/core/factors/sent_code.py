"""Codes that are sent as a factor: by SMS or mail, bound to one step of one sign-in and to the address."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import Opening, consume
from authsvc.core.access.throttle import SHORTEST_WAIT, Sends, Throttle
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.factor import Accept, Accepted, Factor, Opened
from authsvc.core.factors.kinds import Spec
from authsvc.core.factors.rules import FactorRules
from authsvc.core.messages.codes import NO_CODE, CodeDelivery, address_of, delivery_of
from authsvc.core.messages.kinds import MfaChange, MfaChanged, SignInCode
from authsvc.core.messages.notices import Notices, addressed
from authsvc.core.names import parse_code
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_code
from authsvc.domain import Lane, Medium, User, UsernameKey
from authsvc.errors import CodeExpired, CodeMismatch, LimitExceeded, SessionExpired
from authsvc.store import challenges, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor
from authsvc.store.factors import preferences
from authsvc.store.users import addresses

_PURPOSE = "SIGN_IN"


def medium_of(spec: Spec) -> Medium:
    """Return what carries the codes of a kind whose codes are sent."""
    if spec.medium is None:
        raise ValueError(spec.kind)
    return spec.medium


@dataclass(frozen=True, slots=True)
class Made:
    """Hold a new code, what is stored of it, and whether it may be sent."""

    code: str = field(repr=False)
    digest: bytes
    may_send: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SignInCodes:
    """Make and send codes for the steps of sign-ins."""

    ring: KeyRing
    throttle: Throttle
    notices: Notices
    settings: Settings
    clock: Clock

    async def reserve(self, spec: Spec, username_key: UsernameKey, *, lane: Lane, caller: Caller) -> None:
        """Count a code to be sent, before it is made.

        Raises:
            LimitExceeded: the account had its codes of this hour in this lane, or from this source.
        """
        codes = self.settings.codes
        sends = Sends(spec.kind.value, codes.sign_in_sends_per_hour, codes.sends_to_strangers_per_hour)
        await self.throttle.spend_send_in(lane, sends, username_key, caller=caller)

    async def send(self, executor: Executor, spec: Spec, *, user: User, opening: Opening) -> bytes:
        """Enqueue a new code for a step, in the transaction that stores the step; return its digest."""
        made = await self._new(spec, user, opening.digest)
        await self._enqueue(executor, spec, user=user, made=made, opening=opening)
        return made.digest

    async def resend(self, executor: Executor, spec: Spec, *, user: User, challenge: Challenge) -> None:
        """Replace the code of a step by a new one, unless that is too soon.

        Raises:
            SessionExpired: the session has ended.
            LimitExceeded: another call sent a code just now.
        """
        now, cooldown = self.clock.now(), self.settings.codes.sign_in_cooldown
        made = await self._new(spec, user, challenge.digest)
        if not await challenges.replace_code(
            executor, digest=challenge.digest, code_digest=made.digest, now=now, sent_before=now - cooldown
        ):
            is_live = await challenges.find_live(
                executor, digests=[challenge.digest], now=now, max_wrong=self.settings.challenges.max_wrong
            )
            raise LimitExceeded(retry_after=cooldown) if is_live else SessionExpired
        opening = Opening(step=challenge.step, digest=challenge.digest, now=now, expires_at=challenge.expires_at)
        await self._enqueue(executor, spec, user=user, made=made, opening=opening)

    def require_cooled_down(self, challenge: Challenge) -> None:
        """Refuse a further code too soon after the former one.

        Raises:
            SessionExpired: the step sends no code.
            LimitExceeded: it is too soon, until `retry_after`.
        """
        if challenge.code_sent_at is None:
            raise SessionExpired
        wait = challenge.code_sent_at + self.settings.codes.sign_in_cooldown - self.clock.now()
        if wait > timedelta():
            raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))

    async def match(self, spec: Spec, *, user: User, challenge: Challenge, code: str) -> list[bytes]:
        """Compare a code that was sent to an account's address; return the digests by which it is used up.

        Where it says whose the address is, wrong ones are counted for that too: see `Throttle.spend_try_at`.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: another one was sent since, or the address was changed.
        """
        digests = self.ring.digests(Purpose.CODE, *_bound(spec, user, challenge.digest), code)
        may_be_right = self.is_verified(spec, user) or await self.throttle.spend_try_at(self._address(spec, user))
        if challenge.code_digest in digests and may_be_right:
            return digests
        raise CodeMismatch if set(challenge.superseded).isdisjoint(digests) else CodeExpired

    def is_verified(self, spec: Spec, user: User) -> bool:
        """Tell whether the address that the codes of a kind go to is the account's for sure."""
        return user.is_verified(medium_of(spec))

    async def forget_tries(self, executor: Executor, spec: Spec, *, user: User) -> None:
        """Forget wrong codes of an address that was not verified before a right one."""
        if not self.is_verified(spec, user):
            await self.throttle.forget_tries_at(executor, self._address(spec, user))

    async def _new(self, spec: Spec, user: User, challenge_digest: bytes) -> Made:
        """Make a code.

        An address or number that is yet to be verified may be anybody's: after its codes of this hour, whichever
        accounts they were for, nothing is sent, and what is not sent is right for nobody. That is no error, as
        `spend_address` says. A code for it is as long as one that does nothing but verify an address.
        """
        medium, codes = medium_of(spec), self.settings.codes
        is_verified = user.is_verified(medium)
        may_send = is_verified or await self.throttle.spend_address(user.address_key(medium))
        code = new_code(codes.sign_in_digits if is_verified else codes.attribute_digits)
        bound = _bound(spec, user, challenge_digest)
        return Made(code, self.ring.digest(Purpose.CODE, *bound, code if may_send else NO_CODE), may_send)

    async def _enqueue(self, executor: Executor, spec: Spec, *, user: User, made: Made, opening: Opening) -> None:
        """Enqueue the message; it replaces one that still waits."""
        medium = medium_of(spec)
        await self.notices.enqueue(
            executor,
            SignInCode(made.code),
            addressed(user, address_of(user, medium)) if made.may_send else None,
            medium=medium,
            now=opening.now,
            expires_at=opening.expires_at,
            supersede_key=f"{_PURPOSE} {opening.digest.hex()}",
        )

    def _address(self, spec: Spec, user: User) -> bytes:
        return self.throttle.address_digest(user.address_key(medium_of(spec)) or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class SentCode(Factor):
    """Ask for codes that are sent over one medium."""

    spec: Spec
    database: Database
    codes: SignInCodes
    throttle: Throttle
    notices: Notices
    rules: FactorRules

    async def reserve(self, username_key: UsernameKey, lane: Lane, caller: Caller) -> None:
        """Count the code that is about to be sent."""
        await self.codes.reserve(self.spec, username_key, lane=lane, caller=caller)

    async def open(self, executor: Executor, user: User, opening: Opening) -> Opened:
        """Send a code."""
        digest = await self.codes.send(executor, self.spec, user=user, opening=opening)
        return Opened(code_digest=digest, code_delivery=delivery_of(user, medium_of(self.spec)))

    def require_cooled_down(self, challenge: Challenge) -> None:
        """Refuse a further code too soon after the former one."""
        self.codes.require_cooled_down(challenge)

    async def resend(self, executor: Executor, user: User, challenge: Challenge) -> CodeDelivery:
        """Send another code in place of the former one."""
        await self.codes.resend(executor, self.spec, user=user, challenge=challenge)
        return delivery_of(user, medium_of(self.spec))

    def parse(self, challenge: Challenge, text: str) -> str:
        """Return a code's digits."""
        return parse_code(text, field=self.spec.answer)

    async def match(self, challenge: Challenge, answer: str, caller: Caller) -> Accept:
        """Compare a code with the one that was sent last."""
        before = await users.find_by_id(self.database, user_id=challenge.user_id)
        if before is None:
            raise SessionExpired
        digests = await self.codes.match(self.spec, user=before, challenge=challenge, code=answer)

        async def accept(executor: Executor, user: User, now: datetime) -> Accepted:
            # The code was compared for the address that the account had a moment ago.
            if (user.email, user.phone_number) != (before.email, before.phone_number):
                raise SessionExpired
            await consume(executor, challenge, now, code_digests=digests)
            standing = await self.rules.find(executor, user)
            did: tuple[AuditKind, ...] = ()
            if self.spec.kind not in standing.enrolled:
                # It was asked for, and disabled since: it must not come back by this.
                if not self.rules.is_required:
                    raise SessionExpired
                standing.require_none_in_use()
                user = await self._set_up(executor, user, now)
                did = (AuditKind.UPDATE_MFA_PREFERENCE,)
            await self.throttle.forget(executor, self.spec.guarded, user.username_key, lane=challenge.lane)
            await self.codes.forget_tries(executor, self.spec, user=before)
            return Accepted(user, self.spec.kind, did=did)

        return accept

    async def _set_up(self, executor: Executor, user: User, now: datetime) -> User:
        """Make what a code was sent to a second factor: this sign-in had none to ask for."""
        if not await addresses.verify(executor, user_id=user.user_id, medium=medium_of(self.spec), now=now):
            raise SessionExpired
        await preferences.enable(executor, user_id=user.user_id, kind=self.spec.kind)
        await self.notices.tell(executor, user, MfaChanged(MfaChange.PREFERENCE_CHANGED), now=now)
        return await users.find_by_id(executor, user_id=user.user_id) or user


def _bound(spec: Spec, user: User, challenge_digest: bytes) -> tuple[str, str, str]:
    return _PURPOSE, challenge_digest.hex(), address_of(user, medium_of(spec))
