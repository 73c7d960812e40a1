"""New addresses and numbers: pending until their code is given."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED
from tests.admin.operator import Operator
from tests.admin.transfers import export
from tests.clock import TICK
from tests.rpc.account_calls import mfa, prefer, recorded
from tests.rpc.attribute_calls import (
    NUMBER,
    OTHER_NUMBER,
    confirm_attribute,
    fetch_attributes,
    fetch_pending,
    remove_attributes,
    send_code,
    set_attributes,
)
from tests.rpc.calls import confirm_reset, recipients, refresh, reset_code, settle, wrong
from tests.rpc.conftest import Run
from tests.rpc.test_tokens import decode
from tests.service import Account, Service, fails

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
NEW = "new@example.com"
NEWER = "newer@example.com"


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


async def new_email(service: Service, account: Account, address: str = NEW) -> str:
    """Ask for a new address; return its code."""
    before = service.catcher.last_number()
    await set_attributes(service, account.tokens, email=address)
    return await service.code(address, after=before)


async def email_of(service: Service, account: Account) -> tuple[str, str]:
    """Return the address in use and whether it is verified."""
    found = await fetch_attributes(service, account.tokens)
    return found["email"], found["email_verified"]


async def test_new_address_is_pending_until_its_code(service: Service, ada: Account, database: Database) -> None:
    """The address in use stays until the new one's code is given; then the former one is told where mail goes now."""
    before = service.catcher.last_number()
    step = await set_attributes(service, ada.tokens, email="New@example.com", name="Ada")
    where = "EMAIL n***@e*** email"
    assert step == {"email": ("CONFIRM_ATTRIBUTE_WITH_CODE", where), "name": ("DONE", "")}
    code = await service.code("New@example.com", after=before)
    assert await email_of(service, ada) == ("ada@example.com", "true")
    assert await fetch_pending(service, ada.tokens) == {"email": "New@example.com"}
    mails = await settle(service, database)
    await confirm_attribute(service, ada.tokens, "email", code)
    assert await email_of(service, ada) == ("New@example.com", "true")
    assert await fetch_pending(service, ada.tokens) == {}
    told = (await settle(service, database))[len(mails) :]
    assert [(mail["To"], mail["Subject"]) for mail in told] == [("ada@example.com", "Your e-mail address was changed")]
    assert "n***@e***" in told[0].as_string()
    assert "New@example.com" not in told[0].as_string()
    claims = await decode(service, (await refresh(service, ada.tokens.refresh_token)).id_token)
    assert (claims["email"], claims["email_verified"]) == ("New@example.com", True)


async def test_new_number_is_pending_until_its_code(service: Service, ada: Account) -> None:
    """A number is in use, and verified, once the code of its SMS is given; a later one replaces it in the same way."""
    for number, mask in ((NUMBER, "+*******2671"), (OTHER_NUMBER, "+*******0958")):
        former = await fetch_attributes(service, ada.tokens)
        before = service.catcher.last_number()
        step = await set_attributes(service, ada.tokens, phone_number=number)
        assert step == {"phone_number": ("CONFIRM_ATTRIBUTE_WITH_CODE", f"SMS {mask} phone_number")}
        assert await fetch_attributes(service, ada.tokens) == former
        assert await fetch_pending(service, ada.tokens) == {"phone_number": number}
        await confirm_attribute(service, ada.tokens, "phone_number", await service.sms_code(number, after=before))
        seen = await fetch_attributes(service, ada.tokens)
        assert (seen["phone_number"], seen["phone_number_verified"]) == (number, "true")
        assert await fetch_pending(service, ada.tokens) == {}


async def test_number_of_a_second_factor_is_told(run: Run, database: Database) -> None:
    """Where codes of a second factor go changes with a new number: its user is told by mail, and at the former one."""
    async with run(accounts={"mfa": "OPTIONAL", "mfa_types": ("TOTP", "SMS")}) as service:
        await service.confirmed("ada")
        tokens = (await service.sign_in("ada")).tokens
        told = []
        for number in (NUMBER, OTHER_NUMBER):
            before = service.catcher.last_number()
            await set_attributes(service, tokens, phone_number=number)
            code = await service.sms_code(number, after=before)
            mails = await settle(service, database)
            await confirm_attribute(service, tokens, "phone_number", code)
            arrived = (await settle(service, database))[len(mails) :]
            told.append(sorted(str(mail["Subject"] or mail["Delivered-To"]) for mail in arrived))
            await prefer(service, tokens, sms="ENABLED")
        assert told == [[], [NUMBER, "Your two-step sign-in was changed"]]


