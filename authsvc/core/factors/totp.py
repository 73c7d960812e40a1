"""Authenticators: making a secret, proving a new one, verifying codes of the active ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import AccountsSettings, ChallengesSettings
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle, new_id
from authsvc.crypto.totp import TotpSecret
from authsvc.domain import DeviceId, FactorKind, TotpDevice, User, UserId
from authsvc.errors import CodeAlreadyUsed, CodeMismatch, MfaNotEnrolled, SessionExpired, TotpDeviceLimit
from authsvc.store import challenges
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor
from authsvc.store.factors import preferences
from authsvc.store.factors import totp as totp_devices

DEFAULT_NAME = "Authenticator"
# Half-done set-ups of one account that are kept, beside a new one; the oldest end.
PENDING_KEPT = 99
# The step name of a challenge session that waits for VerifyTotp; no sign-in has it.
VERIFY_TOTP = "VERIFY_TOTP"


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """Hold what a user needs to set an authenticator up; shown once."""

    device_id: DeviceId
    shared_secret: str
    setup_uri: str

    def __repr__(self) -> str:
        return f"TotpSetup({self.device_id})"


@dataclass(frozen=True, slots=True)
class Match:
    """Hold which authenticator a right code is of, and the time step it belongs to."""

    device: TotpDevice
    step: int


def secret_binding(device_id: DeviceId, user_id: UserId) -> str:
    """Return what a sealed secret is bound to: no other authenticator, and no other account, opens it."""
    return f"{device_id} {user_id}"


class Totp:
    """Keep the authenticators of accounts."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        throttle: Throttle,
        bearers: Bearers,
        notices: Notices,
        audit: Audit,
        accounts: AccountsSettings,
        limits: ChallengesSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._throttle = throttle
        self._bearers = bearers
        self._notices = notices
        self._audit = audit
        self._accounts = accounts
        self._limits = limits
        self._clock = clock

    async def associate(self, bearer: Bearer, friendly_name: str) -> tuple[TotpSetup, str]:
        """Make a pending authenticator beside the active ones; return it and the session for `verify`.

        Raises:
            ReauthenticationRequired: the authentication is too old.
            TotpDeviceLimit: the account has as many as it may have.
        """
        self._bearers.require_recent(bearer)
        now = self._clock.now()
        session = new_handle()
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            await self._require_room(transaction, user)
            setup = await self.begin_setup(transaction, user, friendly_name, now)
            await challenges.insert(
                transaction,
                challenge=Challenge(
                    digest=self._ring.digest(Purpose.CHALLENGE, session),
                    user_id=user.user_id,
                    username_key=user.username_key,
                    step=VERIFY_TOTP,
                    proved=[],
                    totp_device_id=setup.device_id,
                    expires_at=now + self._limits.setup_ttl,
                ),
                now=now,
            )
        return setup, session

    async def verify(self, bearer: Bearer, session: str, code: str) -> None:
        """Make a pending authenticator active with its first code, and tell the user by mail.

        Raises:
            SessionExpired: the session is not one of this user's, or can't be answered any more.
            CodeMismatch: the code is wrong; the session can be answered again.
            TotpDeviceLimit: the account got as many as it may have meanwhile.
            LimitExceeded: too many wrong codes.
        """
        caller, standing = bearer.caller, bearer.standing
        async with self._audit.failures(
            AuditKind.ADD_TOTP_DEVICE, caller, user_id=standing.user_id, session_id=standing.session_id
        ):
            challenge = await challenges.find_live(
                self._database,
                digests=self._ring.digests(Purpose.CHALLENGE, session),
                now=self._clock.now(),
                max_wrong=self._limits.max_wrong,
            )
            if challenge is None or challenge.step != VERIFY_TOTP or challenge.user_id != bearer.standing.user_id:
                raise SessionExpired
            match = await self.match_pending(challenge, code)
            now = self._clock.now()
            async with self._database.transaction() as transaction:
                user = await self._bearers.hold(transaction, bearer)
                if not await challenges.consume(transaction, digest=challenge.digest, now=now):
                    raise SessionExpired
                await self._require_room(transaction, user)
                await self.activate(transaction, user, match, now)
                await self._audit.record(transaction, event_of(bearer, AuditKind.ADD_TOTP_DEVICE))

    async def begin_setup(self, executor: Executor, user: User, friendly_name: str, now: datetime) -> TotpSetup:
        """Store a pending authenticator in the caller's transaction; active ones keep working."""
        secret = TotpSecret.generate()
        device_id = DeviceId(new_id())
        await totp_devices.keep_newest_pending(executor, user_id=user.user_id, count=PENDING_KEPT)
        await totp_devices.insert_pending(
            executor,
            device_id=device_id,
            user_id=user.user_id,
            friendly_name=friendly_name or DEFAULT_NAME,
            sealed_secret=self._ring.seal(
                Purpose.TOTP_SECRET, secret.base32.encode(), bound_to=secret_binding(device_id, user.user_id)
            ),
            now=now,
            expires_at=now + self._limits.setup_ttl,
        )
        uri = secret.setup_uri(issuer=self._accounts.totp_issuer, username=user.login)
        return TotpSetup(device_id, secret.base32, uri)

    async def match_pending(self, challenge: Challenge, code: str) -> Match:
        """Count a try and compare a code with the pending authenticator of a challenge.

        Raises:
            CodeMismatch, SessionExpired, LimitExceeded: see `verify`.
        """
        await self._spend(challenge)
        device = (
            await totp_devices.find_pending(self._database, device_id=challenge.totp_device_id)
            if challenge.totp_device_id is not None
            else None
        )
        if device is None:
            raise SessionExpired
        return self._match([device], code)

    async def match_active(self, challenge: Challenge, code: str) -> Match:
        """Count a try and compare a code with the account's active authenticators.

        Raises:
            CodeMismatch, SessionExpired, LimitExceeded: see `verify`.
        """
        await self._spend(challenge)
        return self._match(await totp_devices.list_active(self._database, user_id=challenge.user_id), code)

    async def match_own(self, bearer: Bearer, code: str) -> Match:
        """Count a try and compare a code with the active authenticators of a signed-in user.

        Raises:
            MfaNotEnrolled: the user has none; nothing was counted.
            CodeMismatch, LimitExceeded: see `verify`.
        """
        devices = await totp_devices.list_active(self._database, user_id=bearer.standing.user_id)
        if not devices:
            raise MfaNotEnrolled
        await self._throttle.spend_try(Factor.TOTP, bearer.standing.username_key)
        return self._match(devices, code)

    async def activate(self, executor: Executor, user: User, match: Match, now: datetime) -> None:
        """Make a pending authenticator active, its first code used up, in a transaction that holds the user's row.

        Raises:
            SessionExpired: it is not pending any more.
        """
        if not await totp_devices.activate(executor, device_id=match.device.device_id, step=match.step, now=now):
            raise SessionExpired
        await preferences.enable(executor, user_id=user.user_id, kind=FactorKind.TOTP)
        await self._throttle.forget(executor, user.username_key, Factor.TOTP)
        await self._notices.tell(executor, user, MfaChanged(MfaChange.AUTHENTICATOR_ADDED), now=now)

    async def accept(self, executor: Executor, user: User, match: Match, now: datetime) -> None:
        """Use the code of an active authenticator up.

        Raises:
            CodeAlreadyUsed: it, or a later one, was accepted before.
        """
        if not await totp_devices.claim_step(executor, device_id=match.device.device_id, step=match.step, now=now):
            raise CodeAlreadyUsed
        await self._throttle.forget(executor, user.username_key, Factor.TOTP)

    async def _spend(self, challenge: Challenge) -> None:
        # The account's lock first: while it holds, the session's five answers are not used up either.
        await self._throttle.spend_try(Factor.TOTP, challenge.username_key)
        if not await challenges.spend_answer(
            self._database, digest=challenge.digest, now=self._clock.now(), max_wrong=self._limits.max_wrong
        ):
            raise SessionExpired

    def _match(self, devices: list[TotpDevice], code: str) -> Match:
        now = self._clock.now()
        for device in devices:
            secret = self._ring.open(
                Purpose.TOTP_SECRET, device.sealed_secret, bound_to=secret_binding(device.device_id, device.user_id)
            ).decode()
            step = TotpSecret(secret).matching_step(code, at=now)
            if step is not None:
                return Match(device, step)
        raise CodeMismatch

    async def _require_room(self, executor: Executor, user: User) -> None:
        if await totp_devices.count_active(executor, user_id=user.user_id) >= self._accounts.totp_device_limit:
            raise TotpDeviceLimit
