"""Authenticators: pending until their first code; no time step is accepted twice."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from authsvc.domain import DeviceId, TotpDevice, UserId
from authsvc.store import ended
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from authsvc.store.factors import totp as totp_devices
from tests.clock import TICK, FakeClock
from tests.store.rows import insert_user

TTL = timedelta(minutes=15)
STEP = 1_000


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    """Return the time of the test."""
    return clock.now()


@pytest.fixture
async def ada(database: Database, now: datetime) -> UUID:
    """Insert the account that has the authenticators."""
    return await insert_user(database, now=now)


async def insert(database: Database, user_id: UUID, now: datetime, name: str = "phone") -> UUID:
    """Insert a pending authenticator and return its id."""
    device_id = uuid4()
    await totp_devices.insert_pending(
        database,
        device_id=DeviceId(device_id),
        user_id=UserId(user_id),
        friendly_name=name,
        sealed_secret=b"sealed",
        now=now,
        expires_at=now + TTL,
    )
    return device_id


async def names(database: Database, user_id: UUID) -> list[str]:
    """Return the names of the active authenticators."""
    return [device.friendly_name for device in await totp_devices.list_active(database, user_id=UserId(user_id))]


async def test_pending_authenticator_does_not_count_until_its_first_code(
    database: Database, ada: UUID, now: datetime
) -> None:
    """Before its activation an authenticator is found as pending alone, after it as active alone."""
    device_id = await insert(database, ada, now)
    pending = TotpDevice(DeviceId(device_id), UserId(ada), "phone", b"sealed", None, None)
    assert await totp_devices.find_pending(database, device_id=DeviceId(device_id)) == pending
    assert await totp_devices.count_active(database, user_id=UserId(ada)) == 0
    assert await names(database, ada) == []
    assert await totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP, now=now)
    assert await totp_devices.find_pending(database, device_id=DeviceId(device_id)) is None
    assert await totp_devices.count_active(database, user_id=UserId(ada)) == 1
    active = TotpDevice(DeviceId(device_id), UserId(ada), "phone", b"sealed", now, now)
    assert await totp_devices.list_active(database, user_id=UserId(ada)) == [active]


async def test_one_of_many_activations_at_once_wins(database: Database, ada: UUID, now: datetime) -> None:
    """Ten activations of one authenticator at once are one."""
    device_id = await insert(database, ada, now)
    won = await asyncio.gather(
        *(
            totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP + number, now=now)
            for number in range(10)
        )
    )
    assert sum(won) == 1


async def test_code_of_the_activation_is_used_up(database: Database, ada: UUID, now: datetime) -> None:
    """The step of the first code, and those before it, are not accepted afterwards; the next one is."""
    device_id = await insert(database, ada, now)
    await totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP, now=now)
    outcomes = [
        await totp_devices.claim_step(database, device_id=DeviceId(device_id), step=step, now=now)
        for step in (STEP - 1, STEP, STEP + 1)
    ]
    assert outcomes == [False, False, True]


async def test_step_at_or_before_the_last_accepted_one_is_refused(database: Database, ada: UUID, now: datetime) -> None:
    """After a step neither it nor an earlier one is accepted, though the earlier one was never used."""
    device_id = await insert(database, ada, now)
    await totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP, now=now)
    outcomes = [
        await totp_devices.claim_step(database, device_id=DeviceId(device_id), step=step, now=now)
        for step in (STEP + 2, STEP + 2, STEP + 1, STEP + 3)
    ]
    assert outcomes == [True, False, False, True]


async def test_one_of_many_claims_of_a_step_at_once_wins(database: Database, ada: UUID, now: datetime) -> None:
    """Ten uses of one code at once are one."""
    device_id = await insert(database, ada, now)
    await totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP, now=now)
    won = await asyncio.gather(
        *(totp_devices.claim_step(database, device_id=DeviceId(device_id), step=STEP + 1, now=now) for _ in range(10))
    )
    assert sum(won) == 1


async def test_pending_authenticator_accepts_no_step(database: Database, ada: UUID, now: datetime) -> None:
    """A code proves nothing before its authenticator is active."""
    device_id = await insert(database, ada, now)
    assert not await totp_devices.claim_step(database, device_id=DeviceId(device_id), step=STEP, now=now)


async def test_steps_of_two_authenticators_are_kept_apart(database: Database, ada: UUID, now: datetime) -> None:
    """A step accepted from one authenticator can still be accepted from another."""
    devices = [await insert(database, ada, now) for _ in range(2)]
    for device_id in devices:
        await totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP, now=now)
    assert all(
        [
            await totp_devices.claim_step(database, device_id=DeviceId(device_id), step=STEP + 1, now=now)
            for device_id in devices
        ]
    )


async def test_active_authenticators_are_listed_oldest_first_for_their_account(
    database: Database, ada: UUID, now: datetime
) -> None:
    """The list is in the order of activation, and has no other account's authenticators."""
    bob = await insert_user(database, "bob", now=now)
    owners = {"tablet": ada, "phone": ada, "watch": bob}
    for number, (name, owner) in enumerate(owners.items()):
        device_id = await insert(database, owner, now, name)
        await totp_devices.activate(database, device_id=DeviceId(device_id), step=STEP, now=now - number * TICK)
    assert await names(database, ada) == ["phone", "tablet"]
    assert await totp_devices.count_active(database, user_id=UserId(ada)) == 2


