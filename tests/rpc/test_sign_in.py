"""Sign-in: what is told of an account, when, and by which settings."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.rpc.calls import (
    NEW_PASSWORD,
    answer,
    confirm_reset,
    fetch,
    reset_code,
    step_of,
    update,
    wrong_totp,
)
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, bearer, fails

DISABLE = ("DisableUser", admin.DisableUserRequest(username="ada"))
REQUIRE_RESET = ("ResetUserPassword", admin.ResetUserPasswordRequest(username="ada"))
STANDINGS: dict[str, tuple[str, Any] | None] = {
    "unconfirmed": None,
    "disabled": DISABLE,
    "reset required": REQUIRE_RESET,
    "temporary password": (
        "SetUserPassword",
        admin.SetUserPasswordRequest(username="ada", password=PASSWORD, temporary=True),
    ),
}


@pytest.mark.parametrize("standing", STANDINGS)
async def test_password_comes_before_any_status(service: Service, operator: Operator, standing: str) -> None:
    """With a wrong password an account of any status is answered like a name that does not exist."""
    if (change := STANDINGS[standing]) is None:
        await service.sign_up("ada")
    else:
        await service.confirmed("ada")
        await operator.call(*change)
    async with fails("NOT_AUTHORIZED") as known:
        await service.sign_in("ada", password=NEW_PASSWORD)
    async with fails("NOT_AUTHORIZED") as unknown:
        await service.sign_in("nobody", password=NEW_PASSWORD)
    assert known[0].code is unknown[0].code is grpc.StatusCode.UNAUTHENTICATED
    assert known[0].text == unknown[0].text
    assert known[0].retry_after is unknown[0].retry_after is None


async def test_unconfirmed_account(service: Service) -> None:
    """The right password of an unconfirmed account leads to CONFIRM_SIGN_UP, without session or tokens."""
    await service.sign_up("ada")
    told = await service.sign_in("ada")
    assert step_of(told) == "CONFIRM_SIGN_UP"
    assert told.session == ""


async def test_disabled_account(service: Service, operator: Operator, database: Database) -> None:
    """The right password of a disabled account is USER_DISABLED, and stops counting the wrong ones before it."""
    await service.confirmed("ada")
    for _ in range(4):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password=NEW_PASSWORD)
    await operator.call(*DISABLE)
    for _ in range(6):
        async with fails("USER_DISABLED") as failures:
            await service.sign_in("ada")
        assert failures[0].code is grpc.StatusCode.PERMISSION_DENIED
    assert await database.fetchval("select count(*) from failures") == 0


async def test_required_reset(service: Service, operator: Operator) -> None:
    """An account whose reset an operator asked for is led to ResetPassword; after it, it signs in as before."""
    account = await service.enrolled("ada")
    await operator.call(*REQUIRE_RESET)
    told = await service.sign_in("ada")
    assert step_of(told) == "RESET_PASSWORD"
    assert told.session == ""
    await confirm_reset(service, "ada", await reset_code(service, account))
    assert step_of(await service.sign_in("ada", password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_reset_asked_for_between_steps(service: Service, database: Database) -> None:
    """The step after a right code is chosen by how the account stands then: a required reset gives no tokens."""
    account = await service.enrolled("ada")
    service.next_totp_step()
    started = await service.sign_in("ada")
    # As if the operator's call, which ends half-done sign-ins, came between.
    await database.execute("update users set status = 'RESET_REQUIRED'")
    told = await answer(service, started.session, service.totp(account.secret))
    assert step_of(told) == "RESET_PASSWORD"
    assert told.session == ""
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(account.secret, steps=1))


@pytest.mark.parametrize("enrolled", [True, False], ids=["enrolled", "setting up"])
async def test_disabled_between_steps(service: Service, database: Database, enrolled: bool) -> None:
    """An account that was disabled between the steps gets no tokens, and is told so only for the right code."""
    if enrolled:
        secret = (await service.enrolled("ada")).secret
        service.next_totp_step()
    else:
        await service.confirmed("ada")
    started = await service.sign_in("ada")
    secret = secret if enrolled else started.next_step.totp_setup.shared_secret
    # As if the operator's call, which ends half-done sign-ins, came between.
    await database.execute("update users set disabled_at = created_at")
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, wrong_totp(service, secret))
    async with fails("USER_DISABLED"):
        await answer(service, started.session, service.totp(secret))
    assert await database.fetchval("select count(*) from sessions where auth_time = $1", service.clock.now()) == 0
    assert await database.fetchval("select count(*) from totp_devices where verified_at is not null") == int(enrolled)


async def test_mfa_off(run: Run) -> None:
    """Where MFA is off the password is enough, for those who enrolled too, and the tokens say so."""
    async with run() as service:
        await service.enrolled("ada")
    async with run(accounts={"mfa": "OFF"}) as service:
        done = await service.sign_in("ada")
        assert step_of(done) == "DONE"
        assert done.session == ""
        assert (await fetch(service, done.tokens)).amr == ["pwd"]


async def test_mfa_optional(run: Run) -> None:
    """Where MFA is optional those who enrolled are asked for a code, the others are not."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        done = await service.sign_in("ada")
        assert step_of(done) == "DONE"
        assert (await fetch(service, done.tokens)).amr == ["pwd"]

        added = await service.stub.AssociateTotp(pb.AssociateTotpRequest(), metadata=bearer(done.tokens))
        assert step_of(await service.sign_in("ada")) == "DONE"
        await service.stub.VerifyTotp(
            pb.VerifyTotpRequest(session=added.session, totp_code=service.totp(added.shared_secret)),
            metadata=bearer(done.tokens),
        )
        service.next_totp_step()
        asked = await service.sign_in("ada")
        assert step_of(asked) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
        proved = await answer(service, asked.session, service.totp(added.shared_secret))
        assert (await fetch(service, proved.tokens)).amr == ["pwd", "otp", "mfa"]


