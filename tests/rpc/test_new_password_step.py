"""CONFIRM_SIGN_IN_WITH_NEW_PASSWORD: a temporary password that an operator gave, right and abused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.races.gate import USER, gate
from tests.rpc.calls import NEW_PASSWORD, answer, step_of
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails, failure_of

MINUTE = timedelta(minutes=1)
STEP = "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"
SETUP = "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def invited(service: Service, key: str, username: str = "ada") -> None:
    """Make an account whose password is temporary, and whose operators' mail has come."""
    await service.confirmed(username)
    before = service.catcher.last_number()
    temporary = admin.SetUserPasswordRequest(username=username, password=PASSWORD, temporary=True)
    await Operator(service.channel, key).call("SetUserPassword", temporary)
    await service.mail(f"{username}@example.com", after=before)


async def outcome(call: Awaitable[object]) -> str:
    """Return what a call is refused for, or OK."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return failure_of(error).reason
    return "OK"


async def renew(
    service: Service, session: str, password: str = NEW_PASSWORD, **attributes: str
) -> pb.ConfirmSignInResponse:
    """Answer the step."""
    return await service.stub.ConfirmSignIn(
        pb.ConfirmSignInRequest(session=session, new_password=password, attributes=attributes)
    )


async def test_new_password_replaces_the_temporary_one(service: Service, key: str) -> None:
    """The new password leads on to the second factor, and is the only one from then on; the user is told by mail."""
    await invited(service, key)
    started = await service.sign_in()
    assert step_of(started) == STEP
    assert list(started.next_step.missing_attributes) == []
    before = service.catcher.last_number()
    renewed = await renew(service, started.session)
    assert step_of(renewed) == SETUP
    await service.mail("ada@example.com", after=before)
    secret = renewed.next_step.totp_setup.shared_secret
    assert step_of(await answer(service, renewed.session, service.totp(secret))) == "DONE"
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in()
    assert step_of(await service.sign_in(password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_new_password_does_not_expire(service: Service, key: str) -> None:
    """The end of a temporary password is not the end of the one that replaced it."""
    await invited(service, key)
    await renew(service, (await service.sign_in()).session)
    service.clock.advance(timedelta(days=400))
    assert step_of(await service.sign_in(password=NEW_PASSWORD)) == SETUP


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_temporary_password_ends(service: Service, key: str, early: timedelta) -> None:
    """A temporary password that is over is like a wrong one."""
    await invited(service, key)
    service.clock.advance(service.settings.accounts.temporary_password_ttl - early)
    if early > timedelta():
        assert step_of(await service.sign_in()) == STEP
        return
    async with fails("NOT_AUTHORIZED") as over:
        await service.sign_in()
    async with fails("NOT_AUTHORIZED") as wrong:
        await service.sign_in(password="not the password")
    assert (over[0].code, over[0].text) == (wrong[0].code, wrong[0].text)


async def test_temporary_password_ends_while_a_sign_in_waits(service: Service, key: str, database_url: str) -> None:
    """A temporary password that ends while its sign-in waits for the account is over too."""
    await invited(service, key)
    service.clock.advance(service.settings.accounts.temporary_password_ttl - TICK)
    async with gate(database_url, USER, "ada") as closed, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(outcome(service.sign_in()))
        await closed.wait_for(1)
        service.clock.advance(TICK)
        await closed.open_for(1)
    assert waiting.result() == "NOT_AUTHORIZED"


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_temporary_password_ends_within_the_step(service: Service, key: str, early: timedelta) -> None:
    """What a temporary password has begun ends with it."""
    await invited(service, key)
    service.clock.advance(service.settings.accounts.temporary_password_ttl - MINUTE)
    started = await service.sign_in()
    service.clock.advance(MINUTE - early)
    given = await outcome(renew(service, started.session))
    assert given == ("OK" if early > timedelta() else "SESSION_EXPIRED")


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_step_has_three_minutes(service: Service, key: str, early: timedelta) -> None:
    """A new password can be given for 3 minutes."""
    await invited(service, key)
    started = await service.sign_in()
    service.clock.advance(3 * MINUTE - early)
    if early > timedelta():
        assert step_of(await renew(service, started.session)) == SETUP
        return
    async with fails("SESSION_EXPIRED"):
        await renew(service, started.session)
    assert step_of(await service.sign_in()) == STEP


@pytest.mark.parametrize("password", ["short", "password1", "ada-ada-ada", "ada@example.com", "x" * 257, PASSWORD])
async def test_password_that_breaks_the_policy_is_not_counted(service: Service, key: str, password: str) -> None:
    """A password against the policy, or the temporary one again, is told by its rules as often as it comes."""
    await invited(service, key)
    started = await service.sign_in()
    for _ in range(6):
        async with fails("INVALID_PASSWORD") as failures:
            await renew(service, started.session, password)
        assert {field for field, _ in failures[0].violations} == {"new_password"}
    assert step_of(await renew(service, started.session)) == SETUP


async def test_missing_attributes_are_asked_for(run: Run, database: Database, key: str) -> None:
    """What every account must have is asked for with the new password, and told by name while missing or wrong."""
    async with run() as service:
        await invited(service, key)
    async with run(accounts={"required_attributes": ("email", "name", "birthdate")}) as service:
        started = await service.sign_in()
        assert list(started.next_step.missing_attributes) == ["name", "birthdate"]
        async with fails("INVALID_FIELDS") as failures:
            await renew(service, started.session, name="Ada")
        assert failures[0].violations == [('attributes["birthdate"]', "REQUIRED")]
        async with fails("INVALID_FIELDS") as failures:
            await renew(service, started.session, name="Ada", birthdate="long ago")
        assert [field for field, _ in failures[0].violations] == ['attributes["birthdate"]']
        renewed = await renew(
            service, started.session, name="Ada", birthdate="1815-12-10", email="eve@example.com", nickname="x"
        )
        assert step_of(renewed) == SETUP
        row = await database.fetchrow("select email, attributes from users")
        assert row is not None
        assert (row["email"], row["attributes"]) == ("ada@example.com", {"name": "Ada", "birthdate": "1815-12-10"})


async def test_one_new_password_for_all_sign_ins(service: Service, key: str) -> None:
    """Once the temporary password is replaced, no other sign-in that began with it replaces the new one."""
    await invited(service, key)
    first, second = await service.sign_in(), await service.sign_in()
    await renew(service, first.session)
    for session in (first.session, second.session):
        async with fails("SESSION_EXPIRED"):
            await renew(service, session, "Another-1-of-those-skies")
    assert (await service.sign_in(password=NEW_PASSWORD)).session


async def test_session_of_another_user_changes_their_password_alone(service: Service, key: str) -> None:
    """A session stands for the user whose password began it."""
    await invited(service, key)
    await invited(service, key, "bob")
    theirs = await service.sign_in("bob")
    await renew(service, theirs.session)
    assert step_of(await service.sign_in()) == STEP
    assert step_of(await service.sign_in("bob", password=NEW_PASSWORD)) == SETUP


async def test_a_step_of_a_code_takes_no_new_password(service: Service) -> None:
    """A new password is another kind of answer where a code is waited for, and changes nothing."""
    account = await service.enrolled("ada")
    started = await service.sign_in()
    async with fails("INVALID_FIELDS"):
        await renew(service, started.session)
    service.next_totp_step()
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_disabled_account_gets_no_new_password(service: Service, database: Database, key: str) -> None:
    """An account that is disabled during the step keeps its temporary password."""
    await invited(service, key)
    started = await service.sign_in()
    await database.execute("update users set disabled_at = $1", service.clock.now())
    async with fails("USER_DISABLED"):
        await renew(service, started.session)
    await database.execute("update users set disabled_at = null")
    assert step_of(await service.sign_in()) == STEP
