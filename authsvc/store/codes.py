"""Codes sent by mail, for names rather than accounts: a name that does not exist has a row like one that does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import Medium, UsernameKey
from authsvc.store.db import Executor, find_one


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCode:
    """Hold a code as it is stored.

    `sent_to` is a digest of the address that it verifies, None if it verifies none or is sent to nobody.
    """

    username_key: UsernameKey
    purpose: str
    digest: bytes
    expires_at: datetime
    medium: Medium
    sent_to: bytes | None = None


# Ten replaced codes are remembered, to be answered as expired.
ISSUE = """
insert into codes as c (username_key, purpose, digest, created_at, expires_at, medium, sent_to)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (username_key, purpose) do update
   set digest = excluded.digest,
       superseded = (c.digest || c.superseded)[:10],
       wrong = 0,
       created_at = excluded.created_at,
       expires_at = excluded.expires_at,
       medium = excluded.medium,
       sent_to = excluded.sent_to
"""


async def issue(executor: Executor, *, code: NewCode, now: datetime) -> None:
    """Store a new code, which replaces the former one and its count of wrong tries."""
    await executor.execute(
        ISSUE, code.username_key, code.purpose, code.digest, now, code.expires_at, code.medium, code.sent_to
    )


FIND_ADDRESS = """
select sent_to
  from codes
 where username_key = $1
   and purpose = $2
   and expires_at > $3
   and wrong < $4
"""


async def find_address(
    executor: Executor, *, username_key: UsernameKey, purpose: str, now: datetime, max_wrong: int
) -> bytes | None:
    """Find what a live code was sent to; None if there is none, or if it went to nobody."""
    sent_to: bytes | None = await executor.fetchval(FIND_ADDRESS, username_key, purpose, now, max_wrong)
    return sent_to


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
returning medium, sent_to
"""


@dataclass(frozen=True, slots=True)
class Used:
    """Hold what carried a code, and the digest of the address that it verifies."""

    medium: Medium
    sent_to: bytes | None


async def consume(
    executor: Executor, *, username_key: UsernameKey, purpose: str, digests: list[bytes], now: datetime
) -> Used | None:
    """Use a code up and return how it came; None if another call used it up, or it was replaced or expired."""
    row = await executor.fetchrow(CONSUME, username_key, purpose, digests, now)
    return None if row is None else Used(Medium(row["medium"]), row["sent_to"])


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
