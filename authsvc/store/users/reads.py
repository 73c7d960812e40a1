"""Look-ups of single accounts; each is one of one index."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.domain import EmailKey, User, UserId, UsernameKey
from authsvc.store.db import Executor, find_one
from authsvc.store.users.rows import COLUMNS, user_from

_SELECT = f"""
select {COLUMNS}
  from users u
"""  # noqa: S608  # of the tree's own list of columns

FIND = _SELECT + " where u.username_key = $1"


async def find(executor: Executor, *, username_key: UsernameKey) -> User | None:
    """Find an account by the key of its name."""
    return await find_one(executor, user_from, FIND, username_key)


FIND_BY_ID = _SELECT + " where u.user_id = $1"


async def find_by_id(executor: Executor, *, user_id: UserId) -> User | None:
    """Find an account by its id."""
    return await find_one(executor, user_from, FIND_BY_ID, user_id)


FIND_ID = "select user_id from users where username_key = $1"


async def find_id(executor: Executor, *, username_key: UsernameKey) -> UserId | None:
    """Find the id of an account by the key of its name."""
    found: UserId | None = await executor.fetchval(FIND_ID, username_key)
    return found


FIND_BY_SIGN_UP_REQUEST = _SELECT + " where u.sign_up_request = any($1::bytea[])"


async def find_by_sign_up_request(executor: Executor, *, digests: list[bytes]) -> User | None:
    """Find the account that a sign-up made, by the digests of its request id."""
    return await find_one(executor, user_from, FIND_BY_SIGN_UP_REQUEST, digests)


FIND_EMAIL_OWNER = _SELECT + " where u.email_key = $1 and u.email_verified_at is not null"


async def find_email_owner(executor: Executor, *, email_key: EmailKey | None) -> User | None:
    """Find the account that has verified an address."""
    return await find_one(executor, user_from, FIND_EMAIL_OWNER, email_key)


@dataclass(frozen=True, slots=True)
class Claim:
    """Hold the name of an account that has an address, and whether it has verified it."""

    username_key: UsernameKey
    is_verified: bool


FIND_CLAIMS = """
select username_key, email_verified_at is not null as is_verified
  from users
 where email_key = $1
   and (email_verified_at is not null or status = 'UNCONFIRMED')
 order by email_verified_at is null, created_at desc, user_id
 limit $2
"""


async def find_claims(executor: Executor, *, email_key: EmailKey, limit: int) -> list[Claim]:
    """Find the account that has verified an address, and those that are to confirm it, newest first."""
    return [Claim(**row) for row in await executor.fetch(FIND_CLAIMS, email_key, limit)]


LOCK = _SELECT + " where u.user_id = $1 for update"


async def lock(executor: Executor, *, user_id: UserId) -> User | None:
    """Find an account and hold its row until the transaction ends: what changes one account happens in a row."""
    return await find_one(executor, user_from, LOCK, user_id)


LOCK_NAME = _SELECT + " where u.username_key = $1 for update"


async def lock_name(executor: Executor, *, username_key: UsernameKey) -> User | None:
    """Find an account by the key of its name, and hold its row like `lock`."""
    return await find_one(executor, user_from, LOCK_NAME, username_key)