async def test_purge_takes_set_ups_that_were_not_finished_in_time(database: Database, ada: UUID, now: datetime) -> None:
    """A pending authenticator goes once its end is not after the given time, so many at a time; active ones stay."""
    active = await insert(database, ada, now, "active")
    await totp_devices.activate(database, device_id=DeviceId(active), step=STEP, now=now)
    late = await insert(database, ada, now + TICK, "late")
    for _ in range(3):
        await insert(database, ada, now)

    async def purge() -> int:
        return await ended.purge(database, what=Ended.TOTP_DEVICES, before=now + TTL, limit=2)

    assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert await names(database, ada) == ["active"]
    assert await totp_devices.find_pending(database, device_id=DeviceId(late)) is not None


async def test_oldest_pending_authenticators_give_way(database: Database, ada: UUID, now: datetime) -> None:
    """Of an account's pending authenticators the newest are kept; active ones and those of others are not touched."""
    bob = await insert_user(database, "bob", now=now)
    active, *pending = [await insert(database, ada, now + number * TICK) for number in range(5)]
    foreign = await insert(database, bob, now)
    assert await totp_devices.activate(database, device_id=DeviceId(active), step=STEP, now=now)
    await totp_devices.keep_newest_pending(database, user_id=UserId(ada), count=2)
    found = [
        await totp_devices.find_pending(database, device_id=DeviceId(device_id)) for device_id in (*pending, foreign)
    ]
    assert [device is not None for device in found] == [False, False, True, True, True]
    assert await totp_devices.count_active(database, user_id=UserId(ada)) == 1


async def test_active_ones_are_removed_by_their_account(database: Database, ada: UUID, now: datetime) -> None:
    """An account removes an active authenticator of its own, once; not one that is pending, nor another account's."""
    eve = await insert_user(database, "eve", now=now)
    active, pending = await insert(database, ada, now), await insert(database, ada, now)
    await totp_devices.activate(database, device_id=DeviceId(active), step=STEP, now=now)
    assert not await totp_devices.delete_active(database, device_id=DeviceId(active), user_id=UserId(eve))
    assert not await totp_devices.delete_active(database, device_id=DeviceId(pending), user_id=UserId(ada))
    assert await totp_devices.delete_active(database, device_id=DeviceId(active), user_id=UserId(ada))
    assert not await totp_devices.delete_active(database, device_id=DeviceId(active), user_id=UserId(ada))
    assert await totp_devices.find_pending(database, device_id=DeviceId(pending)) is not None
