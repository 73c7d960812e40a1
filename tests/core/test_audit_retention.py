"""The age of the audit trail: months begin, pass and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from authsvc.config import Settings
from authsvc.core.audit.retention import AuditRetention
from authsvc.core.audit.trail import AuditKind
from authsvc.core.audit.verify import verify
from authsvc.core.janitor import Janitor
from authsvc.crypto.sealing import KeyRing
from authsvc.errors import DatabaseUnavailable
from authsvc.store.db import Database
from tests.clock import TICK, FakeClock
from tests.core.trail import Trail
from tests.waiting import until

DAY = timedelta(days=1)
RETENTION = 60 * DAY


@pytest.fixture
async def trail(database: Database, ring: KeyRing, clock: FakeClock) -> Trail:
    """Make a user."""
    trail = Trail(database, ring, clock)
    await trail.begin()
    return trail


@pytest.fixture
def retention(database: Database, ring: KeyRing) -> AuditRetention:
    """Keep events for sixty days and the rest of their month."""
    return AuditRetention(database=database, ring=ring, retention=RETENTION)


def go_to(clock: FakeClock, year: int, month: int, day: int = 1) -> None:
    """Move the clock to the begin of a day."""
    clock.advance(datetime(year, month, day, tzinfo=UTC) - clock.now())


async def tables(database: Database) -> list[str]:
    """Return the months that there are."""
    rows = await database.fetch(
        "select tablename from pg_tables where tablename like 'audit_events_2%' order by tablename"
    )
    return [row["tablename"].removeprefix("audit_events_") for row in rows]


async def rows_in(database: Database, table: str) -> int:
    """Count the events of a month, or of the default partition."""
    return int(await database.fetchval(f"select count(*) from audit_events_{table}"))  # noqa: S608  # from this file


async def test_months_are_made_ahead(retention: AuditRetention, database: Database, clock: FakeClock) -> None:
    """This month and the next two are there after the first pass; at the next month's begin one more is made."""
    go_to(clock, 2030, 11, 30)
    assert await retention.make_months(clock.now()) == 3
    assert await tables(database) == ["2030_11", "2030_12", "2031_01"]
    assert await retention.make_months(clock.now()) == 0
    go_to(clock, 2030, 12)
    assert await retention.make_months(clock.now()) == 1
    assert await tables(database) == ["2030_11", "2030_12", "2031_01", "2031_02"]


async def test_events_lie_in_their_month(
    retention: AuditRetention, trail: Trail, database: Database, clock: FakeClock
) -> None:
    """The last tick of a month and the first of the next are on two sides of the border, on one valid chain."""
    go_to(clock, 2030, 3)
    await retention.make_months(clock.now())
    go_to(clock, 2030, 4)
    clock.advance(-TICK)
    await trail.record(AuditKind.SIGN_IN)
    clock.advance(TICK)
    await trail.record(AuditKind.SIGN_OUT)
    assert (await rows_in(database, "2030_03"), await rows_in(database, "2030_04")) == (1, 1)
    assert await rows_in(database, "default") == 0
    assert await trail.faults() == []


async def test_events_without_a_month_move_to_theirs(
    retention: AuditRetention, trail: Trail, database: Database, clock: FakeClock
) -> None:
    """What was recorded before its month was made is kept, and moves when it is made."""
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    assert await rows_in(database, "default") == 2
    await retention.make_months(clock.now())
    assert (await rows_in(database, "default"), await rows_in(database, "2030_01")) == (0, 2)
    assert await trail.faults() == []


@pytest.mark.parametrize("has_months", [True, False])
async def test_whole_months_go_with_their_age(
    retention: AuditRetention, trail: Trail, database: Database, clock: FakeClock, *, has_months: bool
) -> None:
    """A month's events stay until the last moment of the month is past the retention, and go together."""
    for month in (1, 2):
        go_to(clock, 2030, month, 20)
        if has_months:
            await retention.make_months(clock.now())
        await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    go_to(clock, 2030, 2)
    clock.advance(RETENTION - TICK)
    await retention.prune(clock.now())
    assert await database.fetchval("select count(*) from audit_events") == 4
    clock.advance(TICK)
    assert await retention.prune(clock.now()) == (1 if has_months else 0)
    assert await database.fetchval("select count(*) from audit_events") == 2
    assert await tables(database) == (["2030_02", "2030_03", "2030_04"] if has_months else [])
    assert await trail.faults() == []
    await trail.record(AuditKind.SIGN_IN)
    assert await trail.faults() == []


async def test_pruned_chain_is_still_guarded(retention: AuditRetention, trail: Trail, clock: FakeClock) -> None:
    """After a pruning the first event that is left can't be removed or altered either."""
    await trail.record(AuditKind.SIGN_IN)
    go_to(clock, 2030, 3)
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    go_to(clock, 2030, 5)
    await retention.prune(clock.now())
    assert await trail.faults() == []
    await trail.database.execute("update audit_events set kind = 'SIGN_UP' where sequence = 2")
    assert await trail.faults() == ["ALTERED 2-2"]
    await trail.database.execute("delete from audit_events where sequence = 2")
    assert await trail.faults() == ["REMOVED 2-2"]


