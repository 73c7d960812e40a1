"""Where an account's user has been before: devices and networks; `sessions.insert` adds those of finished sign-ins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import LaneKind, UserId
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class Known:
    """Hold one place that an account's user is known by."""

    digest: bytes
    kind: LaneKind


# A device before a network, and a network of a finished sign-in before one of a recovered password. By the digest
# alone: a name that nobody has costs the same.
FIND = """
select digest, kind
  from known_lanes
 where digest = any($1::bytea[])
   and expires_at > $2
 order by array_position(array['DEVICE', 'SOURCE', 'RECOVERED'], kind)
 limit 1
"""


async def find(executor: Executor, *, digests: list[bytes], now: datetime) -> Known | None:
    """Find the best of the places that have one of these digests."""
    row = await executor.fetchrow(FIND, digests, now)
    return None if row is None else Known(row["digest"], LaneKind(row["kind"]))


# A network that is known already stays what it is.
REMEMBER_RECOVERED = """
with forgotten as (
    delete from known_lanes
     where digest in (
         select digest
           from known_lanes
          where user_id = $2
            and kind <> 'DEVICE'
            and digest <> $1
          order by last_used_at desc
         offset $5::int - 1
     )
)
insert into known_lanes as k (digest, user_id, kind, last_used_at, expires_at)
values ($1, $2, 'RECOVERED', $3, $4)
on conflict (digest) do update
   set kind = case when k.expires_at > $3 then k.kind else excluded.kind end,
       last_used_at = excluded.last_used_at,
       expires_at = greatest(k.expires_at, excluded.expires_at)
"""


async def remember_recovered(
    executor: Executor, *, digest: bytes, user_id: UserId, now: datetime, expires_at: datetime, most: int
) -> None:
    """Note a network from which an account's password was recovered; of more than `most` the oldest go."""
    await executor.execute(REMEMBER_RECOVERED, digest, user_id, now, expires_at, most)
