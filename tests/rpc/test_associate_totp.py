"""Further authenticators of a signed-in user."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.rpc.calls import (
    answer,
    associate,
    refresh,
    settle,
    sign_out,
    step_of,
    verify,
    wrong_totp,
)
from tests.service import Account, Service, fails

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


async def add(service: Service, account: Account) -> str:
    """Add an authenticator; return its secret."""
    added = await associate(service, account.tokens)
    await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
    return added.shared_secret


async def test_each_authenticator_signs_in(service: Service, account: Account) -> None:
    """Any of the account's authenticators signs in, each with codes of its own, used up one by one."""
    second = await add(service, account)
    service.next_totp_step()
    for secret in (account.secret, second):
        started = await service.sign_in("ada")
        assert step_of(await answer(service, started.session, service.totp(secret))) == "DONE"
    started = await service.sign_in("ada")
    for secret in (account.secret, second):
        async with fails("CODE_ALREADY_USED"):
            await answer(service, started.session, service.totp(secret))


async def test_pending_one_disturbs_nothing(service: Service, account: Account) -> None:
    """Until it is verified a new authenticator signs nobody in, and the active one goes on."""
    added = await associate(service, account.tokens)
    service.next_totp_step()
    started = await service.sign_in("ada")
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, service.totp(added.shared_secret))
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_code_of_the_active_one_verifies_nothing(service: Service, account: Account) -> None:
    """A new authenticator is proved by its own code alone."""
    service.next_totp_step()
    added = await associate(service, account.tokens)
    async with fails("CODE_MISMATCH"):
        await verify(service, account.tokens, added.session, service.totp(account.secret))


async def test_user_is_told(service: Service, account: Account, database: Database) -> None:
    """A new authenticator is told by mail when it becomes active, not when it is asked for."""
    mails = await settle(service, database)
    added = await associate(service, account.tokens)
    assert len(await settle(service, database)) == len(mails)
    await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
    arrived = await settle(service, database)
    assert [mail["Subject"] for mail in arrived[len(mails) :]] == ["Your two-step sign-in was changed"]


async def test_at_most_five(service: Service, account: Account) -> None:
    """An account has at most five active authenticators."""
    for _ in range(4):
        await add(service, account)
    async with fails("TOTP_DEVICE_LIMIT") as failures:
        await associate(service, account.tokens)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION


async def test_limit_holds_when_they_are_verified(service: Service, account: Account, database: Database) -> None:
    """Two pending authenticators don't both become the fifth one."""
    for _ in range(3):
        await add(service, account)
    one, two = await associate(service, account.tokens), await associate(service, account.tokens)
    await verify(service, account.tokens, two.session, service.totp(two.shared_secret))
    async with fails("TOTP_DEVICE_LIMIT"):
        await verify(service, account.tokens, one.session, service.totp(one.shared_secret))
    assert await database.fetchval("select count(*) from totp_devices where verified_at is not null") == 5


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, account: Account, late: timedelta) -> None:
    """AssociateTotp needs an authentication of the last 10 minutes; a refresh is none."""
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, account.tokens.refresh_token)
    if late <= timedelta():
        await associate(service, tokens)
        return
    async with fails("REAUTHENTICATION_REQUIRED") as failures:
        await associate(service, tokens)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    await associate(service, await service.sign_in_fully(account))


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_life_of_the_session(service: Service, account: Account, early: timedelta) -> None:
    """VerifyTotp can be called for 15 minutes after AssociateTotp, in a later session of the user too."""
    added = await associate(service, account.tokens)
    service.clock.advance(14 * MINUTE)
    tokens = await service.sign_in_fully(account)
    service.clock.advance(MINUTE - timedelta(seconds=30) - early)
    if early > timedelta():
        await verify(service, tokens, added.session, service.totp(added.shared_secret))
        return
    async with fails("SESSION_EXPIRED"):
        await verify(service, tokens, added.session, service.totp(added.shared_secret))


async def test_wrong_codes(service: Service, account: Account) -> None:
    """After four wrong codes the session takes the right one, after five it takes none."""
    for wrong_ones in (4, 5):
        added = await associate(service, account.tokens)
        for _ in range(wrong_ones):
            async with fails("CODE_MISMATCH"):
                await verify(service, account.tokens, added.session, wrong_totp(service, added.shared_secret))
        service.clock.advance(timedelta(seconds=1))
        if wrong_ones < 5:
            await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
            continue
        async with fails("SESSION_EXPIRED"):
            await verify(service, account.tokens, added.session, service.totp(added.shared_secret))


async def test_single_use(service: Service, account: Account) -> None:
    """A session that verified its authenticator is used up."""
    added = await associate(service, account.tokens)
    await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
    async with fails("SESSION_EXPIRED"):
        await verify(service, account.tokens, added.session, service.totp(added.shared_secret, steps=1))


async def test_session_is_of_one_user(service: Service, account: Account) -> None:
    """Another user can't answer the session, nor use its answers up."""
    eve = await service.enrolled("eve")
    added = await associate(service, account.tokens)
    for _ in range(6):
        async with fails("SESSION_EXPIRED"):
            await verify(service, eve.tokens, added.session, service.totp(added.shared_secret))
    await verify(service, account.tokens, added.session, service.totp(added.shared_secret))


async def test_global_sign_out_ends_it(service: Service, account: Account) -> None:
    """Sign-out everywhere ends pending set-ups."""
    added = await associate(service, account.tokens)
    await sign_out(service, account.tokens, everywhere=True)
    tokens = await service.sign_in_fully(account)
    async with fails("SESSION_EXPIRED"):
        await verify(service, tokens, added.session, service.totp(added.shared_secret))


async def test_key_uri_names_the_account(service: Service, account: Account) -> None:
    """The URI is that of the account, whatever the authenticator is called."""
    added = await associate(service, account.tokens, "Ada's phone")
    assert added.setup_uri == (
        f"otpauth://totp/authsvc:ada?secret={added.shared_secret}&issuer=authsvc&algorithm=SHA1&digits=6&period=30"
    )
    assert added.shared_secret != account.secret


@pytest.mark.parametrize("name", ["x" * 65, "tab\tname", "line\nname"])
async def test_names_of_authenticators(service: Service, account: Account, name: str) -> None:
    """A name has at most 64 characters, none of them a control character."""
    async with fails("INVALID_FIELDS") as failures:
        await associate(service, account.tokens, name)
    assert failures[0].violations == [("friendly_name", "NAME")]
    await associate(service, account.tokens, "x" * 64)


async def test_needs_a_bearer(service: Service) -> None:
    """Nobody but a signed-in user adds an authenticator."""
    async with fails("TOKEN_INVALID"):
        await service.stub.AssociateTotp(pb.AssociateTotpRequest())
    async with fails("TOKEN_INVALID"):
        await service.stub.VerifyTotp(pb.VerifyTotpRequest(session="x", totp_code="123456"))


async def test_hundred_pending_ones_are_kept(service: Service, account: Account, database: Database) -> None:
    """Who asks for secrets without end fills no table: with the hundred and first the first one's session is over."""
    begun = []
    for _ in range(101):
        service.clock.advance(TICK)
        begun.append(await associate(service, account.tokens))
    first, second = begun[:2]
    assert await database.fetchval("select count(*) from totp_devices where verified_at is null") == 100
    async with fails("SESSION_EXPIRED"):
        await verify(service, account.tokens, first.session, service.totp(first.shared_secret))
    await verify(service, account.tokens, second.session, service.totp(second.shared_secret))
