"""The rules of distinct kinds of factors, in every combination that they tell apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, combinations
from uuid import UUID

import pytest

from authsvc.config import MfaType
from authsvc.core.factors.rules import askable, enrolled, recovery_medium, settable
from authsvc.domain import EmailKey, UserId, UsernameKey
from authsvc.store.users import User

TOTP, SMS, EMAIL = MfaType.TOTP, MfaType.SMS, MfaType.EMAIL
ALL = frozenset(MfaType)
THEN = datetime(2030, 1, 1, tzinfo=UTC)
NOBODY = User(
    user_id=UserId(UUID(int=1)),
    username="ada",
    username_key=UsernameKey("ada"),
    status="CONFIRMED",
    email=None,
    email_key=None,
    email_verified_at=None,
    attributes={},
    created_at=THEN,
    reserved_until=None,
    disabled_at=None,
    totp_mfa=True,
    sms_mfa=False,
    email_mfa=False,
    preferred_mfa=None,
    phone_verified_at=None,
    pending_email=None,
    pending_email_key=None,
    pending_phone_number=None,
    updated_at=None,
)
# An account with everything verified and enabled.
FULL = replace(
    NOBODY,
    email="ada@example.com",
    email_key=EmailKey("ada@example.com"),
    email_verified_at=THEN,
    attributes={"phone_number": "+14155550123"},
    phone_verified_at=THEN,
    sms_mfa=True,
    email_mfa=True,
)


def named(kinds: frozenset[MfaType]) -> str:
    """Return the name of a set of kinds in test ids, the same in every process."""
    return "+".join(sorted(kinds)) or "none"


def sets() -> list[frozenset[MfaType]]:
    """Return every set of kinds."""
    return [frozenset(each) for each in chain.from_iterable(combinations(MfaType, size) for size in range(4))]


@pytest.mark.parametrize(
    ("user", "has_authenticator", "kinds"),
    [
        (NOBODY, False, set()),
        (NOBODY, True, {TOTP}),
        (replace(NOBODY, totp_mfa=False), True, set()),
        (FULL, False, {SMS, EMAIL}),
        (FULL, True, {TOTP, SMS, EMAIL}),
        (replace(FULL, sms_mfa=False), True, {TOTP, EMAIL}),
        (replace(FULL, phone_verified_at=None), True, {TOTP, EMAIL}),
        (replace(FULL, attributes={}), True, {TOTP, EMAIL}),
        (replace(FULL, email_mfa=False), True, {TOTP, SMS}),
        (replace(FULL, email_verified_at=None), True, {TOTP, SMS}),
        (replace(FULL, email=None), True, {TOTP, SMS}),
    ],
)
def test_a_factor_is_enrolled_while_it_is_enabled_and_can_be_proved(
    user: User, has_authenticator: bool, kinds: set[MfaType]
) -> None:
    """An authenticator counts while it is active, a number or an address while it is verified, each while enabled."""
    assert enrolled(user, has_authenticator=has_authenticator) == kinds


@pytest.mark.parametrize("recovered_by", [None, EMAIL, SMS])
@pytest.mark.parametrize("allowed", sets(), ids=named)
@pytest.mark.parametrize("has", sets(), ids=named)
def test_the_medium_that_set_the_password_is_no_second_factor(
    has: frozenset[MfaType], allowed: frozenset[MfaType], recovered_by: MfaType | None
) -> None:
    """What is asked for is enrolled and allowed, and never goes over the medium that recovered the password."""
    assert askable(has, allowed, recovered_by) == {
        kind for kind in MfaType if kind in has and kind in allowed and kind is not recovered_by
    }


@pytest.mark.parametrize(
    ("user", "allowed", "recovered_by", "kinds"),
    [
        (NOBODY, ALL, None, {TOTP}),
        (FULL, ALL, None, {TOTP, SMS, EMAIL}),
        (FULL, {SMS}, None, {SMS}),
        (FULL, ALL, EMAIL, {TOTP, SMS}),
        (FULL, ALL, SMS, {TOTP, EMAIL}),
        (FULL, {EMAIL}, EMAIL, set()),
        (replace(FULL, phone_verified_at=None, email_verified_at=None), ALL, None, {TOTP, SMS, EMAIL}),
        (NOBODY, {SMS, EMAIL}, None, set()),
    ],
)
def test_what_can_be_set_up_is_what_the_account_has(
    user: User, allowed: set[MfaType], recovered_by: MfaType | None, kinds: set[MfaType]
) -> None:
    """A number or an address can be set up if there is one, verified by its code, but not the recovering medium."""
    assert settable(user, frozenset(allowed), recovered_by) == kinds


@pytest.mark.parametrize(
    ("user", "has", "medium"),
    [
        # Nothing is asked for: the address, as ever.
        (FULL, set(), EMAIL),
        (FULL, {TOTP}, EMAIL),
        (FULL, {SMS}, EMAIL),
        (FULL, {TOTP, EMAIL}, EMAIL),
        (FULL, {SMS, EMAIL}, EMAIL),
        # The address is all that is asked for: it must not recover the password too.
        (FULL, {EMAIL}, SMS),
        (replace(FULL, phone_verified_at=None), {EMAIL}, None),
        # Without a verified address the number recovers, unless it is all that is asked for.
        (replace(FULL, email_verified_at=None), {TOTP}, SMS),
        (replace(FULL, email_verified_at=None), set(), SMS),
        (replace(FULL, email_verified_at=None), {SMS}, None),
        (NOBODY, set(), None),
    ],
)
def test_a_password_is_recovered_over_a_medium_that_leaves_a_distinct_factor(
    user: User, has: set[MfaType], medium: MfaType | None
) -> None:
    """The recovering medium is verified, and never the only second factor."""
    assert recovery_medium(user, frozenset(has), ALL) is medium


@pytest.mark.parametrize("allowed", sets(), ids=named)
@pytest.mark.parametrize("has", sets(), ids=named)
def test_a_recovered_account_can_always_be_asked_for_a_factor(
    has: frozenset[MfaType], allowed: frozenset[MfaType]
) -> None:
    """Whatever is enrolled and allowed, a recovery over the chosen medium leaves something to ask for."""
    medium = recovery_medium(FULL, has, allowed)
    assert medium is None or not has & allowed or askable(has, allowed, medium)
