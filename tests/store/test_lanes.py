"""Known lanes: found until their end, devices before networks, and so many of each."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from authsvc.domain import LaneKind, UserId
from authsvc.store import ended, lanes
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from authsvc.store.lanes import Known
from tests.clock import TICK, FakeClock
from tests.store.rows import DAY, insert_session, insert_user, visit_by


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    """Return the time of the test."""
    return clock.now()


@pytest.fixture
async def ada(database: Database, now: datetime) -> UserId:
    """Insert the account whose lanes these are."""
    return UserId(await insert_user(database, now=now))


async def kinds(database: Database) -> dict[bytes, str]:
    """Return what is known, with its kind."""
    return {row["digest"]: row["kind"] for row in await database.fetch("select digest, kind from known_lanes")}


async def test_device_comes_before_a_network(database: Database, ada: UserId, now: datetime) -> None:
    """Of a device and a network that are known the device is found, each until its end; other digests find nothing."""
    await insert_session(database, ada, now=now, visit=visit_by(b"device", b"home", now=now))
    both = [b"home", b"device", b"other"]
    assert await lanes.find(database, digests=both, now=now) == Known(b"device", LaneKind.DEVICE)
    assert await lanes.find(database, digests=[b"home"], now=now + DAY - TICK) == Known(b"home", LaneKind.SOURCE)
    assert await lanes.find(database, digests=both, now=now + DAY) is None
    assert await lanes.find(database, digests=[], now=now) is None


async def test_devices_that_were_shown_stay_longest(database: Database, ada: UserId, now: datetime) -> None:
    """Of more devices than are kept those go first that were never shown again, then those used longest ago."""
    at = now
    for device in (b"shown", b"kept", b"a", b"shown", b"b", b"c"):
        at += timedelta(minutes=1)
        visit = visit_by(device, now=at, is_shown=device == b"shown")
        await insert_session(database, ada, now=at, visit=visit)
    assert set(await kinds(database)) == {b"shown", b"b", b"c"}


async def test_recovered_network_is_no_better_than_known(database: Database, ada: UserId, now: datetime) -> None:
    """A recovery makes an unknown network known as such; one of a sign-in stays that, until it has ended."""
    await insert_session(database, ada, now=now, visit=visit_by(b"device", b"home", now=now))

    async def recover(digest: bytes, at: datetime) -> None:
        await lanes.remember_recovered(
            database, digest=digest, user_id=ada, now=at, expires_at=at + timedelta(hours=1), most=2
        )

    await recover(b"cafe", now)
    await recover(b"home", now)
    assert await kinds(database) == {b"device": "DEVICE", b"home": "SOURCE", b"cafe": "RECOVERED"}
    await recover(b"home", now + DAY)
    assert (await kinds(database))[b"home"] == "RECOVERED"
    await recover(b"third", now + DAY + TICK)
    assert await kinds(database) == {b"device": "DEVICE", b"home": "RECOVERED", b"third": "RECOVERED"}


async def test_purges(database: Database, ada: UserId, now: datetime) -> None:
    """Devices and networks are purged apart, each once its end is not after the given time; an account's go with it."""
    await insert_session(database, ada, now=now, visit=visit_by(b"device", b"home", now=now))
    for what in (Ended.KNOWN_DEVICES, Ended.KNOWN_SOURCES):
        assert await ended.purge(database, what=what, before=now + DAY - TICK, limit=9) == 0
    assert await ended.purge(database, what=Ended.KNOWN_SOURCES, before=now + DAY, limit=9) == 1
    assert await kinds(database) == {b"device": "DEVICE"}
    await database.execute("delete from users")
    assert await kinds(database) == {}
