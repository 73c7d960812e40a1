"""Passwords of accounts, as hashes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import UserId, UsernameKey
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class Credential:
    """Hold what a password is verified against, and when it ends if it is a temporary one.

    An account that was imported without a password has no hash, and needs a reset.
    """

    user_id: UserId
    hash: str | None
    expires_at: datetime | None


INSERT = """
insert into passwords (user_id, hash, changed_at)
values ($1, $2, $3)
"""


async def insert(executor: Executor, *, user_id: UserId, hash_: str, now: datetime) -> None:
    """Give a new account its password."""
    await executor.execute(INSERT, user_id, hash_, now)


REPLACE = """
insert into passwords (user_id, hash, changed_at, recovered_by)
values ($1, $2, $3, $4)
on conflict (user_id) do update
   set hash = excluded.hash,
       changed_at = excluded.changed_at,
       recovered_by = excluded.recovered_by,
       expires_at = null
"""


async def replace(
    executor: Executor, *, user_id: UserId, hash_: str, now: datetime, recovered_by: str | None = None
) -> None:
    """Replace the password for good, if there was one; `recovered_by` is the medium over which it was recovered."""
    await executor.execute(REPLACE, user_id, hash_, now, recovered_by)


CHOOSE = """
update passwords
   set hash = $2, changed_at = $3, expires_at = null
 where user_id = $1
"""


async def choose(executor: Executor, *, user_id: UserId, hash_: str, now: datetime) -> None:
    """Replace a temporary password for good; over what medium it came, if over one, stays noted."""
    await executor.execute(CHOOSE, user_id, hash_, now)


SETTLE = """
update passwords
   set recovered_by = null
 where user_id = $1
   and recovered_by is not null
"""


async def settle(executor: Executor, *, user_id: UserId) -> None:
    """Note that the account's owner has proved a factor beside the password, however it was recovered."""
    await executor.execute(SETTLE, user_id)


REHASH = """
update passwords
   set hash = $3
 where user_id = $1
   and hash = $2
"""


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
    row = await executor.fetchrow(FIND, username_key)
    return None if row is None else Credential(**row)


HAS_HASH = """
select exists (
    select from passwords
     where user_id = $1
       and hash = $2
)
"""


async def has_hash(executor: Executor, *, user_id: UserId, hash_: str) -> bool:
    """Tell whether the account's password hash is still `hash_`."""
    return bool(await executor.fetchval(HAS_HASH, user_id, hash_))
