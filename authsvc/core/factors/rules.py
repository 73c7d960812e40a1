"""Which second factors an account has, is asked for and may set up: the rules of distinct kinds stand here alone.

The factors of one sign-in are of distinct kinds. A password that was set with a code sent to an address stands for that
address: until a distinct factor is proved beside it, a code over the same medium proves nothing further. So it is with
the password that an invitation told, and with the one that its reader chose instead. A password is recovered only over
a medium that leaves a factor of another kind to be asked for, if there is one at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from authsvc.config import AccountsSettings, MfaMode
from authsvc.core.factors.kinds import ENROLLABLE, RECOVERING
from authsvc.crypto.tokens import new_id
from authsvc.domain import FactorKind, FactorState, Medium, User, UserId
from authsvc.errors import MfaRequired, SessionExpired
from authsvc.store.db import Executor
from authsvc.store.factors import preferences

NONE: frozenset[FactorKind] = frozenset()


@dataclass(frozen=True, slots=True)
class UserFactors:
    """Hold how an account stands by the rules below.

    `wanted` are those that the user has enabled; of those, `enrolled` can be proved, and `in_use` is what of it the
    settings allow. `askable` counts beside the password, and `settable` can be set up beside it.
    """

    wanted: frozenset[FactorKind]
    enrolled: frozenset[FactorKind]
    in_use: frozenset[FactorKind]
    askable: frozenset[FactorKind]
    settable: frozenset[FactorKind]
    preferred: FactorKind | None
    recovered_by: Medium | None

    def require_none_in_use(self) -> None:
        """Let a sign-in set a factor up only where it has none to ask for.

        Raises:
            SessionExpired: another one has set a factor up since: a password alone must not add a second.
        """
        if self.in_use:
            raise SessionExpired


class FactorRules:
    """Find how accounts stand under the settings."""

    def __init__(self, *, settings: AccountsSettings) -> None:
        self.allowed = frozenset(settings.mfa_types)
        self.mode = settings.mfa
        self.is_required = settings.mfa is MfaMode.REQUIRED
        # What is asked for nowhere keeps no password from being recovered.
        self._asked = self.allowed if settings.mfa is not MfaMode.OFF else NONE

    async def find(self, executor: Executor, user: User) -> UserFactors:
        """Find how an account stands; in a transaction that holds its row, it stays so."""
        return self.of(user, await preferences.find(executor, user_id=user.user_id))

    def of(self, user: User, state: FactorState) -> UserFactors:
        """Tell how an account stands that has so many authenticators and such preferences."""
        has = enrolled(user, state)
        return UserFactors(
            wanted=frozenset(spec.kind for spec in ENROLLABLE if spec.is_enabled(state)),
            enrolled=has,
            in_use=has & self.allowed,
            askable=askable(has, self.allowed, state.recovered_by),
            settable=settable(user, self.allowed, state.recovered_by),
            preferred=state.preferred,
            recovered_by=state.recovered_by,
        )

    def require_rest(self, before: UserFactors, after: UserFactors) -> None:
        """See that an account keeps a second factor where one is required.

        Raises:
            MfaRequired: the last one would go. An account that had none to be asked for, as under other settings, loses
                nothing.
        """
        if self.is_required and before.in_use and not after.in_use:
            raise MfaRequired

    async def find_recovery_medium(self, executor: Executor, user: User | None) -> Medium | None:
        """Find the medium over which an account's password may be recovered; None if none may.

        A name that doesn't exist costs the same statement.
        """
        state = await preferences.find(executor, user_id=user.user_id if user else UserId(new_id()))
        return recovery_medium(user, enrolled(user, state), self._asked) if user else None

    @property
    def may_recover_by_phone(self) -> bool:
        """Tell whether some accounts are sent the code for a new password by SMS: where e-mail is a second factor."""
        return not self._asked.isdisjoint(_over(RECOVERING[0]))


def new_choices(wanted: Mapping[FactorKind, bool], preferred: FactorKind | None) -> dict[FactorKind, bool]:
    """Return what is to be stored of a new account's choices: what differs from defaults, and the preferred kind."""
    choices = {spec.kind: wanted.get(spec.kind, spec.is_enabled_by_default) for spec in ENROLLABLE}
    defaults = {spec.kind: spec.is_enabled_by_default for spec in ENROLLABLE}
    return {kind: choice for kind, choice in choices.items() if kind is preferred or choice is not defaults[kind]}


def enrolled(user: User, state: FactorState) -> frozenset[FactorKind]:
    """Return the second factors that an account has enabled and can prove."""
    return frozenset(spec.kind for spec in ENROLLABLE if spec.is_enabled(state) and spec.can_prove(user, state))


def askable(
    has: frozenset[FactorKind], allowed: frozenset[FactorKind], recovered_by: Medium | None
) -> frozenset[FactorKind]:
    """Return the second factors that count beside a password, which a code over `recovered_by` may have set."""
    return (has & allowed) - _over(recovered_by)


def settable(user: User, allowed: frozenset[FactorKind], recovered_by: Medium | None) -> frozenset[FactorKind]:
    """Return the second factors that a sign-in can set up: a code goes only to what the account already has."""
    possible = frozenset(spec.kind for spec in ENROLLABLE if spec.can_set_up(user))
    return (possible & allowed) - _over(recovered_by)


def recovery_medium(user: User, has: frozenset[FactorKind], asked_anywhere: frozenset[FactorKind]) -> Medium | None:
    """Return the medium over which a password may be recovered, e-mail first; None if none may."""
    asked = has & asked_anywhere
    for medium in RECOVERING:
        is_verified = user.address(medium) is not None and user.is_verified(medium)
        if is_verified and asked != _over(medium):
            return medium
    return None


def _over(medium: Medium | None) -> frozenset[FactorKind]:
    return NONE if medium is None else frozenset(spec.kind for spec in ENROLLABLE if spec.medium is medium)
