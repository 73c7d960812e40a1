"""The outbox as operators see it: never what a mail says, nor to whom."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from authsvc.domain import MailEntry, MailId, MailState, Medium
from authsvc.store.db import Executor, wrote_one

LIST_LATEST = """
select mail_id, kind, medium, state, created_at, not_before, expires_at, finished_at, attempts, last_error
  from outbox
 where ($1::text is null or state = $1)
   and ($2::timestamptz is null or (created_at, mail_id) < ($2, $3::uuid))
 order by created_at desc, mail_id desc
 limit $4
"""


async def list_latest(
    executor: Executor, *, state: MailState | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[MailEntry]:
    """List mails, latest first, that were enqueued before `before`."""
    rows = await executor.fetch(LIST_LATEST, state, *(before or (None, None)), limit)
    return [
        MailEntry(**(dict(row) | {"medium": Medium(row["medium"]), "state": MailState(row["state"])})) for row in rows
    ]


# A mail that a worker holds is on its way now; whatever the worker says of it decides when it is tried again.
HURRY = """
with hurried as (
    update outbox
       set not_before = least(not_before, $2)
     where mail_id = $1
       and state = 'QUEUED'
       and (expires_at is null or expires_at > $2)
    returning mail_id
)
select pg_notify('authsvc_outbox', '')
  from hurried
"""


async def hurry(executor: Executor, *, mail_id: MailId, now: datetime) -> bool:
    """Let a waiting mail be due now, and wake the workers; False if there is none, or its time has passed."""
    return await wrote_one(executor, HURRY, mail_id, now)
