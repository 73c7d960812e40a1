"""The outbox: messages on their way out, from the transaction that owes them to the worker that sends them.

A mail here is a message over any medium. A worker holds a mail by its lease. Every claim raises `attempts`, which so
names the lease: what a worker says about a mail counts only as long as nobody has claimed the mail since.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from authsvc.domain import MailId, MailState, Medium, UserId
from authsvc.store.db import Database, Executor, affected, wrote_one

# INSERT names it too.
CHANNEL = "authsvc_outbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMail:
    """Hold a mail for the queue; without parameters it is stored as dropped."""

    mail_id: MailId
    user_id: UserId | None = None
    kind: str
    medium: Medium
    sealed_parameters: bytes | None
    supersede_key: str | None
    expires_at: datetime | None


INSERT = """
with inserted as (
    insert into outbox (
        mail_id, kind, medium, sealed_parameters, supersede_key, state, created_at, not_before, expires_at, finished_at,
        user_id
    )
    values (
        $1, $2, $3, $4, $5,
        case when $4::bytea is null then 'DROPPED' else 'QUEUED' end,
        $6, $6, $7,
        case when $4::bytea is null then $6::timestamptz end,
        $8
    )
    returning mail_id
)
select pg_notify('authsvc_outbox', '')
  from inserted
"""


async def insert(executor: Executor, *, mail: NewMail, now: datetime) -> None:
    """Put a mail into the queue and wake the workers.

    One that is dropped costs the same, so that a name which doesn't exist takes as long as one that does.
    """
    await executor.execute(
        INSERT,
        mail.mail_id,
        mail.kind,
        mail.medium,
        mail.sealed_parameters,
        mail.supersede_key,
        now,
        mail.expires_at,
        mail.user_id,
    )


SUPERSEDE = """
update outbox
   set state = 'DROPPED',
       sealed_parameters = null,
       leased_until = null,
       finished_at = $2
 where supersede_key = $1
   and state = 'QUEUED'
"""


async def supersede(executor: Executor, *, supersede_key: str, now: datetime) -> int:
    """Drop the mails that still wait under the key, and return how many did.

    Two callers at once don't see each other's new mail: whoever needs the last one alone takes a lock on what the key
    stands for first.
    """
    return affected(await executor.execute(SUPERSEDE, supersede_key, now))


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """Hold a mail under this worker's lease; `attempts` counts this try."""

    mail_id: MailId
    kind: str
    medium: Medium
    sealed_parameters: bytes
    attempts: int
    created_at: datetime
    expires_at: datetime | None
    leased_until: datetime


# Materialized: inlined into the update, the selection might run more than once and lock more than its limit.
CLAIM = """
with due as materialized (
    select mail_id
      from outbox
     where state = 'QUEUED'
       and medium = $4
       and not_before <= $1
       and (leased_until is null or leased_until <= $1)
       and (expires_at is null or expires_at > $1)
     order by not_before
     limit $3
       for update skip locked
)
update outbox
   set attempts = outbox.attempts + 1,
       leased_until = $2
  from due
 where outbox.mail_id = due.mail_id
returning outbox.mail_id, outbox.kind, outbox.medium, outbox.sealed_parameters, outbox.attempts,
          outbox.created_at, outbox.expires_at, outbox.leased_until
"""


async def claim(
    executor: Executor, *, medium: Medium, now: datetime, leased_until: datetime, limit: int
) -> list[ClaimedMail]:
    """Lease up to `limit` mails of a medium that are due, longest due first; a lease that is over counts as none."""
    rows = await executor.fetch(CLAIM, now, leased_until, limit, medium)
    return [ClaimedMail(**(dict(row) | {"medium": Medium(row["medium"])})) for row in rows]


IS_WANTED = """
select exists (
    select 1
      from outbox
     where mail_id = $1
       and attempts = $2
       and state = 'QUEUED'
       and leased_until > $4
       and (expires_at is null or expires_at > $3)
)
"""


async def is_wanted(
    executor: Executor, *, mail_id: MailId, attempts: int, now: datetime, leased_until: datetime
) -> bool:
    """Tell whether a claimed mail may still be sent: not superseded, not expired, and ours until `leased_until`."""
    return bool(await executor.fetchval(IS_WANTED, mail_id, attempts, now, leased_until))


