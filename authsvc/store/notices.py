"""Notices on their way into the outbox, where those alike become one."""

from __future__ import annotations

from datetime import datetime, timedelta

from authsvc.store.db import Executor
from authsvc.store.outbox import NewMail

# A notice that waits is replaced in its place: who makes many does not keep the last of them back. Once on their
# way, or sent, notices stand, and the next one waits for the interval to be over.
INSERT_NOTICE = """
with replaced as (
    delete from outbox
     where supersede_key = $4
       and state = 'QUEUED'
       and (leased_until is null or leased_until <= $5)
    returning not_before
), latest as (
    select max(not_before) as at
      from outbox
     where supersede_key = $4
       and state <> 'DROPPED'
       and (state <> 'QUEUED' or leased_until > $5)
), inserted as (
    insert into outbox (mail_id, kind, medium, sealed_parameters, supersede_key, state, created_at, not_before, user_id,
                        is_decoy, finished_at)
    select $1, $2, $8, $3, $4, case when $9 then 'DROPPED' else 'QUEUED' end, $5,
           coalesce((select min(not_before) from replaced), greatest($5, latest.at + $6::interval), $5), $7, $9,
           case when $9 then $5::timestamptz end
      from latest
    returning mail_id
)
select pg_notify('authsvc_outbox', '')
  from inserted
"""


async def insert_notice(executor: Executor, *, notice: NewMail, now: datetime, interval: timedelta) -> None:
    """Put a notice into the queue, at most one in an interval under its key: the latest stands for those between."""
    await executor.execute(
        INSERT_NOTICE,
        notice.mail_id,
        notice.kind,
        notice.sealed_parameters,
        notice.supersede_key,
        now,
        interval,
        notice.user_id,
        notice.medium,
        notice.is_decoy,
    )
