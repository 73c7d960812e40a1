"""Sign-up: names, reservations, addresses."""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from uuid import UUID

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import DELIVERY_MEDIUM_EMAIL
from authsvc.v1.sign_up_step_pb2 import SignUpStep
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.calls import (
    NEW_PASSWORD,
    confirm,
    fetch,
    recipients,
    resend,
    settle,
    step_of,
)
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

DAY = timedelta(hours=24)


async def test_answer_of_a_sign_up(service: Service) -> None:
    """SignUp gives a UUID, the next step and the masked address that the code is on its way to."""
    made = await service.sign_up("jane", email="jane@Example.com")
    assert str(UUID(made.user_id)) == made.user_id
    assert made.next_step.step == SignUpStep.SIGN_UP_STEP_CONFIRM_SIGN_UP
    delivery = made.next_step.code_delivery
    assert (delivery.destination, delivery.medium, delivery.attribute_name) == (
        "j***@e***",
        DELIVERY_MEDIUM_EMAIL,
        "email",
    )


@pytest.mark.parametrize(
    ("name", "rule"), [("evil.com", "WEB_ADDRESS"), ("\u0430da", "SCRIPTS"), ("\u0430\u0440\u0435", "LOOKALIKE")]
)
async def test_names_that_pass_for_something_else_are_the_operators_to_give(
    service: Service, operator: Operator, name: str, rule: str
) -> None:
    """Nobody chooses a name that reads as a link or as another name (UTS 39); one that an operator gave signs in."""
    async with fails("INVALID_FIELDS") as failures:
        await service.sign_up(name, email="ada@example.com")
    assert failures[0].violations == [("username", rule)]
    assert (await operator.create(name, attributes={"email": "ada@example.com"})).username == name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Ada", "aDA"),
        ("ada", "\uff21\uff44\uff41"),
        ("\u00c5sa", "a\u030asa"),
        ("J\u00dcRGEN", "ju\u0308rgen"),
    ],
    ids=["case", "width", "composition", "case and composition"],
)
async def test_names_that_are_the_same(service: Service, first: str, second: str) -> None:
    """Letter case, width and composition don't tell usernames apart (RFC 8265 UsernameCaseMapped)."""
    await service.sign_up(first, email="first@example.com")
    async with fails("USERNAME_EXISTS") as failures:
        await service.sign_up(second, email="second@example.com")
    assert failures[0].code is grpc.StatusCode.ALREADY_EXISTS
    await confirm(service, second, await service.code("first@example.com"))
    assert step_of(await service.sign_in(second)) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_display_form_is_kept(run: Run) -> None:
    """The username is shown as its owner wrote it, whatever spelling signs in."""
    async with run(accounts={"mfa": "OFF", "confirm_sign_up": False}) as service:
        await service.sign_up("J\u00fcrgen_K", email="jk@example.com")
        signed_in = await service.sign_in("j\u00dcRGEN_k")
        assert (await fetch(service, signed_in.tokens)).username == "J\u00fcrgen_K"


@pytest.mark.parametrize(
    ("username", "rule"),
    [
        ("", "REQUIRED"),
        ("ada lovelace", "CHARACTERS"),
        ("ada\u200b", "CHARACTERS"),
        ("\u202eada", "CHARACTERS"),
        ("ada\x00", "CHARACTERS"),
        ("ada@example.com", "AT_SIGN"),
        ("a" * 129, "LENGTH"),
        ("a" * 60_000, "LENGTH"),
    ],
)
async def test_names_that_are_none(service: Service, username: str, rule: str) -> None:
    """Names outside RFC 8265, with an @ or beyond 128 characters are refused, wherever a name is asked for."""
    async with fails("INVALID_FIELDS") as failures:
        await service.sign_up(username, email="ada@example.com")
    async with fails("INVALID_FIELDS") as others:
        await service.sign_in(username)
    assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert failures[0].violations == others[0].violations == [("username", rule)]


@pytest.mark.parametrize("username", ["a", "x" * 128, "\u0438\u0432\u0430\u043d", "\u4f60\u597d", "o'neil-smith.2_x"])
async def test_names_that_are_taken_as_they_are(service: Service, username: str) -> None:
    """One to 128 letters, digits and marks of any one script are a username."""
    await service.sign_up(username, email="someone@example.com")
    assert step_of(await service.sign_in(username)) == "CONFIRM_SIGN_UP"


@pytest.mark.parametrize("early", [TICK, timedelta()], ids=["a tick before", "at the end"])
async def test_name_is_reserved_until_the_code_expires(service: Service, early: timedelta) -> None:
    """An unconfirmed account keeps its name for as long as its code lives; then it can be signed up again."""
    first = await service.sign_up("ada", email="first@example.com")
    await service.mail("first@example.com")
    service.clock.advance(DAY - early)
    if early:
        async with fails("USERNAME_EXISTS"):
            await service.sign_up("ada", email="second@example.com")
        return
    second = await service.sign_up("ada", email="second@example.com", password=NEW_PASSWORD)
    assert second.user_id != first.user_id
    await confirm(service, "ada", await service.code("second@example.com"))
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password=PASSWORD)
    assert step_of(await service.sign_in("ada", password=NEW_PASSWORD)) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_code_of_a_former_sign_up_is_worth_nothing(service: Service) -> None:
    """The code of an expired sign-up does not confirm the account that took the name over."""
    await service.sign_up("ada", email="first@example.com")
    old = await service.code("first@example.com")
    service.clock.advance(DAY)
    await service.sign_up("ada", email="second@example.com")
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", old)
    await confirm(service, "ada", await service.code("second@example.com"))


