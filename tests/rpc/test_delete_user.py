"""A user who leaves: everything personal goes, at once and for good."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.core.audit.verify import verify as verify_trail
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.rpc.account_calls import delete_user, recorded
from tests.rpc.attribute_calls import NUMBER, set_attributes
from tests.rpc.calls import (
    answer,
    associate,
    confirm,
    confirm_reset,
    is_live,
    recovery_codes,
    refresh,
    reset,
    reset_code,
    settle,
    verify,
)
from tests.rpc.conftest import Run
from tests.rpc.every_method import bearer_methods
from tests.service import PASSWORD, Account, Service, bearer, fails

MINUTE = timedelta(minutes=1)
# What a scan of the database must not find, in a form that occurs nowhere else.
USERNAME = "zebulon"
CLIENT = [("authsvc-client-ip", "203.0.113.77"), ("authsvc-client-user-agent", "zebulons-browser")]


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


async def rows_with(database: Database, *texts: str) -> list[str]:
    """Return each row of any table that has one of the texts in it, after the name of its table."""
    tables = await database.fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    found = []
    for table in tables:
        name = table["relname"]
        for row in await database.fetch(f"select t::text as text from {name} t"):  # noqa: S608  # a name of a table
            found += [f"{name}: {row['text']}" for text in texts if text in row["text"]]
    return found


async def test_nothing_of_the_user_is_left(run: Run, database: Database, ring: KeyRing) -> None:
    """After the deletion no table has the user's name, address, number, client or secrets; what happened is kept."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}, limits={"sign_in_global": 1000}) as service:
        leaver, eve = await service.enrolled(USERNAME), await service.enrolled("eve")
        service.next_totp_step()
        # One of everything: a session from somewhere, a half-done sign-in, a pending authenticator, codes, wrong tries.
        started = await service.sign_in(USERNAME)
        request = pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(leaver.secret))
        tokens = (await service.stub.ConfirmSignIn(request, metadata=CLIENT)).tokens
        await service.sign_in(USERNAME)
        await associate(service, tokens)
        await recovery_codes(service, tokens)
        await set_attributes(
            service, tokens, email=f"{USERNAME}-new@example.com", phone_number=NUMBER, name="Zebulon P."
        )
        await set_attributes(service, eve.tokens, email=leaver.email)
        await reset(service, USERNAME)
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in(USERNAME, password="Nobodys-password-9-lakes")
        await settle(service, database)
        texts = (USERNAME, "Zebulon", NUMBER.lstrip("+"), "203.0.113.77", leaver.user_id)
        tables = {row.partition(":")[0] for row in await rows_with(database, *texts)}
        assert {"users", "codes", "failures", "outbox", "sessions", "rate_windows", "totp_devices"} <= tables

        await delete_user(service, tokens)
        left = await rows_with(database, *texts)
        source_limits = [row for row in left if row.startswith("rate_windows") and "source:203.0.113.77" in row]
        events = [row for row in left if row.startswith("audit_events")]
        eves = [row for row in left if row.startswith("users") and "(" + eve.user_id in row.replace(": (", ":(")]
        assert set(left) == {*source_limits, *events, *eves}
        # Eve's address that waits is what eve asked for.
        assert len(eves) == 1
        assert not [row for row in events if USERNAME in row or "203.0.113.77" in row]
        assert [kind for kind, *_ in await recorded(database, "SIGN_UP", "DELETE_USER")].count("DELETE_USER") == 1
        assert [fault async for report in verify_trail(database, ring) for fault in report.faults] == []
        assert await is_live(service, eve.tokens)


