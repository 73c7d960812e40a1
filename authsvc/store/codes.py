"""Codes sent by mail, for names rather than accounts: a name that does not exist has a row like one that does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import Medium, UsernameKey
from authsvc.store.db import Executor, find_one

# Ten replaced codes are remembered, to be answered as expired.
ISSUE = """
insert into codes as c (username_key, purpose, digest, created_at, expires_at, medium)
values ($1, $2, $3, $4, $5, $6)
on conflict (username_key, purpose) do update
   set digest = excluded.digest,
       superseded = (c.digest || c.superseded)[:10],
       wrong = 0,
       created_at = excluded.created_at,
       expires_at = excluded.expires_at,
       medium = excluded.medium
"""


async def issue(
    executor: Executor,
    *,
    username_key: UsernameKey,
    purpose: str,
    digest: bytes,
    now: datetime,
    expires_at: datetime,
    medium: Medium,
) -> None:
    """Store a new code, which replaces the former one and its count of wrong tries."""
    await executor.execute(ISSUE, username_key, purpose, digest, now, expires_at, medium)


@dataclass(frozen=True, slots=True)
class Try:
    """Hold the outcome of one counted try: the current code, a former one, or neither."""

    is_right: bool
    is_superseded: bool


SPEND_TRY = """
update codes
   set wrong = wrong + 1
 where username_key = $1
   and purpose = $2
   and expires_at > $4
   and wrong < $5
returning digest = any($3::bytea[]) as is_right, superseded && $3::bytea[] as is_superseded
"""


async def spend_try(
    executor: Executor, *, username_key: UsernameKey, purpose: str, digests: list[bytes], now: datetime, max_wrong: int
) -> Try | None:
    """Count one try against a live code and compare it, in one statement; None if there is no live code."""
    return await find_one(executor, Try, SPEND_TRY, username_key, purpose, digests, now, max_wrong)


FORGIVE = """
update codes
   set wrong = 0
 where username_key = $1
   and purpose = $2
   and digest = any($3::bytea[])
"""


async def forgive(executor: Executor, *, username_key: UsernameKey, purpose: str, digests: list[bytes]) -> None:
    """Forget the wrong tries of a code that its owner has proved to know."""
    await executor.execute(FORGIVE, username_key, purpose, digests)


CONSUME = """
delete from codes
 where username_key = $1
   and purpose = $2
   and digest = any($3::bytea[])
   and expires_at > $4
returning medium
"""


async def consume(
    executor: Executor, *, username_key: UsernameKey, purpose: str, digests: list[bytes], now: datetime
) -> Medium | None:
    """Use a code up and return what carried it; None if another call used it up, or it was replaced or expired."""
    medium: str | None = await executor.fetchval(CONSUME, username_key, purpose, digests, now)
    return None if medium is None else Medium(medium)


@dataclass(frozen=True, slots=True)
class Latest:
    """Hold whose code it is, and for what."""

    username_key: UsernameKey
    purpose: str


FIND_LATEST = """
select username_key, purpose
  from codes
 where username_key = any($1::text[])
   and digest = any($2::bytea[])
   and expires_at > $3
   and wrong < $4
 limit 1
"""


async def find_latest(
    executor: Executor, *, username_keys: list[UsernameKey], digests: list[bytes], now: datetime, max_wrong: int
) -> Latest | None:
    """Find which live code of some names has one of these digests; nothing is counted."""
    return await find_one(executor, Latest, FIND_LATEST, username_keys, digests, now, max_wrong)


DELETE = "delete from codes where username_key = any($1::text[]) and purpose = any($2::text[])"


async def delete(executor: Executor, *, username_keys: list[UsernameKey], purposes: list[str]) -> None:
    """End the codes of some names for some purposes, and the resets that they belong to."""
    await executor.execute(DELETE, username_keys, purposes)
