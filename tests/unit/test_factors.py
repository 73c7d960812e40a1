"""The rules of distinct kinds of factors, in every combination that they tell apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, combinations, product
from uuid import UUID

import pytest

from authsvc.core.factors.kinds import ENROLLABLE
from authsvc.core.factors.rules import askable, enrolled, new_choices, recovery_medium, settable
from authsvc.domain import (
    SECOND_FACTORS,
    EmailKey,
    FactorKind,
    FactorState,
    Medium,
    User,
    UserId,
    UsernameKey,
    UserStatus,
)

TOTP, SMS, EMAIL = KINDS = tuple(spec.kind for spec in ENROLLABLE)
ALL = frozenset(KINDS)
BY_DEFAULT = {spec.kind: spec.is_enabled_by_default for spec in ENROLLABLE}
MEDIA = {Medium.SMS: SMS, Medium.EMAIL: EMAIL}
THEN = datetime(2030, 1, 1, tzinfo=UTC)
NOBODY = User(
    user_id=UserId(UUID(int=1)),
    username="ada",
    username_key=UsernameKey("ada"),
    status=UserStatus.CONFIRMED,
    created_at=THEN,
)
# An account with everything verified, and one that has all of it enabled.
FULL = replace(
    NOBODY,
    email="ada@example.com",
    email_key=EmailKey("ada@example.com"),
    email_verified_at=THEN,
    attributes={"phone_number": "+14155550123"},
    phone_verified_at=THEN,
)
NONE = FactorState()
ONE = FactorState(authenticators=1)
SENT = FactorState(enabled=frozenset({FactorKind.SMS, FactorKind.EMAIL}))
EVERY = replace(SENT, authenticators=1)


def named(kinds: frozenset[FactorKind]) -> str:
    """Return the name of a set of kinds in test ids, the same in every process."""
    return "+".join(sorted(kinds)) or "none"


def sets() -> list[frozenset[FactorKind]]:
    """Return every set of kinds."""
    return [frozenset(each) for each in chain.from_iterable(combinations(KINDS, size) for size in range(4))]


@pytest.mark.parametrize(
    ("user", "state", "kinds"),
    [
        (NOBODY, NONE, set()),
        (NOBODY, ONE, {TOTP}),
        (NOBODY, replace(ONE, enabled=frozenset({FactorKind.TOTP})), {TOTP}),
        (NOBODY, replace(ONE, disabled=frozenset({FactorKind.TOTP})), set()),
        (FULL, NONE, set()),
        (FULL, ONE, {TOTP}),
        (FULL, SENT, {SMS, EMAIL}),
        (FULL, EVERY, {TOTP, SMS, EMAIL}),
        (FULL, replace(EVERY, enabled=frozenset({FactorKind.EMAIL})), {TOTP, EMAIL}),
        (replace(FULL, phone_verified_at=None), EVERY, {TOTP, EMAIL}),
        (replace(FULL, attributes={}), EVERY, {TOTP, EMAIL}),
        (FULL, replace(EVERY, enabled=frozenset({FactorKind.SMS})), {TOTP, SMS}),
        (replace(FULL, email_verified_at=None), EVERY, {TOTP, SMS}),
        (replace(FULL, email=None), EVERY, {TOTP, SMS}),
    ],
)
def test_a_factor_is_enrolled_while_it_is_enabled_and_can_be_proved(
    user: User, state: FactorState, kinds: set[FactorKind]
) -> None:
    """An authenticator counts while it is active, a number or an address while it is verified, each while enabled."""
    assert enrolled(user, state) == kinds


@pytest.mark.parametrize("preferred", [None, *BY_DEFAULT])
@pytest.mark.parametrize("counts", list(product((True, False), repeat=3)))
def test_what_is_stored_of_a_new_account_says_all_that_was_chosen(
    counts: tuple[bool, bool, bool], preferred: FactorKind | None
) -> None:
    """What differs from the defaults is stored, with the preferred kind, and is enough to tell all of it."""
    kinds = dict(zip(BY_DEFAULT, counts, strict=True))
    stored = new_choices(kinds, preferred)
    assert stored.keys() == {kind for kind in kinds if kinds[kind] is not BY_DEFAULT[kind] or kind is preferred}
    state = FactorState(
        enabled=frozenset(kind for kind, is_enabled in stored.items() if is_enabled),
        disabled=frozenset(kind for kind, is_enabled in stored.items() if not is_enabled),
    )
    assert {spec.kind: spec.is_enabled(state) for spec in ENROLLABLE} == kinds


@pytest.mark.parametrize("recovered_by", [None, Medium.EMAIL, Medium.SMS])
@pytest.mark.parametrize("allowed", sets(), ids=named)
@pytest.mark.parametrize("has", sets(), ids=named)
def test_the_medium_that_set_the_password_is_no_second_factor(
    has: frozenset[FactorKind], allowed: frozenset[FactorKind], recovered_by: Medium | None
) -> None:
    """What is asked for is enrolled and allowed, and never goes over the medium that recovered the password."""
    assert askable(has, allowed, recovered_by) == {
        kind
        for kind in KINDS
        if kind in has and kind in allowed and kind is not (MEDIA[recovered_by] if recovered_by else None)
    }


@pytest.mark.parametrize(
    ("user", "allowed", "recovered_by", "kinds"),
    [
        (NOBODY, ALL, None, {TOTP}),
        (FULL, ALL, None, {TOTP, SMS, EMAIL}),
        (FULL, {SMS}, None, {SMS}),
        (FULL, ALL, Medium.EMAIL, {TOTP, SMS}),
        (FULL, ALL, Medium.SMS, {TOTP, EMAIL}),
        (FULL, {EMAIL}, Medium.EMAIL, set()),
        (replace(FULL, phone_verified_at=None, email_verified_at=None), ALL, None, {TOTP, SMS, EMAIL}),
        (NOBODY, {SMS, EMAIL}, None, set()),
    ],
)
def test_what_can_be_set_up_is_what_the_account_has(
    user: User, allowed: set[FactorKind], recovered_by: Medium | None, kinds: set[FactorKind]
) -> None:
    """A number or an address can be set up if there is one, verified by its code, but not the recovering medium."""
    assert settable(user, frozenset(allowed), recovered_by) == kinds


@pytest.mark.parametrize(
    ("user", "has", "medium"),
    [
        # Nothing is asked for: the address, as ever.
        (FULL, set(), Medium.EMAIL),
        (FULL, {TOTP}, Medium.EMAIL),
        (FULL, {SMS}, Medium.EMAIL),
        (FULL, {TOTP, EMAIL}, Medium.EMAIL),
        (FULL, {SMS, EMAIL}, Medium.EMAIL),
        # The address is all that is asked for: it must not recover the password too.
        (FULL, {EMAIL}, Medium.SMS),
        (replace(FULL, phone_verified_at=None), {EMAIL}, None),
        # Without a verified address the number recovers, unless it is all that is asked for.
        (replace(FULL, email_verified_at=None), {TOTP}, Medium.SMS),
        (replace(FULL, email_verified_at=None), set(), Medium.SMS),
        (replace(FULL, email_verified_at=None), {SMS}, None),
        (NOBODY, set(), None),
    ],
)
def test_a_password_is_recovered_over_a_medium_that_leaves_a_distinct_factor(
    user: User, has: set[FactorKind], medium: Medium | None
) -> None:
    """The recovering medium is verified, and never the only second factor."""
    assert recovery_medium(user, frozenset(has), ALL) is medium


@pytest.mark.parametrize("allowed", sets(), ids=named)
@pytest.mark.parametrize("has", sets(), ids=named)
def test_a_recovered_account_can_always_be_asked_for_a_factor(
    has: frozenset[FactorKind], allowed: frozenset[FactorKind]
) -> None:
    """Whatever is enrolled and allowed, a recovery over the chosen medium leaves something to ask for."""
    medium = recovery_medium(FULL, has, allowed)
    assert medium is None or not has & allowed or askable(has, allowed, medium)


def test_the_settings_allow_what_users_can_set_up() -> None:
    """The kinds that `accounts.mfa_types` takes are those of the registry that users set up, in its order."""
    assert tuple(spec.kind for spec in ENROLLABLE) == SECOND_FACTORS