async def test_nothing_is_left_under_an_address_that_was_to_be_verified(run: Run, database: Database) -> None:
    """What was kept by an address before it stood for its account goes with the account, a pending address's too."""
    address, pending = f"{USERNAME}@example.com", f"{USERNAME}-new@example.com"
    async with run(accounts={"sign_in_by_email": True, "mfa": "OFF"}) as service:
        for each in (address, pending):
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in(each)
            await reset(service, each)
        await service.stub.SignUp(pb.SignUpRequest(username=address, password=PASSWORD))
        await confirm(service, address, await service.code(address))
        tokens = (await service.sign_in(address)).tokens
        await set_attributes(service, tokens, email=pending)
        await settle(service, database)
        tables = {row.partition(":")[0] for row in await rows_with(database, address, pending)}
        assert {"codes", "failures", "reset_sessions", "rate_windows"} <= tables
        await delete_user(service, tokens)
        assert await rows_with(database, USERNAME) == []


async def test_everything_is_over_at_once(service: Service, ada: Account, database: Database) -> None:
    """Tokens, half-done sign-ins, codes and the password of a deleted user are good for nothing any more."""
    code = await reset_code(service, ada)
    second = await associate(service, ada.tokens)
    service.next_totp_step()
    started = await service.sign_in("ada")
    other = await service.sign_in_fully(ada)
    await delete_user(service, ada.tokens)
    for tokens in (ada.tokens, other):
        assert not await is_live(service, tokens)
        async with fails("TOKEN_INVALID"):
            await refresh(service, tokens.refresh_token)
    outcomes = {await method.call(service.channel, b"", bearer(ada.tokens)) for method in bearer_methods()}
    assert outcomes == {"TOKEN_REVOKED"}
    async with fails("TOKEN_REVOKED"):
        await verify(service, ada.tokens, second.session, service.totp(second.shared_secret))
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(ada.secret))
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", code)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada")


async def test_name_and_address_are_free_again(service: Service, ada: Account) -> None:
    """Somebody else can sign up under the name and the address, with nothing of the former account."""
    await delete_user(service, ada.tokens)
    again = await service.enrolled("ada")
    assert again.user_id != ada.user_id
    assert await is_live(service, again.tokens)
    assert not await is_live(service, ada.tokens)


async def test_waiting_mail_goes_nowhere(service: Service, ada: Account, database: Database) -> None:
    """Mail that waits while the SMTP server is away goes with its user, codes and notices alike; other mail stays."""
    eve = await service.enrolled("eve")
    await settle(service, database)
    await service.catcher.stop()
    for account in (ada, eve):
        await reset(service, account.username)
        await recovery_codes(service, account.tokens)
    # Told to ada, under a key of eve's.
    await set_attributes(service, eve.tokens, email=ada.email)
    waiting = "select user_id::text from outbox where state = 'QUEUED' order by created_at"
    owners = [row["user_id"] for row in await database.fetch(waiting)]
    assert sorted(owners) == sorted([ada.user_id] * 3 + [eve.user_id] * 2)
    await delete_user(service, ada.tokens)
    assert [row["user_id"] for row in await database.fetch(waiting)] == [eve.user_id] * 2


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, ada: Account, late: timedelta) -> None:
    """DeleteUser needs an authentication of the last 10 minutes."""
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, ada.tokens.refresh_token)
    if late <= timedelta():
        await delete_user(service, tokens)
        return
    async with fails("REAUTHENTICATION_REQUIRED"):
        await delete_user(service, tokens)
    assert await is_live(service, tokens)


async def test_repeat_is_told_that_the_token_is_over(service: Service, ada: Account) -> None:
    """Who repeats the call hears that the token stands for nobody any more."""
    await delete_user(service, ada.tokens)
    async with fails("TOKEN_REVOKED"):
        await delete_user(service, ada.tokens)
    async with fails("TOKEN_INVALID"):
        await service.stub.DeleteUser(pb.DeleteUserRequest())


async def test_wrong_tries_are_not_inherited(service: Service, ada: Account) -> None:
    """Failures of the deleted account don't lock the one that has its name next."""
    for _ in range(5):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password="Nobodys-password-9-lakes")
    await delete_user(service, ada.tokens)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password=PASSWORD)
