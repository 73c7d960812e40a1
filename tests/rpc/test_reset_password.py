"""Forgotten passwords."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import DELIVERY_MEDIUM_EMAIL
from authsvc.v1.reset_password_step_pb2 import ResetPasswordStep
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.calls import (
    NEW_PASSWORD,
    answer,
    confirm_reset,
    is_live,
    recipients,
    refresh,
    reset,
    reset_code,
    settle,
    step_of,
    wrong,
)
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Account, Service, fails

MINUTE = timedelta(minutes=1)
OWN_WORDS = "Xx-analytics-77-yy"


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account that is signed in."""
    return await service.enrolled("ada")


async def test_next_step(service: Service, account: Account) -> None:
    """ResetPassword says that a code is the next step, and where it is on its way to."""
    started = await service.stub.ResetPassword(pb.ResetPasswordRequest(username="ADA"))
    assert started.next_step.step == ResetPasswordStep.RESET_PASSWORD_STEP_CONFIRM_RESET_PASSWORD_WITH_CODE
    delivery = started.next_step.code_delivery
    assert (delivery.destination, delivery.medium, delivery.attribute_name) == (
        "a***@e***",
        DELIVERY_MEDIUM_EMAIL,
        "email",
    )


async def test_code_sets_a_new_password(service: Service, account: Account) -> None:
    """The code of 8 digits sets the password; the old one is wrong from then on and worked until then."""
    code = await reset_code(service, account)
    assert len(code) == 8
    assert step_of(await service.sign_in("ada", password=PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    done = await confirm_reset(service, "Ada", f"{code[:4]} {code[4:]}")
    assert done == pb.ConfirmResetPasswordResponse()
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password=PASSWORD)
    assert step_of(await service.sign_in("ada", password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_all_sessions_end(service: Service, account: Account) -> None:
    """A reset ends all of the user's sessions and nobody else's, and starts none."""
    bob = await service.enrolled("bob")
    other = await service.sign_in_fully(account)
    await confirm_reset(service, "ada", await reset_code(service, account))
    for tokens in (account.tokens, other):
        assert not await is_live(service, tokens)
        async with fails("TOKEN_REVOKED"):
            await refresh(service, tokens.refresh_token)
    assert await is_live(service, bob.tokens)


async def test_second_factor_stays(service: Service, account: Account) -> None:
    """After a reset the authenticator is asked for as before, and a used code is still used."""
    await confirm_reset(service, "ada", await reset_code(service, account))
    started = await service.sign_in("ada", password=NEW_PASSWORD)
    async with fails("CODE_ALREADY_USED"):
        await answer(service, started.session, service.totp(account.secret))
    service.next_totp_step()
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_code_lives_ten_minutes(service: Service, account: Account, early: timedelta) -> None:
    """The code works until 10 minutes after it was made."""
    code = await reset_code(service, account)
    service.clock.advance(10 * MINUTE - early)
    if early > timedelta():
        await confirm_reset(service, "ada", code)
        return
    async with fails("CODE_EXPIRED") as failures:
        await confirm_reset(service, "ada", code)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    await service.sign_in("ada", password=PASSWORD)


async def test_five_wrong_codes_burn_it(service: Service, account: Account) -> None:
    """After five wrong codes the right one is worth nothing."""
    code = await reset_code(service, account)
    for _ in range(5):
        async with fails("CODE_MISMATCH") as failures:
            await confirm_reset(service, "ada", wrong(code))
        assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
    service.clock.advance(timedelta(seconds=1))
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", code)


async def test_code_is_single_use(service: Service, account: Account) -> None:
    """A used code is worth nothing."""
    code = await reset_code(service, account)
    await confirm_reset(service, "ada", code)
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", code, PASSWORD)
    await service.sign_in("ada", password=NEW_PASSWORD)


async def test_newer_code_replaces_the_former(service: Service, account: Account) -> None:
    """The former code is told to be expired; the newest works."""
    former, newest = await reset_code(service, account), await reset_code(service, account)
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", former)
    await confirm_reset(service, "ada", newest)


async def test_code_never_issued(service: Service, account: Account) -> None:
    """Without a ResetPassword there is no code to be right."""
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", "12345678")


async def test_five_codes_an_hour(service: Service, account: Account) -> None:
    """An account gets five reset codes an hour from the first on."""
    for _ in range(5):
        await reset(service, "ada")
    async with fails("LIMIT_EXCEEDED") as failures:
        await reset(service, "ada")
    wait = failures[0].retry_after
    assert wait is not None
    assert 60 * MINUTE <= wait < 60 * MINUTE + timedelta(seconds=1)
    service.clock.advance(60 * MINUTE - TICK)
    async with fails("LIMIT_EXCEEDED"):
        await reset(service, "ada")
    service.clock.advance(TICK)
    await reset(service, "ada")


async def test_refused_password_does_not_use_the_code_up(run: Run) -> None:
    """However often the policy refuses a new password, the code that came with it can still be used."""
    async with run() as service:
        await service.sign_up("ada", email="countess@analytics.example")
        code = await service.code("countess@analytics.example")
        await service.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username="ada", confirmation_code=code))
        before = service.catcher.last_number()
        await reset(service, "ada")
        code = await service.code("countess@analytics.example", after=before)
        for password in ("short", OWN_WORDS) * 6:
            async with fails("INVALID_PASSWORD"):
                await confirm_reset(service, "ada", code, password)
        await confirm_reset(service, "ada", code)
        await service.sign_in("ada", password=NEW_PASSWORD)


async def test_address_words_are_told_to_its_owner_alone(run: Run) -> None:
    """A stranger can't find out words of an account's address by new passwords: without the code there is no answer."""
    async with run() as service:
        await service.sign_up("ada", email="countess@analytics.example")
        code = await service.code("countess@analytics.example")
        await service.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username="ada", confirmation_code=code))
        await reset(service, "ada")
        for password in (OWN_WORDS, NEW_PASSWORD):
            async with fails("CODE_MISMATCH"):
                await confirm_reset(service, "ada", "00000000", password)


