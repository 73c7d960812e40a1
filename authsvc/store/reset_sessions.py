"""Resets of passwords that were asked for, each with a code of its own; for names, as `codes` are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import Lane, Medium, UsernameKey
from authsvc.store.db import Executor, find_one


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetSession:
    """Hold one of them; `lane` is where it was asked for."""

    digest: bytes
    username_key: UsernameKey
    purpose: str
    code_digest: bytes
    medium: Medium
    lane: Lane
    expires_at: datetime


INSERT = """
insert into reset_sessions (digest, username_key, purpose, code_digest, medium, lane, expires_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""


async def insert(executor: Executor, *, session: ResetSession) -> None:
    """Store one, after the row of its code."""
    await executor.execute(
        INSERT,
        session.digest,
        session.username_key,
        session.purpose,
        session.code_digest,
        session.medium,
        session.lane,
        session.expires_at,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold which one a handle is of."""

    digest: bytes
    purpose: str
    lane: Lane


FIND_LIVE = """
select digest, purpose, lane
  from reset_sessions
 where digest = any($1::bytea[])
   and username_key = $2
   and expires_at > $3
   and wrong < $4
"""


async def find_live(
    executor: Executor, *, digests: list[bytes], username_key: UsernameKey, now: datetime, max_wrong: int
) -> Asked | None:
    """Find one that can still be answered, of this name."""
    return await find_one(executor, Asked, FIND_LIVE, digests, username_key, now, max_wrong)


SPEND_TRY = """
update reset_sessions
   set wrong = wrong + 1
 where digest = $1
   and expires_at > $3
   and wrong < $4
returning code_digest = any($2::bytea[]) as is_right
"""


async def spend_try(
    executor: Executor, *, digest: bytes, code_digests: list[bytes], now: datetime, max_wrong: int
) -> bool | None:
    """Count one try and compare its code, in one statement; None if it can't be answered any more."""
    is_right: bool | None = await executor.fetchval(SPEND_TRY, digest, code_digests, now, max_wrong)
    return is_right


FORGIVE = "update reset_sessions set wrong = 0 where digest = $1"


async def forgive(executor: Executor, *, digest: bytes) -> None:
    """Forget the wrong tries of one whose code was right."""
    await executor.execute(FORGIVE, digest)


CONSUME = "delete from reset_sessions where digest = $1 and expires_at > $2 returning medium"


async def consume(executor: Executor, *, digest: bytes, now: datetime) -> Medium | None:
    """Use one up and return what carried its code; None if another call did, or it has ended."""
    medium: str | None = await executor.fetchval(CONSUME, digest, now)
    return None if medium is None else Medium(medium)
