"""Refresh tokens: single-use, each with one successor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import SessionId, UserId
from authsvc.store.db import Executor, find_one, wrote_one


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Hold a token of any age and the session it belongs to."""

    digest: bytes
    session_id: SessionId
    user_id: UserId
    used_at: datetime | None
    sealed_successor: bytes | None


FIND = """
select t.digest, t.session_id, s.user_id, t.used_at, t.sealed_successor
  from refresh_tokens t
  join sessions s on s.session_id = t.session_id
 where t.digest = any($1::bytea[])
"""


async def find(executor: Executor, *, digests: list[bytes]) -> RefreshToken | None:
    """Find a token by its digests."""
    return await find_one(executor, RefreshToken, FIND, digests)


ROTATE = """
with used as (
    update refresh_tokens
       set used_at = $2, sealed_successor = $3
     where digest = $1
       and used_at is null
    returning session_id
)
insert into refresh_tokens (digest, session_id, created_at)
select $4, session_id, $2
  from used
"""


async def rotate(
    executor: Executor, *, digest: bytes, sealed_successor: bytes, successor_digest: bytes, now: datetime
) -> bool:
    """Use a token up and store its one successor; False if another call did."""
    return await wrote_one(executor, ROTATE, digest, now, sealed_successor, successor_digest)


REPLACE_ALL = """
with used as (
    update refresh_tokens
       set used_at = coalesce(used_at, $3), sealed_successor = null
     where session_id = $1
       and (used_at is null or sealed_successor is not null)
)
insert into refresh_tokens (digest, session_id, created_at)
values ($2, $1, $3)
"""


async def replace_all(executor: Executor, *, session_id: SessionId, digest: bytes, now: datetime) -> None:
    """Use all tokens of a session up, without successors, and store one that none of them leads to."""
    await executor.execute(REPLACE_ALL, session_id, digest, now)