async def test_number_after_a_removed_one_is_no_second_factor(run: Run, key: str) -> None:
    """What was enabled for a number that was removed, once it counted no more, does not hold for the next one."""
    async with run(accounts={"mfa": "OPTIONAL", "mfa_types": ("TOTP", "SMS")}) as service:
        operator = Operator(service.channel, key)
        await service.confirmed("ada")
        tokens = (await service.sign_in("ada")).tokens
        for number in (NUMBER, OTHER_NUMBER):
            before = service.catcher.last_number()
            await set_attributes(service, tokens, phone_number=number)
            await confirm_attribute(service, tokens, "phone_number", await service.sms_code(number, after=before))
            if number == OTHER_NUMBER:
                break
            await prefer(service, tokens, sms="PREFERRED")
            await operator.update("ada", phone_number_verified=False)
            await remove_attributes(service, tokens, "phone_number")
        assert await mfa(service, tokens) == ([], "")
        (kept,) = await export(operator)
        assert (kept.sms_mfa, kept.preferred_mfa) == (False, MFA_TYPE_UNSPECIFIED)


async def test_both_at_once(service: Service, ada: Account) -> None:
    """Address and number can be changed in one call, each with a code of its own that is no good for the other."""
    before = service.catcher.last_number()
    await set_attributes(service, ada.tokens, email=NEW, phone_number=NUMBER)
    email_code = await service.code(NEW, after=before)
    phone_code = await service.sms_code(NUMBER, after=before)
    for name, code in (("email", phone_code), ("phone_number", email_code)):
        if email_code != phone_code:
            async with fails("CODE_MISMATCH"):
                await confirm_attribute(service, ada.tokens, name, code)
    await confirm_attribute(service, ada.tokens, "phone_number", phone_code)
    assert await fetch_pending(service, ada.tokens) == {"email": NEW}
    await confirm_attribute(service, ada.tokens, "email", email_code)
    assert await fetch_pending(service, ada.tokens) == {}


async def test_code_is_good_once(service: Service, ada: Account) -> None:
    """A used code is over."""
    code = await new_email(service, ada)
    await confirm_attribute(service, ada.tokens, "email", code)
    async with fails("CODE_EXPIRED"):
        await confirm_attribute(service, ada.tokens, "email", code)


async def test_code_that_was_never_sent(service: Service, ada: Account) -> None:
    """Without a code on its way any code is over."""
    for name in ("email", "phone_number"):
        async with fails("CODE_EXPIRED"):
            await confirm_attribute(service, ada.tokens, name, "123456")


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_code_lives_for_a_day(service: Service, ada: Account, early: timedelta) -> None:
    """The code of a new address is good for 24 hours."""
    code = await new_email(service, ada)
    service.clock.advance(DAY - early)
    tokens = await refresh(service, ada.tokens.refresh_token)
    if early > timedelta():
        await confirm_attribute(service, tokens, "email", code)
        return
    async with fails("CODE_EXPIRED"):
        await confirm_attribute(service, tokens, "email", code)


async def test_five_wrong_codes_burn_it(service: Service, ada: Account) -> None:
    """After four wrong codes the right one is taken, after five it is over, and a new one is sent on request."""
    for tries in (4, 5):
        code = await new_email(service, ada, f"new{tries}@example.com")
        for _ in range(tries):
            async with fails("CODE_MISMATCH"):
                await confirm_attribute(service, ada.tokens, "email", wrong(code))
        service.clock.advance(timedelta(seconds=2))
        if tries == 4:
            await confirm_attribute(service, ada.tokens, "email", code)
            continue
        async with fails("CODE_EXPIRED"):
            await confirm_attribute(service, ada.tokens, "email", code)


