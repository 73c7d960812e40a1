"""Attributes that a signed-in user sees, sets and removes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.account_calls import prefer, recorded
from tests.rpc.attribute_calls import (
    NUMBER,
    OTHER_NUMBER,
    fetch_attributes,
    fetch_pending,
    remove_attributes,
    set_attributes,
)
from tests.rpc.calls import refresh, settle, sign_out
from tests.rpc.conftest import Run
from tests.rpc.test_tokens import decode
from tests.service import PASSWORD, Account, Service, bearer, fails

MINUTE = timedelta(minutes=1)
CUSTOM = {
    "custom:team": {"min": 2, "max": 20, "user_may_write": True},
    "custom:tier": {},
}
VERIFIED = {"email": "ada@example.com", "email_verified": "true"}


@pytest.fixture
async def service(run: Run) -> AsyncIterator[Service]:
    """Run the service with custom attributes, one of them for users to write."""
    async with run(attributes={"custom": CUSTOM}) as running:
        yield running


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


async def test_what_is_set_is_seen(service: Service, ada: Account) -> None:
    """Attributes that are set are in use at once, beside those that were there, and in the next ID token."""
    assert await fetch_attributes(service, ada.tokens) == VERIFIED
    done = await set_attributes(service, ada.tokens, name="Ada", zoneinfo="Europe/London", custom_team="engines")
    assert done == dict.fromkeys(("name", "zoneinfo", "custom:team"), ("DONE", ""))
    await set_attributes(service, ada.tokens, name="Ada Lovelace", locale="en-GB")
    expected = {"name": "Ada Lovelace", "zoneinfo": "Europe/London", "custom:team": "engines", "locale": "en-GB"}
    assert await fetch_attributes(service, ada.tokens) == {**VERIFIED, **expected}
    claims = await decode(service, (await refresh(service, ada.tokens.refresh_token)).id_token)
    assert claims.items() >= {**expected, "email_verified": True}.items()


async def test_what_nobody_writes_is_seen(service: Service, ada: Account) -> None:
    """The id of the user and the time of the last change are among the attributes."""

    async def fixed() -> tuple[str, str]:
        found = await service.stub.FetchUserAttributes(pb.FetchUserAttributesRequest(), metadata=ada.bearer)
        return found.attributes["sub"], found.attributes["updated_at"]

    made_at = service.clock.now()
    assert await fixed() == (ada.user_id, str(int(made_at.timestamp())))
    service.clock.advance(MINUTE)
    await set_attributes(service, ada.tokens, name="Ada")
    assert await fixed() == (ada.user_id, str(int((made_at + MINUTE).timestamp())))


@pytest.mark.parametrize("name", ["sub", "email_verified", "phone_number_verified", "updated_at", "custom:other", ""])
async def test_what_users_never_write(service: Service, ada: Account, name: str) -> None:
    """What is no attribute of a user's own can't be set, and nothing else of the call is."""
    request = pb.UpdateUserAttributesRequest(attributes={"name": "Ada", name: "true"})
    async with fails("INVALID_FIELDS") as failures:
        await service.stub.UpdateUserAttributes(request, metadata=ada.bearer)
    assert failures[0].violations == [("attributes", "UNKNOWN")]
    assert await fetch_attributes(service, ada.tokens) == VERIFIED


async def test_custom_attribute_of_operators(service: Service, ada: Account) -> None:
    """A custom attribute that users may not write can neither be set, nor given at sign-up, nor removed by them."""
    async with fails("INVALID_FIELDS") as failures:
        await set_attributes(service, ada.tokens, custom_tier="gold", name="Ada")
    assert failures[0].violations == [('attributes["custom:tier"]', "NOT_WRITABLE")]
    async with fails("INVALID_FIELDS"):
        attributes = {"email": "eve@example.com", "custom:tier": "gold"}
        await service.stub.SignUp(pb.SignUpRequest(username="eve", password=PASSWORD, attributes=attributes))
    async with fails("INVALID_FIELDS") as failures:
        await remove_attributes(service, ada.tokens, "name", "custom:tier")
    assert failures[0].violations == [("names[1]", "NOT_WRITABLE")]


async def test_custom_attribute_at_sign_up(service: Service) -> None:
    """A custom attribute of the users' own can be given at sign-up, within its bounds."""
    for value, is_right in (("x", False), ("engines", True)):
        attributes = {"email": "eve@example.com", "custom:team": value}
        request = pb.SignUpRequest(username="eve", password=PASSWORD, attributes=attributes)
        if is_right:
            await service.stub.SignUp(request)
            continue
        async with fails("INVALID_FIELDS") as failures:
            await service.stub.SignUp(request)
        assert failures[0].violations == [('attributes["custom:team"]', "LENGTH")]


