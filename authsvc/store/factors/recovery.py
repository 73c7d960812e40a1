"""Recovery codes: single use, the row goes with its use."""

from __future__ import annotations

from datetime import datetime

from authsvc.domain import UserId
from authsvc.store.db import Executor, wrote_one

DELETE_OF_USER = "delete from recovery_codes where user_id = $1"

INSERT = """
insert into recovery_codes (digest, user_id, created_at)
select digest, $2, $3
  from unnest($1::bytea[]) as digest
"""


async def replace(executor: Executor, *, user_id: UserId, digests: list[bytes], now: datetime) -> None:
    """Store a new set of codes and delete the former one, in a transaction that holds the user's row."""
    await executor.execute(DELETE_OF_USER, user_id)
    await executor.execute(INSERT, digests, user_id, now)


CONSUME = "delete from recovery_codes where user_id = $1 and digest = any($2::bytea[])"


async def consume(executor: Executor, *, user_id: UserId, digests: list[bytes]) -> bool:
    """Use a code up; False if the account has none like it, or another call did."""
    return await wrote_one(executor, CONSUME, user_id, digests)


COUNT = "select count(*)::int from recovery_codes where user_id = $1"


async def count(executor: Executor, *, user_id: UserId) -> int:
    """Count the codes that are left."""
    return int(await executor.fetchval(COUNT, user_id))


async def delete_of_user(executor: Executor, *, user_id: UserId) -> None:
    """Remove all codes of an account."""
    await executor.execute(DELETE_OF_USER, user_id)