async def test_resent_code_replaces_the_former(service: Service, ada: Account) -> None:
    """A code that is sent again ends the former one; the address that waits stays."""
    former = await new_email(service, ada)
    before = service.catcher.last_number()
    assert await send_code(service, ada.tokens, "email") == "EMAIL n***@e*** email"
    code = await service.code(NEW, after=before)
    if former != code:
        async with fails("CODE_EXPIRED"):
            await confirm_attribute(service, ada.tokens, "email", former)
    await confirm_attribute(service, ada.tokens, "email", code)
    assert await email_of(service, ada) == (NEW, "true")


async def test_code_is_of_one_address(service: Service, ada: Account) -> None:
    """The code of an address verifies no other one: who asked for another since has to give that one's."""
    former = await new_email(service, ada)
    code = await new_email(service, ada, NEWER)
    assert await fetch_pending(service, ada.tokens) == {"email": NEWER}
    if former != code:
        async with fails("CODE_MISMATCH"):
            await confirm_attribute(service, ada.tokens, "email", former)
    await confirm_attribute(service, ada.tokens, "email", code)
    assert await email_of(service, ada) == (NEWER, "true")


async def test_code_is_bound_to_its_address(service: Service, ada: Account, database: Database) -> None:
    """Should what waits be changed by other means, the code that went to the former address does not verify it."""
    code = await new_email(service, ada)
    await database.execute("update users set pending_email = 'x@example.com', pending_email_key = 'x@example.com'")
    async with fails("CODE_MISMATCH"):
        await confirm_attribute(service, ada.tokens, "email", code)


async def test_address_in_use_ends_the_wait(service: Service, ada: Account) -> None:
    """Who sets the address that is in use and verified needs no code, and the one that waited is forgotten."""
    code = await new_email(service, ada)
    assert await set_attributes(service, ada.tokens, email="ada@example.com") == {"email": ("DONE", "")}
    assert await fetch_pending(service, ada.tokens) == {}
    async with fails("CODE_MISMATCH"):
        await confirm_attribute(service, ada.tokens, "email", code)
    async with fails("INVALID_FIELDS") as failures:
        await send_code(service, ada.tokens, "email")
    assert failures[0].violations == [("name", "NOTHING_TO_VERIFY")]


async def test_taken_address_is_answered_as_a_free_one(service: Service, ada: Account, database: Database) -> None:
    """Who asks for another account's address hears nothing of it; its owner is told, and no code goes out."""
    await service.enrolled("eve")
    mails = await settle(service, database)
    step = await set_attributes(service, ada.tokens, email="eve@example.com")
    assert step == {"email": ("CONFIRM_ATTRIBUTE_WITH_CODE", "EMAIL e***@e*** email")}
    assert await fetch_pending(service, ada.tokens) == {"email": "eve@example.com"}
    arrived = (await settle(service, database))[len(mails) :]
    assert recipients(arrived) == ["eve@example.com"]
    assert arrived[0]["Subject"] == "Somebody tried to use your address"
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await confirm_attribute(service, ada.tokens, "email", "123456")


async def test_address_that_is_taken_meanwhile(service: Service, ada: Account) -> None:
    """The first to verify an address has it; for the other the right code is over, and the old address stays."""
    eve = await service.enrolled("eve")
    code = await new_email(service, ada)
    eves_code = await new_email(service, eve)
    await confirm_attribute(service, eve.tokens, "email", eves_code)
    async with fails("CODE_EXPIRED"):
        await confirm_attribute(service, ada.tokens, "email", code)
    assert await email_of(service, ada) == ("ada@example.com", "true")
    assert await email_of(service, eve) == (NEW, "true")


async def test_unverified_values_of_the_sign_up(run: Run, database: Database) -> None:
    """What was given at sign-up and never verified can be: a code is sent on request, and no address is told."""
    async with run(accounts={"confirm_sign_up": False, "mfa": "OPTIONAL"}) as service:
        attributes = {"email": "ada@example.com", "phone_number": NUMBER}
        password = "Tr0mbone-under-9-lakes"
        await service.stub.SignUp(pb.SignUpRequest(username="ada", password=password, attributes=attributes))
        tokens = (await service.sign_in("ada", password=password)).tokens
        assert await send_code(service, tokens, "email") == "EMAIL a***@e*** email"
        assert await send_code(service, tokens, "phone_number") == "SMS +*******2671 phone_number"
        await confirm_attribute(service, tokens, "email", await service.code("ada@example.com"))
        await confirm_attribute(service, tokens, "phone_number", await service.sms_code(NUMBER))
        verified = {"email_verified": "true", "phone_number_verified": "true"}
        assert await fetch_attributes(service, tokens) == {**attributes, **verified}
        assert len(await settle_mail(database)) == 0


