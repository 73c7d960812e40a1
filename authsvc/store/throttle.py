"""Counters of failures and calls. Each spend is one statement, committed on its own before the work it guards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.domain import UsernameKey
from authsvc.store.db import Executor, affected, find_one, wrote_one


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
"""


async def spend_failure(
    executor: Executor, *, username_key: UsernameKey, factor: str, now: datetime, bounds: FailureBounds
) -> bool:
    """Count a failure in advance; False, and nothing counted, while the factor is locked or closed."""
    return await wrote_one(
        executor, SPEND_FAILURE, username_key, factor, now, bounds.lock_from, bounds.lock_max, bounds.close_at
    )


@dataclass(frozen=True, slots=True)
class Lock:
    """Hold how a factor stands."""

    count: int
    locked_until: datetime


FIND_LOCK = "select count, locked_until from failures where username_key = $1 and factor = $2"


async def find_lock(executor: Executor, *, username_key: UsernameKey, factor: str) -> Lock | None:
    """Find the count of failures in a row and the end of the present lock."""
    return await find_one(executor, Lock, FIND_LOCK, username_key, factor)


RESET_FAILURES = "delete from failures where username_key = $1 and factor = any($2::text[])"


async def reset_failures(executor: Executor, *, username_key: UsernameKey, factors: list[str]) -> None:
    """Forget the failures of some factors of one account."""
    await executor.execute(RESET_FAILURES, username_key, factors)


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


async def refund_failure(executor: Executor, *, username_key: UsernameKey, factor: str, now: datetime) -> None:
    """Take one failure back that was counted in advance, with the lock that it set."""
    await executor.execute(REFUND_FAILURE, username_key, factor, now)


PURGE_FAILURES = """
delete from failures
 where (username_key, factor) in (
     select username_key, factor from failures where updated_at <= $1 and count < $2 limit $3 for update skip locked
 )
"""


async def purge_failures(executor: Executor, *, updated_before: datetime, count_below: int, limit: int) -> int:
    """Delete counters below `count_below` that nothing was added to since `updated_before`."""
    return affected(await executor.execute(PURGE_FAILURES, updated_before, count_below, limit))


@dataclass(frozen=True, slots=True)
class Allowance:
    """Allow `allowed` calls of `action` by `subject` in a `window` that begins with the first of them."""

    action: str
    subject: str
    allowed: int
    window: timedelta


SPEND_CALL = """
insert into rate_windows as w (action, subject, spent, ends_at)
values ($1, $2, 1, $4::timestamptz + $5::interval)
on conflict (action, subject) do update
   set spent = case when w.ends_at <= $4::timestamptz then 1 else w.spent + 1 end,
       ends_at = case when w.ends_at <= $4::timestamptz then excluded.ends_at else w.ends_at end
 where w.ends_at <= $4::timestamptz
    or w.spent < $3::int
"""


async def spend_call(executor: Executor, *, allowance: Allowance, now: datetime) -> bool:
    """Count one call; False, and nothing counted, if the allowance is used up."""
    return await wrote_one(
        executor, SPEND_CALL, allowance.action, allowance.subject, allowance.allowed, now, allowance.window
    )


FIND_WINDOW_END = "select ends_at from rate_windows where action = $1 and subject = $2"


async def find_window_end(executor: Executor, *, allowance: Allowance) -> datetime | None:
    """Find when the present window of an allowance ends."""
    end: datetime | None = await executor.fetchval(FIND_WINDOW_END, allowance.action, allowance.subject)
    return end


DELETE_WINDOWS = "delete from rate_windows where action = any($1::text[]) and subject = $2"


async def delete_windows(executor: Executor, *, actions: list[str], subject: str) -> None:
    """Forget the calls of some actions by one subject."""
    await executor.execute(DELETE_WINDOWS, actions, subject)