async def test_a_new_code_prolongs_the_reservation(service: Service) -> None:
    """A resent code keeps the name reserved for as long as that code lives."""
    await service.sign_up("ada")
    await service.mail("ada@example.com")
    service.clock.advance(DAY - TICK)
    await resend(service, "ada")
    service.clock.advance(DAY - TICK)
    async with fails("USERNAME_EXISTS"):
        await service.sign_up("ada", email="second@example.com")
    service.clock.advance(TICK)
    await service.sign_up("ada", email="second@example.com")


async def test_confirmed_name_is_never_released(service: Service) -> None:
    """A confirmed account keeps its name for good."""
    await service.confirmed("ada")
    service.clock.advance(timedelta(days=400))
    async with fails("USERNAME_EXISTS"):
        await service.sign_up("ada", email="second@example.com")


@pytest.mark.parametrize("address", ["ada@example.com", "ADA@Example.COM"])
async def test_taken_address_is_answered_as_new(service: Service, database: Database, address: str) -> None:
    """A sign-up with a taken address looks like any other, tells the owner by mail, and no mail has its code."""
    fresh = await service.sign_up("eve1", email="a@e.example")
    owner = await service.enrolled("ada")
    await settle(service, database)
    before = service.catcher.last_number()
    taken = await service.sign_up("eve", email=address)
    assert taken.next_step.step == fresh.next_step.step
    assert taken.next_step.code_delivery.destination.casefold() == fresh.next_step.code_delivery.destination
    assert step_of(await service.sign_in("eve")) == "CONFIRM_SIGN_UP"

    told = await service.mail("ada@example.com", after=before)
    assert told["Subject"] == "Somebody tried to use your address"
    assert "account ada" in told.as_string()
    assert "eve" not in told.as_string()
    assert len(await settle(service, database)) == before + 1
    assert (await fetch(service, owner.tokens)).is_signed_in


async def test_taken_address_cannot_be_confirmed_later(service: Service, database: Database) -> None:
    """Who signed up with a taken address gets no code by asking for a new one; the owner is told again."""
    await service.confirmed("ada")
    await service.sign_up("eve", email="ada@example.com")
    await settle(service, database)
    before = service.catcher.last_number()
    assert await resend(service, "eve") == "a***@e***"
    again = await service.mail("ada@example.com", after=before)
    assert again["Subject"] == "Somebody tried to use your address"
    assert len(await settle(service, database)) == before + 1


async def test_taken_address_of_a_disabled_account(service: Service, operator: Operator, database: Database) -> None:
    """A disabled account keeps its address: nobody else gets a code for it."""
    await service.confirmed("ada")
    await operator.call("DisableUser", admin.DisableUserRequest(username="ada"))
    mails = await settle(service, database)
    taken = await service.sign_up("eve", email="ada@example.com")
    assert taken.next_step.code_delivery.destination == "a***@e***"
    assert await resend(service, "eve") == "a***@e***"
    arrived = await settle(service, database)
    assert [mail["Subject"] for mail in arrived[len(mails) :] if "code" in mail["Subject"]] == []


async def test_first_to_confirm_an_address_has_it(service: Service, database: Database) -> None:
    """Of two unconfirmed accounts with one address, the first that is confirmed has it; the other's code is dead."""
    await service.sign_up("ada", email="shared@example.com")
    ada_code = await service.code("shared@example.com")
    before = service.catcher.last_number()
    await service.sign_up("bob", email="shared@example.com")
    bob_code = await service.code("shared@example.com", after=before)

    await confirm(service, "bob", bob_code)
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", ada_code)
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"
    assert step_of(await service.sign_in("bob")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    await resend(service, "ada")
    mails = await settle(service, database)
    assert [mail["Subject"] for mail in mails] == [
        "Your verification code",
        "Your verification code",
        "Somebody tried to use your address",
    ]


async def test_all_faults_at_once(service: Service) -> None:
    """One answer lists every broken rule of every field."""
    async with fails("INVALID_FIELDS") as failures:
        await service.stub.SignUp(
            pb.SignUpRequest(
                username="not a name",
                password="1234",
                attributes={"email": "nowhere", "phone_number": "12", "locale": "?", "role": "admin"},
            )
        )
    assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert sorted(failures[0].violations) == [
        ("attributes", "UNKNOWN"),
        ('attributes["email"]', "EMAIL"),
        ('attributes["locale"]', "LOCALE"),
        ('attributes["phone_number"]', "E164"),
        ("password", "MIN_LENGTH"),
        ("username", "CHARACTERS"),
    ]


async def test_nothing_is_kept_of_a_refused_sign_up(service: Service, database: Database) -> None:
    """A refused sign-up reserves no name and sends no mail."""
    async with fails("INVALID_PASSWORD"):
        await service.sign_up("ada", password="short")
    assert await settle(service, database) == []
    await service.sign_up("ada")


async def test_sign_up_without_confirmation(run: Run, database: Database) -> None:
    """Where the settings need no confirmation the account is ready at once, and no mail is sent."""
    async with run(accounts={"confirm_sign_up": False}) as service:
        made = await service.sign_up("ada")
        assert made.next_step.step == SignUpStep.SIGN_UP_STEP_DONE
        assert not made.next_step.HasField("code_delivery")
        assert step_of(await service.sign_in("ada")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
        # Nor an address: nobody would ever send anything to it.
        await service.stub.SignUp(pb.SignUpRequest(username="bob", password=PASSWORD))
        assert recipients(await settle(service, database)) == []


async def test_name_in_decomposed_letters_is_stored_composed(service: Service) -> None:
    """The name in the mail is the normalised one."""
    await service.sign_up(unicodedata.normalize("NFD", "J\u00fcrgen"), email="j@example.com")
    mail = await service.mail("j@example.com")
    body = mail.get_body(("plain",))
    assert body is not None
    assert "account J\u00fcrgen " in body.get_content()