async def test_all_broken_rules_are_told_at_once(service: Service, ada: Account) -> None:
    """Empty and malformed values are told together; none of the call's values is set."""
    async with fails("INVALID_FIELDS") as failures:
        await set_attributes(service, ada.tokens, name="", birthdate="2023-02-29", locale="?", nickname="Ada")
    assert sorted(failures[0].violations) == [
        ('attributes["birthdate"]', "DATE"),
        ('attributes["locale"]', "LOCALE"),
        ('attributes["name"]', "REQUIRED"),
    ]
    assert await fetch_attributes(service, ada.tokens) == VERIFIED


async def test_all_that_must_stay_is_told_at_once(service: Service, ada: Account) -> None:
    """A removal of what is unknown, not the user's to write and required tells all of it; nothing is removed."""
    await set_attributes(service, ada.tokens, name="Ada")
    async with fails("INVALID_FIELDS") as failures:
        await remove_attributes(service, ada.tokens, "custom:tier", "email", "name", "unknown", "email_verified")
    assert failures[0].violations == [("names", "UNKNOWN"), ("names[0]", "NOT_WRITABLE"), ("names[1]", "REQUIRED")]
    assert await fetch_attributes(service, ada.tokens) == VERIFIED | {"name": "Ada"}


@pytest.mark.parametrize(("count", "is_right"), [(0, False), (1, True), (50, True), (51, False)])
async def test_number_of_attributes(service: Service, ada: Account, count: int, is_right: bool) -> None:
    """A call sets, or removes, 1 to 50 attributes."""
    names = [f"unknown{number}" for number in range(count - 1)] + ["name"] * (count > 0)
    update = pb.UpdateUserAttributesRequest(attributes=dict.fromkeys(names, "x"))
    removal = pb.DeleteUserAttributesRequest(names=["name"] * count)
    if not is_right:
        for call, field in (
            (service.stub.UpdateUserAttributes(update, metadata=ada.bearer), "attributes"),
            (service.stub.DeleteUserAttributes(removal, metadata=ada.bearer), "names"),
        ):
            async with fails("INVALID_FIELDS") as failures:
                await call
            assert failures[0].violations == [(field, "COUNT")]
        return
    await service.stub.DeleteUserAttributes(removal, metadata=ada.bearer)
    if count == 1:
        await service.stub.UpdateUserAttributes(update, metadata=ada.bearer)


async def test_removal(service: Service, ada: Account) -> None:
    """Removed attributes are gone, the others stay; removing what is not there is no error."""
    await set_attributes(service, ada.tokens, name="Ada", nickname="A", custom_team="engines")
    for _ in range(2):
        await remove_attributes(service, ada.tokens, "name", "custom:team", "gender")
    assert await fetch_attributes(service, ada.tokens) == {**VERIFIED, "nickname": "A"}


async def test_unknown_names_are_not_removed(service: Service, ada: Account) -> None:
    """A name of no attribute is refused, and nothing of the call is removed."""
    await set_attributes(service, ada.tokens, name="Ada")
    for name in ("sub", "email_verified", "nonsense", ""):
        async with fails("INVALID_FIELDS") as failures:
            await remove_attributes(service, ada.tokens, "name", name)
        assert failures[0].violations == [("names", "UNKNOWN")]
    assert await fetch_attributes(service, ada.tokens) == {**VERIFIED, "name": "Ada"}


async def test_required_attributes(run: Run) -> None:
    """Required attributes are given at sign-up and stay; the address is one where sign-up is confirmed."""
    async with run(accounts={"required_attributes": ("name", "phone_number")}) as service:
        async with fails("INVALID_FIELDS") as failures:
            await service.sign_up("ada")
        assert failures[0].violations == [
            ('attributes["name"]', "REQUIRED"),
            ('attributes["phone_number"]', "REQUIRED"),
        ]
    async with run() as service:
        ada = await service.enrolled("ada")
        async with fails("INVALID_FIELDS") as failures:
            await remove_attributes(service, ada.tokens, "name", "email")
        assert failures[0].violations == [("names[1]", "REQUIRED")]
    async with run(accounts={"required_attributes": ("name",), "confirm_sign_up": False}) as service:
        async with fails("INVALID_FIELDS") as failures:
            await remove_attributes(service, ada.tokens, "name")
        assert failures[0].violations == [("names[0]", "REQUIRED")]
        await remove_attributes(service, ada.tokens, "email")
        assert await fetch_attributes(service, ada.tokens) == {}


