"""Passwords of accounts, as hashes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import Medium, UserId, UsernameKey
from authsvc.store.db import Executor, find_one, wrote_one


@dataclass(frozen=True, slots=True)
class Credential:
    """Hold what a password is verified against, and when it ends if it is a temporary one.

    An account that was imported without a password has no hash, and needs a reset.
    """

    user_id: UserId
    hash: str | None
    expires_at: datetime | None


PUT = """
insert into passwords (user_id, hash, changed_at, expires_at, recovered_by)
values ($1, $2, $3, $4, $5)
on conflict (user_id) do update
   set hash = excluded.hash,
       changed_at = excluded.changed_at,
       expires_at = excluded.expires_at,
       recovered_by = excluded.recovered_by
"""


async def put(
    executor: Executor,
    *,
    user_id: UserId,
    hash_: str,
    now: datetime,
    expires_at: datetime | None = None,
    recovered_by: Medium | None = None,
) -> None:
    """Give an account a password, whether it has one or not; a temporary one ends at `expires_at`.

    `recovered_by` is the medium over which it was recovered, or over which it is told to the user: it proves no more.
    """
    await executor.execute(PUT, user_id, hash_, now, expires_at, recovered_by)


CHOOSE = """
update passwords
   set hash = $2, changed_at = $3, expires_at = null
 where user_id = $1
   and (expires_at is null or expires_at > $3)
"""


async def choose(executor: Executor, *, user_id: UserId, hash_: str, now: datetime) -> bool:
    """Replace a temporary password for good, unless it has ended; over what medium it came stays noted."""
    return await wrote_one(executor, CHOOSE, user_id, hash_, now)


END_MAILED = """
update passwords
   set expires_at = $2
 where user_id = $1
   and expires_at > $2
   and recovered_by = 'EMAIL'
"""


async def end_mailed(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """End the temporary password of an account, if it was mailed."""
    await executor.execute(END_MAILED, user_id, now)


SETTLE = "update passwords set recovered_by = null where user_id = $1 and recovered_by is not null"


async def settle(executor: Executor, *, user_id: UserId) -> None:
    """Note that the account's owner has proved a factor beside the password, however it was recovered."""
    await executor.execute(SETTLE, user_id)


REHASH = "update passwords set hash = $3 where user_id = $1 and hash = $2"


async def rehash(executor: Executor, *, user_id: UserId, verified: str, hash_: str) -> None:
    """Replace the hash of the same password, unless the password was changed meanwhile."""
    await executor.execute(REHASH, user_id, verified, hash_)


FIND = """
select u.user_id, p.hash, p.expires_at
  from users u
  left join passwords p on p.user_id = u.user_id
 where u.username_key = $1
"""


async def find(executor: Executor, *, username_key: UsernameKey) -> Credential | None:
    """Find what the password of a name is verified against."""
    return await find_one(executor, Credential, FIND, username_key)


HAS_HASH = """
select exists (
    select from passwords
     where user_id = $1
       and hash = $2
       and (expires_at is null or expires_at > $3)
)
"""


async def has_hash(executor: Executor, *, user_id: UserId, hash_: str, now: datetime) -> bool:
    """Tell whether the account's password hash is still `hash_`, and has not ended."""
    return bool(await executor.fetchval(HAS_HASH, user_id, hash_, now))
