"""Signing keys: published from their creation, used from `active_from`, until a later one takes over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.store.db import Executor, affected, wrote_one


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """Hold one signing key; the private half is sealed."""

    kid: str
    algorithm: str
    public_jwk: dict[str, str]
    sealed_private: bytes
    created_at: datetime
    active_from: datetime
    expires_at: datetime | None = None


LIST_PUBLISHED = """
select kid, algorithm, public_jwk, sealed_private, created_at, active_from, expires_at
  from signing_keys
 where expires_at is null
    or expires_at > $1
 order by active_from desc, kid
"""


async def list_published(executor: Executor, *, now: datetime) -> list[SigningKeyRow]:
    """List the keys that verify tokens, newest first."""
    return [SigningKeyRow(**row) for row in await executor.fetch(LIST_PUBLISHED, now)]


INSERT_FIRST = """
insert into signing_keys (kid, algorithm, public_jwk, sealed_private, created_at, active_from)
select $1, $2, $3, $4, $5, $5
 where not exists (select from signing_keys where expires_at is null)
"""

INSERT = """
insert into signing_keys (kid, algorithm, public_jwk, sealed_private, created_at, active_from)
values ($1, $2, $3, $4, $5, $6)
"""

# Replicas that start at once make one first key between them; a rotation waits for them and for other rotations.
LOCK = "lock table signing_keys in share row exclusive mode"

# A key that has an end may get an earlier one: a leaked key can be one that was retired already and still signs.
RETIRE_OTHERS = """
update signing_keys
   set expires_at = $2
 where kid <> $1
   and (expires_at is null or expires_at > $2)
"""


async def insert_first(executor: Executor, *, key: SigningKeyRow) -> bool:
    """Store the first key, in a transaction; False if there is one."""
    await executor.execute(LOCK)
    return await wrote_one(
        executor, INSERT_FIRST, key.kid, key.algorithm, key.public_jwk, key.sealed_private, key.created_at
    )


async def rotate(executor: Executor, *, key: SigningKeyRow, others_expire_at: datetime) -> None:
    """Store a new key and set an end to the others, or an earlier one than they have, in a transaction."""
    await executor.execute(LOCK)
    await executor.execute(
        INSERT, key.kid, key.algorithm, key.public_jwk, key.sealed_private, key.created_at, key.active_from
    )
    await executor.execute(RETIRE_OTHERS, key.kid, others_expire_at)


PURGE = "delete from signing_keys where expires_at <= $1"


async def purge(executor: Executor, *, expired_before: datetime) -> int:
    """Delete keys that verify nothing any more."""
    return affected(await executor.execute(PURGE, expired_before))
