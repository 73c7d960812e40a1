"""Counters of failures and calls. Each spend is one statement, committed on its own before the work it guards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.domain import Lane, UsernameKey
from authsvc.store.db import Executor, affected, find_one


@dataclass(frozen=True, slots=True)
class FailureKey:
    """Name what failures are counted for: a name, a factor, and the lane that the tries come in."""

    username_key: UsernameKey
    factor: str
    lane: Lane

    @property
    def counted(self) -> str:
        """Return factor and lane as they are stored; of strangers the factor alone, as before there were lanes."""
        return f"{self.factor} {self.lane}" if self.lane else self.factor


@dataclass(frozen=True, slots=True)
class FailureBounds:
    """Hold from which failure on a factor is locked, for how long at most, and at which it is closed, if at any."""

    lock_from: int
    lock_max: timedelta
    close_at: int | None


# Count n locks for 2^(n - lock_from) seconds from lock_from on, at most lock_max. The exponent is bounded, not only the
# result: 2^1000 s is no interval. Below lock_from there is no lock, not one that ends now: calls at once, and replicas
# whose clocks differ, come with a `now` a little before that.
SPEND_FAILURE = """
insert into failures as f (username_key, factor, count, locked_until, updated_at)
values ($1, $2, 1, timestamptz 'epoch', $3)
on conflict (username_key, factor) do update
   set count = f.count + 1,
       locked_until = case
           when f.count + 1 < $4::int then f.locked_until
           else $3 + least(make_interval(secs => power(2, least(f.count + 1 - $4::int, 30))), $5::interval)
       end,
       updated_at = $3
 where f.locked_until <= $3
   and ($6::int is null or f.count < $6::int)
returning count
"""


async def spend_failure(executor: Executor, *, key: FailureKey, now: datetime, bounds: FailureBounds) -> int | None:
    """Count a failure in advance and return which in a row it is; None, and nothing counted, while locked or closed."""
    count: int | None = await executor.fetchval(
        SPEND_FAILURE, key.username_key, key.counted, now, bounds.lock_from, bounds.lock_max, bounds.close_at
    )
    return count


@dataclass(frozen=True, slots=True)
class Lock:
    """Hold how a factor stands."""

    count: int
    locked_until: datetime


FIND_LOCK = "select count, locked_until from failures where username_key = $1 and factor = $2"


async def find_lock(executor: Executor, *, key: FailureKey) -> Lock | None:
    """Find the count of failures in a row and the end of the present lock."""
    return await find_one(executor, Lock, FIND_LOCK, key.username_key, key.counted)


RESET_FAILURES = "delete from failures where username_key = $1 and factor = $2"


async def reset_failures(executor: Executor, *, key: FailureKey) -> None:
    """Forget the failures of a factor of one account in one lane."""
    await executor.execute(RESET_FAILURES, key.username_key, key.counted)


RESET_FACTORS = """
delete from failures
 where username_key = any($1::text[])
   and split_part(factor, ' ', 1) = any($2::text[])
"""


async def reset_factors(executor: Executor, *, username_keys: list[UsernameKey], factors: list[str]) -> None:
    """Forget the failures of some factors in all lanes."""
    await executor.execute(RESET_FACTORS, username_keys, factors)


RESET_ALL_FAILURES = "delete from failures where username_key = $1"


async def reset_all_failures(executor: Executor, *, username_key: UsernameKey) -> None:
    """Forget all failures of one account."""
    await executor.execute(RESET_ALL_FAILURES, username_key)


# The lock that ends was set by the try itself: none is counted while one holds.
REFUND_FAILURE = """
update failures
   set count = count - 1, locked_until = timestamptz 'epoch', updated_at = $3
 where username_key = $1
   and factor = $2
   and count > 0
