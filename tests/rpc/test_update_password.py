"""Changed passwords."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.rpc.calls import NEW_PASSWORD, is_live, recipients, refresh, settle, step_of, update
from tests.service import PASSWORD, Account, Service, fails

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account that is signed in."""
    return await service.enrolled("ada")


async def test_new_password_takes_the_place_of_the_old(service: Service, account: Account) -> None:
    """After an update the proposed password signs in, and the previous one is wrong."""
    await update(service, account.tokens, PASSWORD)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password=PASSWORD)
    assert step_of(await service.sign_in("ada", password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_other_sessions_end(service: Service, account: Account) -> None:
    """The session that asked goes on; the user's others end; other users' go on."""
    bob = await service.enrolled("bob")
    others = [await service.sign_in_fully(account) for _ in range(2)]
    renewed = await update(service, account.tokens, PASSWORD)
    assert await is_live(service, account.tokens)
    assert await is_live(service, await refresh(service, renewed.refresh_token))
    for tokens in others:
        assert not await is_live(service, tokens)
    assert await is_live(service, bob.tokens)


async def test_user_is_told(service: Service, account: Account, database: Database) -> None:
    """The user is told by mail, once the password was changed."""
    mails = await settle(service, database)
    async with fails("NOT_AUTHORIZED"):
        await update(service, account.tokens, "not the password")
    async with fails("INVALID_PASSWORD"):
        await update(service, account.tokens, PASSWORD, "short")
    assert len(await settle(service, database)) == len(mails)
    await update(service, account.tokens, PASSWORD)
    arrived = (await settle(service, database))[len(mails) :]
    assert [mail["Subject"] for mail in arrived] == ["Your password was changed"]
    assert recipients(arrived) == ["ada@example.com"]


async def test_wrong_previous_password_counts(service: Service, account: Account) -> None:
    """A wrong previous password counts like one at SignIn, for its session alone; the new one begins from nothing."""
    for _ in range(4):
        async with fails("NOT_AUTHORIZED") as failures:
            await update(service, account.tokens, "not the password")
        assert failures[0].code is grpc.StatusCode.UNAUTHENTICATED
    for _ in range(5):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password="not the password")
    async with fails("LIMIT_EXCEEDED"):
        await service.sign_in("ada")
    async with fails("NOT_AUTHORIZED"):
        await update(service, account.tokens, "not the password")
    async with fails("LIMIT_EXCEEDED") as failures:
        await update(service, account.tokens, PASSWORD)
    assert failures[0].retry_after is not None
    service.clock.advance(timedelta(seconds=1))
    await update(service, account.tokens, PASSWORD)
    for _ in range(4):
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password=PASSWORD)
    await service.sign_in("ada", password=NEW_PASSWORD)


async def test_same_password_is_refused(service: Service, account: Account) -> None:
    """The previous password is no new one, in another composition neither; nothing is counted for it."""
    renewed = await update(service, account.tokens, PASSWORD, "Gr\u00fcner Tee um 5")
    for _ in range(6):
        async with fails("INVALID_PASSWORD") as failures:
            await update(service, renewed, "Gr\u00fcner Tee um 5", "Gru\u0308ner Tee um 5")
        assert failures[0].violations == [("proposed_password", "REUSED")]
    await service.sign_in("ada", password="Gr\u00fcner Tee um 5")


async def test_same_wrong_password_tells_nothing(service: Service, account: Account) -> None:
    """Whether the previous password is right can't be asked by proposing it again."""
    async with fails("INVALID_PASSWORD") as right:
        await update(service, account.tokens, PASSWORD, PASSWORD)
    async with fails("INVALID_PASSWORD") as wrong:
        await update(service, account.tokens, NEW_PASSWORD, NEW_PASSWORD)
    assert right[0].violations == wrong[0].violations


async def test_refused_password_counts_for_nothing(service: Service, account: Account) -> None:
    """A proposed password that the policy refuses costs no try and changes nothing."""
    for _ in range(6):
        async with fails("INVALID_PASSWORD"):
            await update(service, account.tokens, PASSWORD, "short")
    await service.sign_in("ada", password=PASSWORD)


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, account: Account, late: timedelta) -> None:
    """UpdatePassword needs an authentication of the last 10 minutes; a refresh is none."""
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, account.tokens.refresh_token)
    if late <= timedelta():
        await update(service, tokens, PASSWORD)
        return
    async with fails("REAUTHENTICATION_REQUIRED") as failures:
        await update(service, tokens, PASSWORD)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    await update(service, await service.sign_in_fully(account), PASSWORD)


async def test_password_is_normalised(service: Service, account: Account) -> None:
    """The new password is compared as an OpaqueString ever after."""
    renewed = await update(service, account.tokens, PASSWORD, "Gru\u0308ner\u3000Tee um 5")
    await service.sign_in("ada", password="Gr\u00fcner Tee um 5")
    await update(service, renewed, "Gr\u00fcner\u00a0Tee um 5")


async def test_both_fields_at_once(service: Service, account: Account) -> None:
    """An empty request of a bearer names both fields; without a bearer nothing is told."""
    async with fails("INVALID_FIELDS") as failures:
        await update(service, account.tokens, "", "")
    assert failures[0].violations == [("previous_password", "REQUIRED"), ("proposed_password", "REQUIRED")]
    async with fails("TOKEN_INVALID"):
        await service.stub.UpdatePassword(pb.UpdatePasswordRequest())
