"""Personal data of deleted users on its way out of the audit trail.

Who deletes a user begins in the same transaction, and notes what is left for whoever tidies up: an account with very
many events is deleted in no more time than another one, and a process that dies leaves nothing behind for good.
"""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.domain import UserId
from authsvc.store.db import Executor, find_one


@dataclass(frozen=True, slots=True)
class Erasure:
    """Hold whose events are still to be erased, and up to which sequence on their chain they are."""

    user_id: UserId
    erased_until: int


FIND_NEXT = "select user_id, erased_until from erasures limit 1 for update skip locked"


async def find_next(executor: Executor) -> Erasure | None:
    """Find one that nobody works on, and hold it until the transaction ends."""
    return await find_one(executor, Erasure, FIND_NEXT)


ERASE = """
with batch as materialized (
    select chain, sequence, created_at
      from audit_events
     where user_id = $1
       and sequence > $2
     order by sequence
     limit $3
), erased as (
    update audit_events e
       set username = null, client_ip = null, client_user_agent = null, personal_salt = null
      from batch
     where e.chain = batch.chain
       and e.sequence = batch.sequence
       and e.created_at = batch.created_at
)
select max(sequence) as last, count(*) as count
  from batch
"""


async def erase(executor: Executor, *, user_id: UserId, after: int, limit: int) -> int | None:
    """Erase the personal data of up to `limit` events; return the sequence of the last, None if these were all.

    The user's row is gone, at the latest with the end of the transaction: later events have no personal data.
    """
    row = await executor.fetchrow(ERASE, user_id, after, limit)
    return None if row is None or row["count"] < limit else int(row["last"])


NOTE = """
insert into erasures (user_id, erased_until)
values ($1, $2)
on conflict (user_id) do update
   set erased_until = excluded.erased_until
"""


async def note(executor: Executor, *, user_id: UserId, erased_until: int) -> None:
    """Note that a deleted user's later events are still to be erased."""
    await executor.execute(NOTE, user_id, erased_until)


FINISH = "delete from erasures where user_id = $1"


async def finish(executor: Executor, *, user_id: UserId) -> None:
    """Note that nothing is left."""
    await executor.execute(FINISH, user_id)
