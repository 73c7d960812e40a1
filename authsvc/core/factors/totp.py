"""Authenticator apps as a factor: making a secret, proving a new one, verifying codes of the active ones (RFC 6238)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import AccountsSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import Opening, consume
from authsvc.core.access.throttle import Throttle
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors import kinds
from authsvc.core.factors.factor import Accept, Accepted, Opened, StepUpFactor, TotpSetup
from authsvc.core.factors.rules import FactorRules
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.names import parse_code
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.crypto.totp import TotpSecret
from authsvc.domain import DeviceId, Lane, TotpDevice, User, UserId
from authsvc.errors import CodeAlreadyUsed, CodeMismatch, MfaNotEnrolled, SessionExpired, TotpDeviceLimit
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor
from authsvc.store.factors import preferences, totp

DEFAULT_NAME = "Authenticator"
# Half-done set-ups of one account that are kept, beside a new one; the oldest end.
PENDING_KEPT = 99
# The step of a challenge session that waits for VerifyTotp; no sign-in has it.
VERIFY_TOTP = "VERIFY_TOTP"


@dataclass(frozen=True, slots=True)
class Match:
    """Hold which authenticator a right code is of, and the time step it belongs to."""

    device_id: DeviceId
    step: int


def secret_binding(device_id: DeviceId, user_id: UserId) -> str:
    """Return what a sealed secret is bound to: no other authenticator, and no other account, opens it."""
    return f"{device_id} {user_id}"


@dataclass(frozen=True, kw_only=True)
class Totp(StepUpFactor):
    """Ask for codes of authenticators, and set authenticators up."""

    spec = kinds.TOTP

    database: Database
    ring: KeyRing
    throttle: Throttle
    notices: Notices
    rules: FactorRules
    settings: AccountsSettings
    clock: Clock

    async def open(self, executor: Executor, user: User, opening: Opening) -> Opened:
        """Make an authenticator that waits for its first code, where the step sets one up."""
        if opening.step != self.spec.set_up:
            return Opened()
        setup = await self.begin_setup(executor, user, opening)
        return Opened(device_id=setup.device_id, totp_setup=setup)

    async def begin_setup(
        self, executor: Executor, user: User, opening: Opening, *, friendly_name: str = ""
    ) -> TotpSetup:
        """Store a pending authenticator in the caller's transaction; active ones keep working."""
        secret = TotpSecret.generate()
        device_id = DeviceId(new_id())
        await totp.keep_newest_pending(executor, user_id=user.user_id, count=PENDING_KEPT)
        await totp.insert_pending(
            executor,
            device_id=device_id,
            user_id=user.user_id,
            friendly_name=friendly_name or DEFAULT_NAME,
            sealed_secret=self.ring.seal(
                Purpose.TOTP_SECRET, secret.base32.encode(), bound_to=secret_binding(device_id, user.user_id)
            ),
            now=opening.now,
            expires_at=opening.expires_at,
        )
        return TotpSetup(
            device_id, secret.base32, secret.setup_uri(issuer=self.settings.totp_issuer, username=user.login)
        )

    def parse_own(self, text: str) -> str:
        """Return a code's digits."""
        return parse_code(text, field=self.spec.answer)

    async def match(self, challenge: Challenge, answer: str, caller: Caller) -> Accept:
        """Compare a code with the active authenticators, or with the one that the session sets up."""
        if challenge.totp_device_id is not None:
            return await self._match_pending(challenge, challenge.totp_device_id, answer)
        return await super().match(challenge, answer, caller)

    async def require_enrolled(self, user_id: UserId) -> None:
        """See that the user has an active authenticator."""
        if not await self.is_enrolled(self.database, user_id):
            raise MfaNotEnrolled

    async def is_enrolled(self, executor: Executor, user_id: UserId) -> bool:
        """Tell whether the user has an active authenticator."""
        return bool(await totp.count_active(executor, user_id=user_id))

    async def match_own(self, user_id: UserId, answer: str, lane: Lane) -> Accept:
        """Compare a code with the active authenticators."""
        match = self._matching(await totp.list_active(self.database, user_id=user_id), answer)

        async def accept(executor: Executor, user: User, now: datetime) -> Accepted:
            if not await totp.claim_step(executor, device_id=match.device_id, step=match.step, now=now):
                # It, or a later one, was accepted before.
                raise CodeAlreadyUsed
            await self.throttle.forget(executor, self.spec.guarded, user.username_key, lane=lane)
            return Accepted(user, self.spec.kind)

        return accept

    async def require_room(self, executor: Executor, user: User) -> None:
        """See that the account may have another authenticator.

        Raises:
            TotpDeviceLimit: it has as many as it may have.
        """
        if await totp.count_active(executor, user_id=user.user_id) >= self.settings.totp_device_limit:
            raise TotpDeviceLimit

    async def _match_pending(self, challenge: Challenge, device_id: DeviceId, answer: str) -> Accept:
        pending = await totp.find_pending(self.database, device_id=device_id)
        if pending is None:
            raise SessionExpired
        match = self._matching([pending], answer)

        async def accept_in_sign_in(executor: Executor, user: User, now: datetime) -> Accepted:
            (await self.rules.find(executor, user)).require_none_in_use()
            await self._activate(executor, user, match, now=now)
            await consume(executor, challenge, now)
            await self.throttle.forget(executor, self.spec.guarded, user.username_key, lane=challenge.lane)
            return Accepted(user, self.spec.kind, did=(AuditKind.ADD_TOTP_DEVICE,))

        async def accept_addition(executor: Executor, user: User, now: datetime) -> Accepted:
            await consume(executor, challenge, now)
            await self.require_room(executor, user)
            await self._activate(executor, user, match, now=now)
            await self.throttle.forget(executor, self.spec.guarded, user.username_key, lane=challenge.lane)
            return Accepted(user)

        return accept_addition if challenge.step == VERIFY_TOTP else accept_in_sign_in

    async def _activate(self, executor: Executor, user: User, match: Match, *, now: datetime) -> None:
        """Make a pending authenticator active, its first code used up; it is a second factor from here on."""
        if not await totp.activate(executor, device_id=match.device_id, step=match.step, now=now):
            raise SessionExpired
        await preferences.enable(executor, user_id=user.user_id, kind=self.spec.kind)
        await self.notices.tell(executor, user, MfaChanged(MfaChange.AUTHENTICATOR_ADDED), now=now)

    def _matching(self, devices: Iterable[TotpDevice], code: str) -> Match:
        now = self.clock.now()
        for device in devices:
            binding = secret_binding(device.device_id, device.user_id)
            secret = self.ring.open(Purpose.TOTP_SECRET, device.sealed_secret, bound_to=binding).decode()
            step = TotpSecret(secret).matching_step(code, at=now)
            if step is not None:
                return Match(device.device_id, step)
        raise CodeMismatch