FINISH = """
update outbox
   set state = $3,
       last_error = $4,
       sealed_parameters = null,
       leased_until = null,
       finished_at = $5
 where mail_id = $1
   and attempts = $2
   and state = 'QUEUED'
"""


async def finish(
    executor: Executor, *, mail_id: MailId, attempts: int, state: MailState, last_error: str | None, now: datetime
) -> bool:
    """End a mail and wipe its parameters; False if the lease was lost or the mail has an end already."""
    return await wrote_one(executor, FINISH, mail_id, attempts, state, last_error, now)


RETRY = """
update outbox
   set not_before = $3,
       last_error = $4,
       leased_until = null
 where mail_id = $1
   and attempts = $2
   and state = 'QUEUED'
"""


async def retry(executor: Executor, *, mail_id: MailId, attempts: int, not_before: datetime, last_error: str) -> bool:
    """Give a mail back for another try; False if the lease was lost or the mail has an end already."""
    return await wrote_one(executor, RETRY, mail_id, attempts, not_before, last_error)


@dataclass(frozen=True, slots=True)
class ExpiredMail:
    """Name a mail that was not sent in time, after so many tries."""

    mail_id: MailId
    kind: str
    medium: Medium
    attempts: int


# Not the leased ones: they may be on the wire, and their worker looks at the expiry itself before it sends.
EXPIRE = """
with expired as materialized (
    select mail_id
      from outbox
     where state = 'QUEUED'
       and expires_at <= $1
       and (leased_until is null or leased_until <= $1)
     limit $2
       for update skip locked
)
update outbox
   set state = 'DEAD',
       last_error = 'expired' || coalesce(' after ' || outbox.last_error, ''),
       sealed_parameters = null,
       leased_until = null,
       finished_at = $1
  from expired
 where outbox.mail_id = expired.mail_id
returning outbox.mail_id, outbox.kind, outbox.medium, outbox.attempts
"""


async def expire(executor: Executor, *, now: datetime, limit: int) -> list[ExpiredMail]:
    """End up to `limit` mails whose time has passed, and return them."""
    rows = await executor.fetch(EXPIRE, now, limit)
    return [ExpiredMail(**(dict(row) | {"medium": Medium(row["medium"])})) for row in rows]


FIND_OLDEST_DUE = """
select min(not_before)
  from outbox
 where state = 'QUEUED'
   and medium = $2
   and not_before <= $1
"""


async def find_oldest_due(executor: Executor, *, medium: Medium, now: datetime) -> datetime | None:
    """Find since when the mail of a medium that is due longest has been waiting."""
    oldest: datetime | None = await executor.fetchval(FIND_OLDEST_DUE, now, medium)
    return oldest


DELETE_OF_USER = """
delete from outbox
 where user_id = $1
    or supersede_key = any($2::text[])
"""


async def delete_of_user(executor: Executor, *, user_id: UserId, supersede_keys: list[str]) -> int:
    """Remove a user's mail, sent or waiting, and return how much there was; a mail on the wire is not stopped."""
    return affected(await executor.execute(DELETE_OF_USER, user_id, supersede_keys))


PING = "select 1"


async def listen(database: Database, *, on_hint: Callable[[], None], ping_every: timedelta) -> None:
    """Call `on_hint` whenever mail may have come, as long as one connection lasts; a hint can get lost.

    The first call is at once: what came before this listened went unheard.

    Raises:
        DatabaseUnavailable: there is no connection, or it was lost.
    """
    lost = asyncio.Event()

    def hear(*_: Any) -> None:
        on_hint()

    def lose(*_: Any) -> None:
        lost.set()

    async with database.connection() as connection:
        connection.add_termination_listener(lose)
        try:
            await connection.add_listener(CHANNEL, hear)
            on_hint()
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ping_every.total_seconds()):
                        await lost.wait()
                # Fails on a lost connection, and finds one that a firewall dropped without a word.
                await connection.execute(PING)
        finally:
            # With a lost connection the listeners are gone as well, and a cancellation must not end as an error.
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                connection.remove_termination_listener(lose)
                await connection.remove_listener(CHANNEL, hear)
