"""The list of a user's authenticators, and their removal."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import grpc
import pytest

from authsvc.store.db import Database
from tests.clock import TICK
from tests.rpc.account_calls import add_authenticator, devices, mfa, prefer, recorded, remove_device
from tests.rpc.calls import answer, associate, refresh, settle, step_of
from tests.rpc.conftest import Run
from tests.service import Account, Service, fails

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


async def test_list(service: Service, ada: Account) -> None:
    """Active authenticators are listed oldest first, with name, first and last use; pending ones are not."""
    first_use = service.clock.now()
    service.clock.advance(MINUTE)
    await add_authenticator(service, ada.tokens, "Ada's phone")
    await associate(service, ada.tokens, "pending")
    added = service.clock.now()
    await service.sign_in_fully(ada)
    listed = await devices(service, ada.tokens)
    assert [device.friendly_name for device in listed] == ["Authenticator", "Ada's phone"]
    assert [device.created_at.ToDatetime(added.tzinfo) for device in listed] == [first_use, added]
    assert [device.last_used_at.ToDatetime(added.tzinfo) for device in listed] == [service.clock.now(), added]
    assert len({device.device_id for device in listed}) == 2


async def test_removed_one_signs_nobody_in(service: Service, ada: Account) -> None:
    """Codes of a removed authenticator are wrong, those of the other go on; half-done sign-ins see it too."""
    # The list is by age: at one moment either could be first.
    service.next_totp_step()
    second = await add_authenticator(service, ada.tokens)
    service.next_totp_step()
    started = await service.sign_in("ada")
    first_device, _ = await devices(service, ada.tokens)
    await remove_device(service, ada.tokens, first_device.device_id)
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, service.totp(ada.secret))
    assert step_of(await answer(service, started.session, service.totp(second))) == "DONE"
    assert len(await devices(service, ada.tokens)) == 1


async def test_last_one_stays_where_mfa_is_required(service: Service, ada: Account) -> None:
    """Where MFA is required the last authenticator cannot be removed while it is the last factor."""
    (device,) = await devices(service, ada.tokens)
    async with fails("MFA_REQUIRED") as failures:
        await remove_device(service, ada.tokens, device.device_id)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert await devices(service, ada.tokens) == [device]


async def test_last_one_goes_where_another_factor_stays(run: Run) -> None:
    """Where MFA is required the last authenticator can be removed once another factor is enabled."""
    async with run() as service:
        ada = await service.enrolled("ada")
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        await prefer(service, ada.tokens, email="ENABLED")
        (device,) = await devices(service, ada.tokens)
        await remove_device(service, ada.tokens, device.device_id)
        assert await devices(service, ada.tokens) == []
        assert await mfa(service, ada.tokens) == (["EMAIL"], "")


async def test_last_one_goes_where_mfa_is_optional(run: Run) -> None:
    """Where MFA is optional the last authenticator can be removed, and then sign-ins ask for none."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        tokens = (await service.sign_in("ada")).tokens
        await add_authenticator(service, tokens)
        await prefer(service, tokens, totp="PREFERRED")
        (device,) = await devices(service, tokens)
        await remove_device(service, tokens, device.device_id)
        assert await mfa(service, tokens) == ([], "")
        assert step_of(await service.sign_in("ada")) == "DONE"


async def test_removal_is_told_once(service: Service, ada: Account, database: Database) -> None:
    """A removal is told by mail and recorded; removing what is not there is no error, and is neither."""
    await add_authenticator(service, ada.tokens)
    device, _ = await devices(service, ada.tokens)
    mails = await settle(service, database)
    for device_id in (device.device_id, device.device_id, str(uuid4())):
        await remove_device(service, ada.tokens, device_id)
    arrived = await settle(service, database)
    assert [mail["Subject"] for mail in arrived[len(mails) :]] == ["Your two-step sign-in was changed"]
    kind = "REMOVE_TOTP_DEVICE"
    assert await recorded(database, kind) == [(kind, "SUCCESS", {"device_id": device.device_id})]


async def test_devices_are_of_one_user(service: Service, ada: Account) -> None:
    """Nobody sees or removes another user's authenticator."""
    eve = await service.enrolled("eve")
    await add_authenticator(service, ada.tokens)
    device, _ = await devices(service, ada.tokens)
    await remove_device(service, eve.tokens, device.device_id)
    assert len(await devices(service, ada.tokens)) == 2
    assert len(await devices(service, eve.tokens)) == 1


async def test_place_of_a_removed_one_is_free(service: Service, ada: Account) -> None:
    """With five authenticators a sixth is refused until one is removed."""
    for _ in range(4):
        await add_authenticator(service, ada.tokens)
    async with fails("TOTP_DEVICE_LIMIT"):
        await associate(service, ada.tokens)
    await remove_device(service, ada.tokens, (await devices(service, ada.tokens))[2].device_id)
    await add_authenticator(service, ada.tokens)


@pytest.mark.parametrize(("device_id", "rule"), [("", "REQUIRED"), ("first", "UUID")])
async def test_what_is_no_id(service: Service, ada: Account, device_id: str, rule: str) -> None:
    """An authenticator is named by its UUID."""
    async with fails("INVALID_FIELDS") as failures:
        await remove_device(service, ada.tokens, device_id)
    assert failures[0].violations == [("device_id", rule)]


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "a tick after"])
async def test_recent_authentication(service: Service, ada: Account, late: timedelta) -> None:
    """RemoveTotpDevice needs an authentication of the last 10 minutes; ListTotpDevices needs none."""
    await add_authenticator(service, ada.tokens)
    service.clock.advance(10 * MINUTE + late)
    tokens = await refresh(service, ada.tokens.refresh_token)
    device, _ = await devices(service, tokens)
    if late <= timedelta():
        await remove_device(service, tokens, device.device_id)
        return
    async with fails("REAUTHENTICATION_REQUIRED"):
        await remove_device(service, tokens, device.device_id)