async def test_user_is_told(service: Service, account: Account, database: Database) -> None:
    """The user is told by mail that the password was changed; a failed try tells nothing."""
    code = await reset_code(service, account)
    mails = await settle(service, database)
    async with fails("CODE_MISMATCH"):
        await confirm_reset(service, "ada", wrong(code))
    async with fails("INVALID_PASSWORD"):
        await confirm_reset(service, "ada", code, "short")
    assert len(await settle(service, database)) == len(mails)
    await confirm_reset(service, "ada", code)
    arrived = (await settle(service, database))[len(mails) :]
    assert [mail["Subject"] for mail in arrived] == ["Your password was changed"]
    assert recipients(arrived) == ["ada@example.com"]


@pytest.mark.parametrize("standing", ["unconfirmed", "disabled", "unverified"])
async def test_accounts_without_a_usable_address_get_no_code(
    run: Run, database: Database, key: str, standing: str
) -> None:
    """Only the verified address of an account that may sign in gets a code; all are answered alike."""
    async with run(accounts={"confirm_sign_up": standing != "unverified"}) as service:
        if standing == "disabled":
            await service.confirmed("ada")
            await Operator(service.channel, key).call("DisableUser", admin.DisableUserRequest(username="ada"))
        else:
            await service.sign_up("ada")
        mails = await settle(service, database)
        assert await reset(service, "ada") == "a***@e***"
        assert len(await settle(service, database)) == len(mails)


async def test_all_fields_at_once(service: Service) -> None:
    """An empty request names all three fields."""
    async with fails("INVALID_FIELDS") as failures:
        await confirm_reset(service, "", "", "")
    assert failures[0].violations == [
        ("username", "REQUIRED"),
        ("confirmation_code", "REQUIRED"),
        ("new_password", "REQUIRED"),
    ]