async def test_everything_may_be_pruned(retention: AuditRetention, trail: Trail, clock: FakeClock) -> None:
    """A chain whose events are all too old is empty, verifies, and goes on with the next number."""
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    checkpoint = await trail.checkpoint()
    go_to(clock, 2031, 1)
    await retention.prune(clock.now())
    assert await trail.faults(checkpoint) == []
    assert sum(report.events for report in await trail.reports()) == 0
    await trail.record(AuditKind.SIGN_IN)
    assert await trail.database.fetchval("select max(sequence) from audit_events") == 3
    assert await trail.faults(checkpoint) == []


async def test_checkpoint_of_before_a_pruning_holds(retention: AuditRetention, trail: Trail, clock: FakeClock) -> None:
    """A checkpoint whose event was removed for its age since is no fault."""
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    checkpoint = await trail.checkpoint()
    await trail.record(AuditKind.SIGN_IN)
    go_to(clock, 2030, 4, 20)
    await trail.record(AuditKind.SIGN_IN)
    await retention.prune(clock.now())
    assert await trail.faults(checkpoint) == []


@pytest.mark.parametrize(
    "tampering",
    [
        "update audit_events set kind = 'SIGN_UP' where sequence = 2",
        "delete from audit_events where sequence = 2",
        "update audit_events set digest = (select digest from audit_events where sequence = 3) where sequence = 2",
        # So that the third would seem to have gone for its age.
        "update audit_events set created_at = '2030-01-20Z' where sequence = 3",
    ],
)
async def test_broken_end_of_what_is_too_old_is_not_pruned(
    retention: AuditRetention, trail: Trail, clock: FakeClock, tampering: str
) -> None:
    """Who alters the last event of a month, or puts a younger one in, does not get authsvc to seal that."""
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    go_to(clock, 2030, 3)
    await trail.record(AuditKind.SIGN_IN)
    await trail.database.execute(tampering)
    go_to(clock, 2030, 5)
    before = await trail.faults()
    assert before
    await retention.prune(clock.now())
    assert await trail.faults() == before


async def test_two_prune_at_once(
    retention: AuditRetention, trail: Trail, database: Database, ring: KeyRing, clock: FakeClock
) -> None:
    """Replicas that make and remove months at the same moment, while events are recorded, do it once and do no harm."""
    await retention.make_months(clock.now())
    await trail.record(AuditKind.SIGN_IN)
    go_to(clock, 2030, 6)
    others = [AuditRetention(database=database, ring=ring, retention=RETENTION) for _ in range(3)]
    made = await asyncio.gather(*(each.make_months(clock.now()) for each in others), trail.record(AuditKind.SIGN_IN))
    assert sum(each or 0 for each in made) == 3
    pruned = await asyncio.gather(*(each.prune(clock.now()) for each in others), trail.record(AuditKind.SIGN_IN))
    assert sum(each or 0 for each in pruned) == 3
    assert await tables(database) == ["2030_06", "2030_07", "2030_08"]
    assert await trail.faults() == []


class Interrupted(Database):
    """Let something else happen before the first rows are read."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows."""
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().fetch(query, *args)


async def test_pruning_during_the_walk_is_no_fault(
    retention: AuditRetention, trail: Trail, settings: Settings, clock: FakeClock
) -> None:
    """A chain that is pruned between the look at its row and that at its events is walked again; a gap stays a gap."""
    await trail.record(AuditKind.SIGN_IN)
    go_to(clock, 2030, 4)
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    go_to(clock, 2030, 5)
    number = await trail.chain()
    database = await Interrupted.open(settings.database, size=1)
    assert isinstance(database, Interrupted)
    try:
        reports = verify(database, trail.ring)
        for _ in range(number):
            await anext(reports)
        database.meanwhile = lambda: retention.prune(clock.now())
        report = await anext(reports)
        assert (report.events, report.faults) == (2, ())
        await trail.database.execute("delete from audit_events where sequence = 2")
        assert await trail.faults() == ["REMOVED 2-2"]
    finally:
        await reports.aclose()
        await database.close()


async def test_months_are_made_while_old_ones_are_read(
    trail: Trail, settings: Settings, database: Database, clock: FakeClock
) -> None:
    """A reader of a month that is too old, such as a backup, keeps it, and keeps no month from being made."""
    janitor = Janitor(database=database, ring=trail.ring, settings=settings, clock=clock)
    go_to(clock, 2030, 1)
    await janitor.run_once()
    await trail.record(AuditKind.SIGN_IN)
    go_to(clock, 2032, 1)
    async with database.transaction() as reader:
        await reader.execute("lock table audit_events_2030_01 in access share mode")
        with pytest.raises(DatabaseUnavailable):
            await janitor.run_once()
        assert {"2030_01", "2032_01", "2032_02", "2032_03"} <= set(await tables(database))
    await janitor.run_once()
    assert "2030_01" not in await tables(database)


async def test_reading_while_a_month_is_made_misses_no_event(
    trail: Trail, database: Database, clock: FakeClock
) -> None:
    """Who reads while events move from the default partition to their month waits, and then sees all of them."""
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    async with database.transaction() as transaction:
        assert await transaction.fetchval("select audit_make_month($1)", clock.now())
        reading = asyncio.create_task(database.fetchval("select count(*) from audit_events"))

        async def waits() -> bool:
            return bool(await database.fetchval("select exists (select from pg_locks where not granted)"))

        await until(waits)
    assert await reading == 2