async def settle_mail(database: Database) -> list[str]:
    """Return the kinds of mail, other than codes, that were ever owed."""
    return [row["kind"] for row in await database.fetch("select kind from outbox where kind <> 'ATTRIBUTE_CODE'")]


async def test_number_without_sms_cannot_be_verified(run: Run) -> None:
    """Where no SMS can be sent there is nothing to verify about a number."""
    async with run(has_sms=False) as service:
        ada = await service.enrolled("ada")
        await set_attributes(service, ada.tokens, phone_number=NUMBER)
        async with fails("INVALID_FIELDS") as failures:
            await send_code(service, ada.tokens, "phone_number")
        assert failures[0].violations == [("name", "NOTHING_TO_VERIFY")]


async def test_five_codes_an_hour_for_each(service: Service, ada: Account) -> None:
    """Five codes an hour go to new addresses, and five to new numbers; the sixth waits until the hour is over."""
    for number in range(5):
        await set_attributes(service, ada.tokens, email=f"new{number}@example.com")
    async with fails("LIMIT_EXCEEDED") as failures:
        await set_attributes(service, ada.tokens, email=NEW)
    assert failures[0].retry_after is not None
    assert timedelta() <= failures[0].retry_after - HOUR < timedelta(seconds=1)
    assert await fetch_pending(service, ada.tokens) == {"email": "new4@example.com"}
    await set_attributes(service, ada.tokens, phone_number=NUMBER)
    service.clock.advance(HOUR)
    tokens = await service.sign_in_fully(ada)
    await set_attributes(service, tokens, email=NEW)


async def test_ten_codes_an_hour_to_one_address(service: Service, database: Database) -> None:
    """Whoever asks, an address gets ten codes an hour; the eleventh caller is answered alike, and nothing is sent."""
    accounts = [await service.enrolled(name) for name in ("ada", "eve", "bob")]
    mails = await settle(service, database)
    for number in range(11):
        where = await set_attributes(service, accounts[number % 3].tokens, email="victim@example.com")
        assert where == {"email": ("CONFIRM_ATTRIBUTE_WITH_CODE", "EMAIL v***@e*** email")}
        await settle(service, database)
    assert recipients(await settle(service, database))[len(mails) :] == ["victim@example.com"] * 10


async def test_codes_to_the_former_address_end(service: Service, ada: Account) -> None:
    """A reset code that went to the former address sets no password once the address is changed."""
    reset = await reset_code(service, ada)
    code = await new_email(service, ada)
    await confirm_attribute(service, ada.tokens, "email", code)
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", reset)


async def test_names_that_take_no_code(service: Service, ada: Account) -> None:
    """Only address and number are verified; what is no code of digits is told too."""
    for name in ("", "name", "email_verified"):
        async with fails("INVALID_FIELDS") as failures:
            await confirm_attribute(service, ada.tokens, name, "x")
        assert failures[0].violations == [("name", "UNKNOWN"), ("confirmation_code", "DIGITS")]
        async with fails("INVALID_FIELDS") as failures:
            await send_code(service, ada.tokens, name)
        assert failures[0].violations == [("name", "UNKNOWN")]


async def test_tries_are_recorded(service: Service, ada: Account, database: Database) -> None:
    """Codes sent, refused and accepted are in the audit trail, without addresses."""
    code = await new_email(service, ada)
    async with fails("CODE_MISMATCH"):
        await confirm_attribute(service, ada.tokens, "email", wrong(code))
    await send_code(service, ada.tokens, "email")
    events = await recorded(database, "CONFIRM_USER_ATTRIBUTE", "SEND_USER_ATTRIBUTE_CODE")
    assert events == [
        ("CONFIRM_USER_ATTRIBUTE", "CODE_MISMATCH", {"name": "email"}),
        ("SEND_USER_ATTRIBUTE_CODE", "SUCCESS", {"name": "email"}),
    ]
