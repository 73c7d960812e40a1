"""Counters: a failure is counted or refused in one statement, and so is a call against its allowances."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from authsvc.domain import STRANGERS, Lane, UsernameKey
from authsvc.store import ended, throttle
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from authsvc.store.throttle import Allowance, Budget, FailureKey, Lock
from tests.clock import TICK, FakeClock
from tests.store.rows import insert_session, insert_user, visit_by

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
LOCK_FROM = 5
LOCK_MAX = 900 * SECOND
CLOSE_AT = 100
HOME = Lane("source:00")


def key(name: str = "ada", factor: str = "PASSWORD", lane: Lane = STRANGERS) -> FailureKey:
    """Return what failures are counted for."""
    return FailureKey(UsernameKey(name), factor, lane)


@dataclass
class Failures:
    """Count failures of a factor of "ada" at times of the test's choosing."""

    database: Database
    now: datetime

    async def spend(
        self,
        *,
        name: str = "ada",
        factor: str = "PASSWORD",
        lane: Lane = STRANGERS,
        at: timedelta = timedelta(),
        lock_from: int = LOCK_FROM,
    ) -> int | None:
        """Count a failure."""
        return await throttle.spend_failure(
            self.database,
            key=key(name, factor, lane),
            now=self.now + at,
            bounds=throttle.FailureBounds(lock_from, LOCK_MAX, CLOSE_AT),
        )

    async def seed(self, count: int) -> None:
        """Let so many failures have happened, with no lock left of them."""
        await self.database.execute(
            "insert into failures (username_key, factor, count, locked_until, updated_at) values ($1, $2, $3, $4, $4)",
            "ada",
            "PASSWORD",
            count,
            self.now,
        )

    async def lock(self, *, name: str = "ada", factor: str = "PASSWORD", lane: Lane = STRANGERS) -> Lock | None:
        """Return how the factor stands."""
        return await throttle.find_lock(self.database, key=key(name, factor, lane))


@pytest.fixture
def failures(database: Database, clock: FakeClock) -> Failures:
    """Return what counts failures now."""
    return Failures(database, clock.now())


async def test_locks_begin_with_the_fifth_failure_and_double(failures: Failures) -> None:
    """Four failures lock nothing, the fifth locks for 1 s, each further one twice as long, 15 minutes at most."""
    at = timedelta()
    lengths = []
    for _ in range(17):
        assert await failures.spend(at=at)
        lock = await failures.lock()
        assert lock is not None
        length = max(lock.locked_until - failures.now - at, timedelta())
        lengths.append(length.total_seconds())
        at += length
    assert lengths == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def test_lock_ends_exactly_when_it_says(failures: Failures) -> None:
    """One tick before its end a lock refuses and counts nothing; at its end the next failure counts."""
    await failures.seed(LOCK_FROM)
    assert await failures.spend()
    before = await failures.lock()
    assert before == Lock(LOCK_FROM + 1, failures.now + 2 * SECOND)
    assert not await failures.spend(at=2 * SECOND - TICK)
    assert await failures.lock() == before
    assert await failures.spend(at=2 * SECOND)
    assert await failures.lock() == Lock(LOCK_FROM + 2, failures.now + 6 * SECOND)


async def test_factor_closes_at_a_hundred_failures(failures: Failures) -> None:
    """The hundredth failure in a row is the last that counts; after it not even a year opens the factor."""
    await failures.seed(CLOSE_AT - 1)
    assert await failures.spend()
    assert not await failures.spend(at=365 * 24 * HOUR)
    lock = await failures.lock()
    assert lock is not None
    assert lock.count == CLOSE_AT


async def test_many_failures_make_no_absurd_power_of_two(failures: Failures) -> None:
    """A count far above the first lock still locks for the longest time, not with an overflow."""
    await failures.seed(CLOSE_AT - 2)
    assert await failures.spend(lock_from=3)
    lock = await failures.lock()
    assert lock is not None
    assert lock.locked_until == failures.now + LOCK_MAX


async def test_failures_at_once_are_counted_until_the_lock(failures: Failures) -> None:
    """Of thirty failures at once those up to the first lock are counted, and the others refused."""
    counted = await asyncio.gather(*(failures.spend() for _ in range(30)))
    assert sorted(count for count in counted if count) == list(range(1, LOCK_FROM + 1))


async def test_failures_without_a_lock_need_no_order(failures: Failures) -> None:
    """As long as nothing is locked a failure counts also when its clock is behind that of the one before."""
    assert [await failures.spend(at=-number * SECOND) for number in range(LOCK_FROM + 1)] == [1, 2, 3, 4, 5, None]