async def test_mfa_becomes_required(run: Run) -> None:
    """Who never enrolled has to set an authenticator up from the sign-in on at which MFA is required."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        assert step_of(await service.sign_in("ada")) == "DONE"
    async with run(accounts={"mfa": "REQUIRED"}) as service:
        assert step_of(await service.sign_in("ada")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_mfa_turned_off_between_steps(run: Run) -> None:
    """A sign-in that began under other settings is finished by the settings at its end, with what was proved."""
    async with run() as service:
        account = await service.enrolled("ada")
        service.next_totp_step()
        started = await service.sign_in("ada")
    async with run(accounts={"mfa": "OFF"}) as service:
        async with fails("CODE_MISMATCH"):
            await answer(service, started.session, wrong_totp(service, account.secret))
        done = await answer(service, started.session, service.totp(account.secret))
        assert (await fetch(service, done.tokens)).amr == ["pwd", "otp", "mfa"]


async def test_names_that_do_not_exist_by_setting(run: Run) -> None:
    """SignIn says USER_NOT_FOUND only where the settings allow it, and locks such names all the same."""
    async with run(accounts={"prevent_user_existence_errors": False}) as service:
        await service.sign_up("ada")
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password=NEW_PASSWORD)
        for _ in range(5):
            async with fails("USER_NOT_FOUND") as failures:
                await service.sign_in("nobody")
            assert failures[0].code is grpc.StatusCode.NOT_FOUND
        async with fails("LIMIT_EXCEEDED"):
            await service.sign_in("nobody")


async def test_hash_is_renewed_when_settings_rise(run: Run, database: Database) -> None:
    """A right password is hashed anew once the settings ask for a costlier hash, and goes on working."""
    async with run() as service:
        await service.sign_up("ada")
    cheap = await database.fetchval("select hash from passwords")
    assert cheap.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    async with run(passwords={"argon2_time_cost": 2, "argon2_memory_kib": 64}) as service:
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password=NEW_PASSWORD)
        assert await database.fetchval("select hash from passwords") == cheap
        assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"
        renewed = await database.fetchval("select hash from passwords")
        assert renewed.startswith("$argon2id$v=19$m=64,t=2,p=1$")
        assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"
        assert await database.fetchval("select hash from passwords") == renewed


async def test_half_done_sign_in_of_a_changed_password(service: Service) -> None:
    """A sign-in that began with a password which was changed since gives no tokens."""
    account = await service.enrolled("ada")
    service.next_totp_step()
    started = await service.sign_in("ada")
    await update(service, account.tokens, PASSWORD)
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(account.secret))


async def test_password_is_not_an_answer_to_other_names(service: Service) -> None:
    """The right password of one account is wrong for another."""
    await service.sign_up("ada")
    await service.sign_up("bob", password=NEW_PASSWORD)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("bob", password=PASSWORD)


async def test_both_fields_of_sign_in_at_once(service: Service) -> None:
    """An empty request names both fields."""
    async with fails("INVALID_FIELDS") as failures:
        await service.sign_in("", password="")
    assert failures[0].violations == [("username", "REQUIRED"), ("password", "REQUIRED")]
