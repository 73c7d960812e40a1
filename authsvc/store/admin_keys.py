"""Admin keys: their digests, and when they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.store.db import Executor, find_one, wrote_one


@dataclass(frozen=True, slots=True)
class AdminKey:
    """Hold what is known of one admin key, which is not the key itself."""

    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


INSERT = """
insert into admin_keys (name, digest, scopes, created_at, expires_at)
values ($1, $2, $3, $4, $5)
on conflict (name) do nothing
"""


async def insert(
    executor: Executor, *, name: str, digest: bytes, scopes: list[str], now: datetime, expires_at: datetime
) -> bool:
    """Store a new key; False if there is, or was, one of this name."""
    return await wrote_one(executor, INSERT, name, digest, scopes, now, expires_at)


FIND = """
select name, scopes, created_at, expires_at, last_used_at, revoked_at
  from admin_keys
 where digest = any($1::bytea[])
"""


async def find(executor: Executor, *, digests: list[bytes]) -> AdminKey | None:
    """Find a key, whether it still opens anything or not."""
    return await find_one(executor, AdminKey, FIND, digests)


TOUCH = """
update admin_keys
   set last_used_at = $2
 where name = $1
   and (last_used_at is null or last_used_at <= $3)
"""


async def touch(executor: Executor, *, name: str, now: datetime, unless_after: datetime) -> bool:
    """Note that a key was used, or tried; False if one of its uses after `unless_after` is noted."""
    return await wrote_one(executor, TOUCH, name, now, unless_after)


LIST_ALL = """
select name, scopes, created_at, expires_at, last_used_at, revoked_at
  from admin_keys
 order by created_at, name
"""


async def list_all(executor: Executor) -> list[AdminKey]:
    """List all keys, revoked and expired ones too, oldest first."""
    return [AdminKey(**row) for row in await executor.fetch(LIST_ALL)]


REVOKE = "update admin_keys set revoked_at = coalesce(revoked_at, $2) where name = $1"


async def revoke(executor: Executor, *, name: str, now: datetime) -> bool:
    """End a key for good, if it has not ended yet; False if there is none of this name."""
    return await wrote_one(executor, REVOKE, name, now)