async def test_accounts_and_factors_are_counted_apart(failures: Failures) -> None:
    """A locked password locks neither the codes of the same account nor the password of another."""
    await failures.seed(LOCK_FROM)
    assert await failures.spend()
    assert not await failures.spend()
    assert await failures.spend(factor="TOTP")
    assert await failures.spend(name="bob")


async def test_lanes_are_counted_apart(failures: Failures) -> None:
    """A locked lane locks no other; what one proves forgets nothing of others."""
    await failures.seed(LOCK_FROM)
    assert await failures.spend()
    assert not await failures.spend()
    assert await failures.spend(lane=HOME) == 1
    await throttle.reset_failures(failures.database, key=key(lane=HOME))
    assert await failures.lock(lane=HOME) is None
    assert not await failures.spend()


async def test_reset_forgets_the_named_factors_in_all_lanes(failures: Failures) -> None:
    """After a reset counting begins anew for the factors named, by all names given, and goes on for the others."""
    for factor in ("PASSWORD", "RESET_CODE", "TOTP"):
        for lane in (STRANGERS, HOME):
            await failures.spend(factor=factor, lane=lane)
    await failures.spend(name="bob")
    await failures.spend(name="ada@example.com")
    names = [UsernameKey("ada"), UsernameKey("ada@example.com")]
    await throttle.reset_factors(failures.database, username_keys=names, factors=["PASSWORD"])
    assert await failures.lock() is None
    assert await failures.lock(lane=HOME) is None
    assert await failures.lock(name="ada@example.com") is None
    assert await failures.lock(factor="RESET_CODE") is not None
    assert await failures.lock(factor="TOTP", lane=HOME) is not None
    assert await failures.lock(name="bob") is not None


async def test_refund_takes_one_failure_back_with_its_lock(failures: Failures) -> None:
    """After a refund the factor stands as before the try, but for locks that had ended; what is not there stays so."""

    async def refund() -> None:
        await throttle.refund_failure(failures.database, key=key(), now=failures.now)

    await refund()
    assert await failures.lock() is None
    await failures.seed(LOCK_FROM - 1)
    for _ in range(3):
        assert await failures.spend()
        assert not await failures.spend()
        await refund()
    assert await failures.spend()
    lock = await failures.lock()
    assert lock == Lock(LOCK_FROM, failures.now + timedelta(seconds=1))
    assert not await failures.spend()


async def test_purge_takes_counters_that_nothing_was_added_to(failures: Failures) -> None:
    """A low counter goes once its last failure is not after the given time, so many at a time; a high one stays."""
    for number in range(4):
        await failures.spend(name=f"u{number}", at=TICK if number == 3 else timedelta())
    await failures.seed(LOCK_FROM)

    async def purge() -> int:
        return await throttle.purge_failures(
            failures.database, updated_before=failures.now, count_below=LOCK_FROM, limit=2
        )

    assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert await failures.lock(name="u3") is not None
    assert await failures.lock(name="ada") is not None


async def test_purge_takes_counters_of_lanes_that_are_no_more(failures: Failures) -> None:
    """A counter of a lane goes, closed or not, once neither is its lane known nor was anything added to it lately."""
    user_id = await insert_user(failures.database, now=failures.now)
    visit = visit_by(b"device", b"source", now=failures.now)
    await insert_session(failures.database, user_id, now=failures.now, visit=visit)
    lanes = {
        "known": f"device:{b'device'.hex()}",
        "gone": f"source:{b'gone'.hex()}",
        "session": f"session:{user_id.hex}",
    }
    for lane in (*lanes.values(), ""):
        await failures.spend(lane=Lane(lane))
    await failures.spend(lane=Lane(f"source:{b'late'.hex()}"), at=TICK)
    await failures.database.execute("update failures set count = $1", CLOSE_AT)
    purged = await throttle.purge_lane_failures(failures.database, updated_before=failures.now, limit=10)
    left = {row["factor"] for row in await failures.database.fetch("select factor from failures")}
    assert purged == 2
    assert left == {"PASSWORD", f"PASSWORD {lanes['known']}", f"PASSWORD source:{b'late'.hex()}"}


def budget(*allowances: Allowance, window: timedelta = HOUR) -> Budget:
    """Return what calls of one kind are counted against."""
    return Budget("SIGN_UP", window, allowances)


def per_source(allowed: int = 3, *, source: str = "192.0.2.1") -> Allowance:
    """Return the allowance of one source."""
    return Allowance(f"source:{source}", allowed)


def in_all(allowed: int) -> Allowance:
    """Return the allowance of everybody."""
    return Allowance("*", allowed)


async def window_end(database: Database, subject: str = "source:192.0.2.1") -> datetime | None:
    """Return when the window of a subject ends."""
    return await throttle.find_window_end(database, action="SIGN_UP", subject=subject)


