"""The second factors of a signed-in user: which are enabled, and which one is preferred."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from authsvc.core.accounts.calls import SignedIn
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import in_order
from authsvc.core.factors.rules import FactorRules
from authsvc.core.fields import Fields
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer
from authsvc.domain import FactorKind, FactorState
from authsvc.errors import MfaNotEnrolled, Violation
from authsvc.store import passwords
from authsvc.store.db import Database
from authsvc.store.factors import preferences, recovery


class Preference(enum.StrEnum):
    """Name what is done to one kind of factor: the values of the proto enum `MfaPreference` without their prefix."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    PREFERRED = "PREFERRED"
    NOT_PREFERRED = "NOT_PREFERRED"


@dataclass(frozen=True, slots=True)
class MfaState:
    """Hold the second factors that sign-ins may ask for, the preferred one, and how many recovery codes are left."""

    enabled: tuple[FactorKind, ...]
    preferred: FactorKind | None
    recovery_codes_left: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Preferences:
    """Tell and change which second factors a signed-in user is asked for."""

    database: Database
    signed_in: SignedIn
    rules: FactorRules
    notices: Notices

    async def fetch(self, bearer: Bearer) -> MfaState:
        """Return the user's second factors.

        Raises:
            TokenRevoked: the account has just been erased.
        """
        user = await self.signed_in.find(bearer)
        standing = await self.rules.find(self.database, user)
        return MfaState(
            enabled=in_order(standing.in_use),
            preferred=standing.preferred if standing.preferred in standing.in_use else None,
            recovery_codes_left=await recovery.count(self.database, user_id=user.user_id),
        )

    async def update(self, bearer: Bearer, changes: Mapping[FactorKind, Preference | None]) -> None:
        """Enable, disable and prefer second factors, all or none, and tell the user by mail if anything changed.

        A change that is None is one that is not known.

        Raises:
            InvalidFields: a change is not known, a factor to be enabled is not one that the settings allow, or two are
                to be preferred.
            ReauthenticationRequired: the authentication is too old.
            MfaNotEnrolled: a factor to be enabled is not set up.
            MfaRequired: the last factor would go where one is required.
        """
        fields = Fields()
        known = _known(fields, changes)
        fields.check()
        self.signed_in.require_recent(bearer)
        self._check(known)
        details = {kind.lower(): str(change) for kind, change in known.items()}
        async with self.signed_in.change(bearer, AuditKind.UPDATE_MFA_PREFERENCE, details, is_sensitive=True) as change:
            user = change.user
            state = await preferences.find(change.executor, user_id=user.user_id)
            changed = _changed(state, known)
            before, after = self.rules.of(user, state), self.rules.of(user, changed)
            if not _enabled_by(known) <= after.in_use:
                raise MfaNotEnrolled
            self.rules.require_rest(before, after)
            if (before.wanted, before.preferred) == (after.wanted, after.preferred):
                change.is_void = True
                return
            choices = {kind: kind in after.wanted for kind in known}
            await preferences.put(change.executor, user_id=user.user_id, choices=choices, preferred=changed.preferred)
            await passwords.settle(change.executor, user_id=user.user_id)
            told = MfaChanged(MfaChange.PREFERENCE_CHANGED)
            await self.notices.tell(change.executor, user, told, now=change.now)

    def _check(self, changes: Mapping[FactorKind, Preference]) -> None:
        preferred = [kind for kind, change in changes.items() if change is Preference.PREFERRED]
        fields = Fields()
        for kind in sorted(changes):
            is_allowed = kind in self.rules.allowed or kind not in _enabled_by(changes)
            fields.require(
                is_allowed, Violation(kind.lower(), "NOT_ALLOWED", "must be a second factor that the settings allow")
            )
            is_only = kind not in preferred[1:]
            fields.require(is_only, Violation(kind.lower(), "ONE_PREFERRED", "must be the only one that is preferred"))
        fields.check()


def _known(fields: Fields, changes: Mapping[FactorKind, Preference | None]) -> dict[FactorKind, Preference]:
    for kind, change in changes.items():
        fields.require(change is not None, Violation(kind.lower(), "UNKNOWN", "must be a known preference"))
    return {kind: change for kind, change in changes.items() if change is not None}


def _enabled_by(changes: Mapping[FactorKind, Preference]) -> frozenset[FactorKind]:
    enabling = (Preference.ENABLED, Preference.PREFERRED)
    return frozenset(kind for kind, change in changes.items() if change in enabling)


def _changed(state: FactorState, changes: Mapping[FactorKind, Preference]) -> FactorState:
    """Return a user's choices as the changes leave them."""
    enabled, disabled, preferred = set(state.enabled), set(state.disabled), state.preferred
    for kind, change in changes.items():
        if change is not Preference.NOT_PREFERRED:
            (disabled if change is Preference.DISABLED else enabled).add(kind)
            (enabled if change is Preference.DISABLED else disabled).discard(kind)
        if change is Preference.PREFERRED:
            preferred = kind
        elif change in (Preference.DISABLED, Preference.NOT_PREFERRED) and preferred is kind:
            preferred = None
    return replace(state, enabled=frozenset(enabled), disabled=frozenset(disabled), preferred=preferred)
