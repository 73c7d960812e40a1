"""Which second factors an account has, is asked for and may set up: the rules of distinct kinds stand here alone.

The factors of one sign-in are of distinct kinds. A password that was set with a code sent to an address stands for that
address: until a distinct factor is proved beside it, a code over the same medium proves nothing further. So it is with
the password that an invitation told, and with the one that its reader chose instead. A password is recovered only over
a medium that leaves a factor of another kind to be asked for, if there is one at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from authsvc.config import MfaType
from authsvc.domain import FactorKind, FactorState, Medium, User
from authsvc.store.db import Executor
from authsvc.store.factors import preferences

NONE: frozenset[MfaType] = frozenset()
# Whether a kind counts as long as its user has chosen nothing about it.
BY_DEFAULT = {FactorKind.TOTP: True, FactorKind.SMS: False, FactorKind.EMAIL: False}
KIND_OF = {MfaType.TOTP: FactorKind.TOTP, MfaType.SMS: FactorKind.SMS, MfaType.EMAIL: FactorKind.EMAIL}
_OF_KIND = {kind: type_ for type_, kind in KIND_OF.items()}
_OF_MEDIUM = {Medium.SMS: MfaType.SMS, Medium.EMAIL: MfaType.EMAIL}


@dataclass(frozen=True, slots=True)
class Kinds:
    """Hold what the rules below say of an account.

    `enrolled` is regardless of the settings, `in_use` what of it they allow. `askable` counts beside the password, and
    `settable` can be set up beside it.
    """

    enrolled: frozenset[MfaType]
    in_use: frozenset[MfaType]
    askable: frozenset[MfaType]
    settable: frozenset[MfaType]
    recovered_by: MfaType | None
    preferred: MfaType | None


async def find_kinds(executor: Executor, user: User, allowed: frozenset[MfaType]) -> Kinds:
    """Find how an account stands; in a transaction that holds its row, it stays so."""
    return kinds_of(user, await preferences.find(executor, user_id=user.user_id), allowed)


def kinds_of(user: User, state: FactorState, allowed: frozenset[MfaType]) -> Kinds:
    """Return how an account stands."""
    recovered_by = _OF_MEDIUM[state.recovered_by] if state.recovered_by else None
    has = enrolled(user, state)
    return Kinds(
        enrolled=has,
        in_use=has & allowed,
        askable=askable(has, allowed, recovered_by),
        settable=settable(user, allowed, recovered_by),
        recovered_by=recovered_by,
        preferred=_OF_KIND.get(state.preferred) if state.preferred else None,
    )


def enabled(state: FactorState) -> dict[FactorKind, bool]:
    """Return of each kind whether its user, or its default, has it count."""
    chosen = dict.fromkeys(state.enabled, True) | dict.fromkeys(state.disabled, False)
    return {kind: chosen.get(kind, default) for kind, default in BY_DEFAULT.items()}


def choices(kinds: Mapping[FactorKind, bool], preferred: FactorKind | None) -> dict[FactorKind, bool]:
    """Return what of this is to be stored for a new account: what differs from the defaults, and the preferred kind."""
    return {
        kind: kinds.get(kind, default)
        for kind, default in BY_DEFAULT.items()
        if kind is preferred or kinds.get(kind, default) is not default
    }


def enrolled(user: User, state: FactorState) -> frozenset[MfaType]:
    """Return the second factors that an account has enabled and can prove."""
    counts = enabled(state)
    holds = {
        MfaType.TOTP: state.authenticators > 0,
        MfaType.SMS: user.phone_number is not None and user.phone_verified_at is not None,
        MfaType.EMAIL: user.email is not None and user.email_verified_at is not None,
    }
    return frozenset(kind for kind, holds_it in holds.items() if holds_it and counts[KIND_OF[kind]])


def askable(
    enrolled_kinds: frozenset[MfaType], allowed: frozenset[MfaType], recovered_by: MfaType | None
) -> frozenset[MfaType]:
    """Return the second factors that count beside a password, which a code over `recovered_by` may have set."""
    return (enrolled_kinds & allowed) - {recovered_by}


def settable(user: User, allowed: frozenset[MfaType], recovered_by: MfaType | None) -> frozenset[MfaType]:
    """Return the second factors that a sign-in can set up: a code goes only to what the account already has."""
    possible = {
        MfaType.TOTP: True,
        MfaType.SMS: user.phone_number is not None,
        MfaType.EMAIL: user.email is not None,
    }
    return frozenset(kind for kind, is_possible in possible.items() if is_possible and kind in allowed) - {recovered_by}


def recovery_medium(user: User, enrolled_kinds: frozenset[MfaType], allowed: frozenset[MfaType]) -> MfaType | None:
    """Return the medium over which a password may be recovered, e-mail first; None if none may."""
    verified = {
        MfaType.EMAIL: user.email is not None and user.email_verified_at is not None,
        MfaType.SMS: user.phone_number is not None and user.phone_verified_at is not None,
    }
    asked = enrolled_kinds & allowed
    for medium, is_verified in verified.items():
        if is_verified and asked != {medium}:
            return medium
    return None
