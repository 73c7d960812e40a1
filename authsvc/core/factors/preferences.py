"""The second factors of a signed-in user: which are enabled and preferred, and the list of authenticators."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from authsvc.clock import Clock
from authsvc.config import AccountsSettings, MfaMode, MfaType
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.factors.rules import KIND_OF, enabled, find_kinds, kinds_of
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.domain import DeviceId, FactorState, TotpDevice, User
from authsvc.errors import InvalidFields, MfaNotEnrolled, MfaRequired, TokenRevoked, Violation
from authsvc.store import passwords, users
from authsvc.store.db import Database, Executor
from authsvc.store.factors import preferences
from authsvc.store.factors import recovery as recovery_codes
from authsvc.store.factors import totp as totp_devices


class Preference(enum.StrEnum):
    """Name what is done to one kind of factor: the values of the proto enum `MfaPreference` without their prefix."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    PREFERRED = "PREFERRED"
    NOT_PREFERRED = "NOT_PREFERRED"


@dataclass(frozen=True, slots=True)
class MfaState:
    """Hold the second factors that sign-ins may ask for, the preferred one, and how many recovery codes are left."""

    enabled: tuple[MfaType, ...]
    preferred: MfaType | None
    recovery_codes_left: int


class Mfa:
    """Tell and change the second factors of a signed-in user."""

    def __init__(
        self,
        database: Database,
        bearers: Bearers,
        notices: Notices,
        audit: Audit,
        settings: AccountsSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._bearers = bearers
        self._notices = notices
        self._audit = audit
        self._is_required = settings.mfa is MfaMode.REQUIRED
        self._allowed = frozenset(settings.mfa_types)
        self._clock = clock

    async def fetch(self, bearer: Bearer) -> MfaState:
        """Return the user's second factors.

        Raises:
            TokenRevoked: the account has just been erased.
        """
        user = await users.find_by_id(self._database, user_id=bearer.standing.user_id)
        if user is None:
            raise TokenRevoked
        kinds = await find_kinds(self._database, user, self._allowed)
        return MfaState(
            enabled=tuple(kind for kind in MfaType if kind in kinds.in_use),
            preferred=kinds.preferred if kinds.preferred in kinds.in_use else None,
            recovery_codes_left=await recovery_codes.count(self._database, user_id=user.user_id),
        )

    async def update(self, bearer: Bearer, changes: Mapping[MfaType, Preference]) -> None:
        """Enable, disable and prefer second factors, all or none, and tell the user by mail if anything changed.

        Raises:
            InvalidFields: a factor to be enabled is not one that the settings allow, or two are to be preferred.
            ReauthenticationRequired: the authentication is too old.
            MfaNotEnrolled: a factor to be enabled is not set up.
            MfaRequired: the last factor would go where one is required.
        """
        self._bearers.require_recent(bearer)
        self._check(changes)
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            state = await preferences.find(transaction, user_id=user.user_id)
            changed = _changed(state, changes)
            before, after = (kinds_of(user, each, self._allowed).in_use for each in (state, changed))
            if not _enabled_by(changes) <= after:
                raise MfaNotEnrolled
            self._require_rest(before, after)
            chosen = enabled(changed)
            if (chosen, changed.preferred) == (enabled(state), state.preferred):
                return
            await preferences.put(
                transaction,
                user_id=user.user_id,
                choices={KIND_OF[kind]: chosen[KIND_OF[kind]] for kind in changes},
                preferred=changed.preferred,
            )
            await passwords.settle(transaction, user_id=user.user_id)
            await self._notices.tell(transaction, user, MfaChanged(MfaChange.PREFERENCE_CHANGED), now=now)
            details = {kind.lower(): str(change) for kind, change in changes.items()}
            await self._audit.record(transaction, event_of(bearer, AuditKind.UPDATE_MFA_PREFERENCE, **details))

    async def list_devices(self, bearer: Bearer) -> list[TotpDevice]:
        """List the user's active authenticators, oldest first."""
        return await totp_devices.list_active(self._database, user_id=bearer.standing.user_id)

    async def remove_device(self, bearer: Bearer, device_id: DeviceId) -> None:
        """Remove an active authenticator of the user, and tell the user by mail; no error if there is none to remove.

        Raises:
            ReauthenticationRequired: the authentication is too old.
            MfaRequired: it is the last factor, and one is required.
        """
        self._bearers.require_recent(bearer)
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            before = await self._in_use(transaction, user)
            if not await totp_devices.delete_active(transaction, device_id=device_id, user_id=user.user_id):
                return
            self._require_rest(before, await self._in_use(transaction, user))
            await passwords.settle(transaction, user_id=user.user_id)
            await self._notices.tell(transaction, user, MfaChanged(MfaChange.AUTHENTICATOR_REMOVED), now=now)
            event = event_of(bearer, AuditKind.REMOVE_TOTP_DEVICE, device_id=str(device_id))
            await self._audit.record(transaction, event)

    def _check(self, changes: Mapping[MfaType, Preference]) -> None:
        violations = [
            Violation(kind.lower(), "NOT_ALLOWED", "must be a second factor that the settings allow")
            for kind in _enabled_by(changes) - self._allowed
        ]
        preferred = [kind for kind, change in changes.items() if change is Preference.PREFERRED]
        violations += [
            Violation(kind.lower(), "ONE_PREFERRED", "must be the only one that is preferred") for kind in preferred[1:]
        ]
        if violations:
            raise InvalidFields(violations=tuple(sorted(violations, key=lambda violation: violation.field)))

    def _require_rest(self, before: frozenset[MfaType], after: frozenset[MfaType]) -> None:
        # An account that had none to be asked for, as under other settings, loses nothing.
        if self._is_required and before and not after:
            raise MfaRequired

    async def _in_use(self, executor: Executor, user: User) -> frozenset[MfaType]:
        return (await find_kinds(executor, user, self._allowed)).in_use


def _enabled_by(changes: Mapping[MfaType, Preference]) -> frozenset[MfaType]:
    enabling = (Preference.ENABLED, Preference.PREFERRED)
    return frozenset(kind for kind, change in changes.items() if change in enabling)


def _changed(state: FactorState, changes: Mapping[MfaType, Preference]) -> FactorState:
    """Return the state as the changes leave it."""
    on = frozenset(KIND_OF[kind] for kind in _enabled_by(changes))
    off = frozenset(KIND_OF[kind] for kind, change in changes.items() if change is Preference.DISABLED)
    preferred = state.preferred
    for kind, change in changes.items():
        if change is Preference.PREFERRED:
            preferred = KIND_OF[kind]
        elif change in (Preference.DISABLED, Preference.NOT_PREFERRED) and preferred is KIND_OF[kind]:
            preferred = None
    return replace(state, enabled=(state.enabled | on) - off, disabled=(state.disabled | off) - on, preferred=preferred)