async def spent(database: Database) -> dict[str, int]:
    """Return how many calls of each subject were counted."""
    return {row["subject"]: row["spent"] for row in await database.fetch("select subject, spent from rate_windows")}


async def test_window_begins_with_its_first_call(database: Database, clock: FakeClock) -> None:
    """So many calls are allowed until a window after the first of them; the next call begins a new window."""
    now = clock.now()

    async def spend(at: timedelta) -> int:
        return await throttle.spend_call(database, budget=budget(per_source()), now=now + at)

    assert [await spend(at) for at in (timedelta(), SECOND, 2 * SECOND, 3 * SECOND)] == [1, 1, 1, 0]
    assert await window_end(database) == now + HOUR
    assert not await spend(HOUR - TICK)
    assert [await spend(HOUR) for _ in range(4)] == [1, 1, 1, 0]
    assert await window_end(database) == now + 2 * HOUR


async def test_calls_at_once_are_all_counted(database: Database, clock: FakeClock) -> None:
    """Of twenty calls at once those that are allowed go through, and only those are counted for all."""
    both = budget(per_source(), in_all(100))
    outcomes = await asyncio.gather(*(throttle.spend_call(database, budget=both, now=clock.now()) for _ in range(20)))
    assert sorted(outcomes) == [0] * 17 + [2] * 3
    assert await spent(database) == {"source:192.0.2.1": 3, "*": 3}


async def test_a_full_allowance_stops_those_after_it(database: Database, clock: FakeClock) -> None:
    """A call counts against each allowance in turn, until one is full; what comes after that counts nothing."""
    now = clock.now()
    nested = budget(per_source(5), per_source(2, source="192.0.2.0/24"), in_all(9))
    assert [await throttle.spend_call(database, budget=nested, now=now) for _ in range(4)] == [3, 3, 1, 1]
    assert await spent(database) == {"source:192.0.2.1": 4, "source:192.0.2.0/24": 2, "*": 2}
    four = budget(*(per_source(1, source=str(number)) for number in range(4)))
    assert [await throttle.spend_call(database, budget=four, now=now) for _ in range(2)] == [4, 0]


async def test_one_source_spends_nothing_of_another(database: Database, clock: FakeClock) -> None:
    """A source that has used its allowance up leaves that of others whole."""
    now = clock.now()
    assert [await throttle.spend_call(database, budget=budget(per_source(1)), now=now) for _ in range(2)] == [1, 0]
    assert await throttle.spend_call(database, budget=budget(per_source(1, source="192.0.2.2")), now=now)


async def test_lowered_allowance_holds_in_a_window_that_runs(database: Database, clock: FakeClock) -> None:
    """After a restart with a lower setting the calls of the present window count against it."""
    now = clock.now()
    for _ in range(2):
        assert await throttle.spend_call(database, budget=budget(per_source(3)), now=now)
    assert not await throttle.spend_call(database, budget=budget(per_source(2)), now=now)


async def test_each_allowance_has_a_window_of_its_own(database: Database, clock: FakeClock) -> None:
    """The end of a window is that of its own action and subject; what was never called has none."""
    now = clock.now()
    assert await throttle.spend_call(database, budget=budget(per_source(), window=SECOND), now=now)
    assert await throttle.spend_call(database, budget=budget(in_all(3)), now=now)
    assert await window_end(database, "*") == now + HOUR
    assert await window_end(database) == now + SECOND
    assert await window_end(database, "source:nobody") is None


async def test_windows_of_an_account_go_with_those_of_its_lanes(database: Database, clock: FakeClock) -> None:
    """What is named after a subject with a space between is forgotten with it; what only begins alike is not."""
    subjects = ("account:ada", "account:ada 192.0.2.1", "account:adam", "account:adam 192.0.2.1")
    for subject in subjects:
        await throttle.spend_call(database, budget=budget(Allowance(subject, 3)), now=clock.now())
    await throttle.delete_windows(database, actions=["SIGN_UP"], subject="account:ada")
    assert await spent(database) == {"account:adam": 1, "account:adam 192.0.2.1": 1}


async def test_purge_takes_windows_that_ended(database: Database, clock: FakeClock) -> None:
    """A window goes once its end is not after the given time, so many at a time."""
    now = clock.now()
    for number in range(4):
        window = HOUR + TICK if number == 3 else HOUR
        await throttle.spend_call(database, budget=budget(per_source(source=str(number)), window=window), now=now)

    async def purge() -> int:
        return await ended.purge(database, what=Ended.RATE_WINDOWS, before=now + HOUR, limit=2)

    assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert await database.fetchval("select subject from rate_windows") == "source:3"