"""


async def refund_failure(executor: Executor, *, key: FailureKey, now: datetime) -> None:
    """Take one failure back that was counted in advance, with the lock that it set."""
    await executor.execute(REFUND_FAILURE, key.username_key, key.counted, now)


PURGE_FAILURES = """
delete from failures
 where (username_key, factor) in (
     select username_key, factor from failures where updated_at <= $1 and count < $2 limit $3 for update skip locked
 )
"""


async def purge_failures(executor: Executor, *, updated_before: datetime, count_below: int, limit: int) -> int:
    """Delete counters below `count_below` that nothing was added to since `updated_before`."""
    return affected(await executor.execute(PURGE_FAILURES, updated_before, count_below, limit))


# A lane's digest is the last part of its name; that of a session is none that is known.
PURGE_LANE_FAILURES = """
delete from failures
 where (username_key, factor) in (
     select username_key, factor
       from failures f
      where updated_at <= $1
        and factor like '% %'
        and not exists (select from known_lanes k where k.digest = decode(split_part(f.factor, ':', 2), 'hex'))
      limit $2
        for update skip locked
 )
"""


async def purge_lane_failures(executor: Executor, *, updated_before: datetime, limit: int) -> int:
    """Delete counters of lanes that are no more, closed ones too, that nothing was added to since `updated_before`."""
    return affected(await executor.execute(PURGE_LANE_FAILURES, updated_before, limit))


@dataclass(frozen=True, slots=True)
class Allowance:
    """Allow `allowed` calls by `subject` in a window that begins with the first of them."""

    subject: str
    allowed: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Hold what a call of `action` is counted against, one after the other: each only if those before had room.

    At most four, each of another subject; `window` is that of all.
    """

    action: str
    window: timedelta
    allowances: tuple[Allowance, ...]


# The n-th of the allowances: counted if the one before was, which a statement sees by the row that it returned.
_LEVEL = """
level_{n} as (
    insert into rate_windows as w (action, subject, spent, ends_at)
    select $1, ($2::text[])[{n}], 1, $4::timestamptz + $5::interval
      from {before}
     where ($2::text[])[{n}] is not null
    on conflict (action, subject) do update
       set spent = case when w.ends_at <= $4::timestamptz then 1 else w.spent + 1 end,
           ends_at = case when w.ends_at <= $4::timestamptz then excluded.ends_at else w.ends_at end
     where w.ends_at <= $4::timestamptz
        or w.spent < ($3::int[])[{n}]
    returning 1
)"""
LEVELS = 4
_BEFORE = ("(values (1)) as start (one)", *(f"level_{n}" for n in range(1, LEVELS)))
SPEND_CALL = f"""
with {",".join(_LEVEL.format(n=n, before=before) for n, before in enumerate(_BEFORE, start=1))}
select {" + ".join(f"(select count(*) from level_{n})" for n in range(1, LEVELS + 1))} as counted
"""  # noqa: S608  # of the constants above


async def spend_call(executor: Executor, *, budget: Budget, now: datetime) -> int:
    """Count one call against each allowance in turn; return how many counted it: all, or those before a full one."""
    counted: int = await executor.fetchval(
        SPEND_CALL,
        budget.action,
        [allowance.subject for allowance in budget.allowances],
        [allowance.allowed for allowance in budget.allowances],
        now,
        budget.window,
    )
    return counted


FIND_WINDOW_END = "select ends_at from rate_windows where action = $1 and subject = $2"


async def find_window_end(executor: Executor, *, action: str, subject: str) -> datetime | None:
    """Find when the present window of a subject ends."""
    end: datetime | None = await executor.fetchval(FIND_WINDOW_END, action, subject)
    return end


DELETE_WINDOWS = """
delete from rate_windows
 where action = any($1::text[])
   and (subject = $2 or starts_with(subject, $2 || ' '))
"""


async def delete_windows(executor: Executor, *, actions: list[str], subject: str) -> None:
    """Forget the calls of some actions by one subject, and by what is named after it with a space between."""
    await executor.execute(DELETE_WINDOWS, actions, subject)