async def test_second_factor_stays(run: Run, key: str) -> None:
    """An address or number that is the user's second factor can't be removed until the factor is disabled."""
    accounts = {"mfa": "OPTIONAL", "mfa_types": ("TOTP", "SMS", "EMAIL"), "confirm_sign_up": False}
    async with run(accounts=accounts) as service:
        await service.sign_up("ada")
        tokens = (await service.sign_in("ada")).tokens
        await Operator(service.channel, key).update(
            attributes={"phone_number": NUMBER}, phone_number_verified=True, email_verified=True
        )
        await prefer(service, tokens, sms="ENABLED", email="ENABLED")
        async with fails("INVALID_FIELDS") as failures:
            await remove_attributes(service, tokens, "phone_number", "name", "email")
        assert failures[0].violations == [("names[0]", "SECOND_FACTOR"), ("names[2]", "SECOND_FACTOR")]
        await prefer(service, tokens, sms="DISABLED")
        await remove_attributes(service, tokens, "phone_number")
        async with fails("INVALID_FIELDS"):
            await remove_attributes(service, tokens, "email")
        await prefer(service, tokens, email="DISABLED")
        await remove_attributes(service, tokens, "email")
        assert await fetch_attributes(service, tokens) == {}


async def test_removed_address_is_told(run: Run, database: Database) -> None:
    """Who removes a verified address is told there, and a value that waits goes too."""
    async with run() as service:
        ada = await service.enrolled("ada")
    async with run(accounts={"confirm_sign_up": False}) as service:
        await set_attributes(service, ada.tokens, email="new@example.com")
        mails = await settle(service, database)
        await remove_attributes(service, ada.tokens, "email")
        told = (await settle(service, database))[len(mails) :]
        assert [(mail["To"], mail["Subject"]) for mail in told] == [
            ("ada@example.com", "Your e-mail address was changed")
        ]
        assert await fetch_pending(service, ada.tokens) == {}
        assert await database.fetchval("select count(*) from codes") == 0


async def test_number_without_sms(run: Run, key: str) -> None:
    """Where no SMS can be sent a number is in use at once, unverified; a verified one stays so until it changes."""
    async with run(has_sms=False) as service:
        ada = await service.enrolled("ada")
        assert await set_attributes(service, ada.tokens, phone_number=NUMBER) == {"phone_number": ("DONE", "")}
        expected = {**VERIFIED, "phone_number": NUMBER, "phone_number_verified": "false"}
        assert await fetch_attributes(service, ada.tokens) == expected
        await Operator(service.channel, key).update(phone_number_verified=True)
        await set_attributes(service, ada.tokens, phone_number=NUMBER)
        assert (await fetch_attributes(service, ada.tokens))["phone_number_verified"] == "true"
        claims = await decode(service, (await refresh(service, ada.tokens.refresh_token)).id_token)
        assert (claims["phone_number"], claims["phone_number_verified"]) == (NUMBER, True)
        await set_attributes(service, ada.tokens, phone_number=OTHER_NUMBER)
        assert (await fetch_attributes(service, ada.tokens))["phone_number_verified"] == "false"


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, ada: Account, late: timedelta) -> None:
    """Changing or removing address or number needs an authentication of the last 10 minutes, the rest needs none."""
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, ada.tokens.refresh_token)
    await set_attributes(service, tokens, name="Ada")
    await remove_attributes(service, tokens, "name")
    if late <= timedelta():
        await set_attributes(service, tokens, email="new@example.com", phone_number=NUMBER)
        await remove_attributes(service, tokens, "phone_number")
        return
    for name, value in (("email", "new@example.com"), ("phone_number", NUMBER)):
        async with fails("REAUTHENTICATION_REQUIRED"):
            await set_attributes(service, tokens, **{name: value, "name": "Ada"})
    async with fails("REAUTHENTICATION_REQUIRED"):
        await remove_attributes(service, tokens, "phone_number")
    assert await fetch_attributes(service, tokens) == VERIFIED


async def test_changes_are_recorded_by_name(service: Service, ada: Account, database: Database) -> None:
    """The audit trail has the names of what was set and removed, and no values."""
    await set_attributes(service, ada.tokens, name="Ada", custom_team="engines")
    await remove_attributes(service, ada.tokens, "name")
    assert await recorded(database, "UPDATE_USER_ATTRIBUTES", "DELETE_USER_ATTRIBUTES") == [
        ("UPDATE_USER_ATTRIBUTES", "SUCCESS", {"names": "custom:team name"}),
        ("DELETE_USER_ATTRIBUTES", "SUCCESS", {"names": "name"}),
    ]


async def test_attributes_are_of_one_user(service: Service, ada: Account) -> None:
    """What one user sets no other user sees, nor does an ended session."""
    eve = await service.enrolled("eve")
    await set_attributes(service, ada.tokens, name="Ada")
    assert "name" not in await fetch_attributes(service, eve.tokens)
    await sign_out(service, ada.tokens)
    async with fails("TOKEN_REVOKED"):
        await service.stub.FetchUserAttributes(pb.FetchUserAttributesRequest(), metadata=bearer(ada.tokens))
