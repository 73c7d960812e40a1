"""Accounts and their passwords."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from authsvc.domain import EmailKey, UserId, UsernameKey
from authsvc.store.db import Executor, affected


@dataclass(frozen=True, slots=True)
class User:
    """Hold one account, without its password."""

    user_id: UserId
    username: str
    username_key: UsernameKey
    status: str
    email: str | None
    email_key: EmailKey | None
    email_verified_at: datetime | None
    attributes: dict[str, str]
    created_at: datetime
    reserved_until: datetime | None
    disabled_at: datetime | None
    totp_mfa: bool
    sms_mfa: bool
    email_mfa: bool
    preferred_mfa: str | None
    phone_verified_at: datetime | None
    pending_email: str | None
    pending_email_key: EmailKey | None
    pending_phone_number: str | None
    updated_at: datetime | None

    @property
    def login(self) -> str:
        """Return the name that its user knows: the address, for an account that was signed up by it."""
        return self.email if self.email and self.username == str(self.user_id) else self.username

    @property
    def phone_number(self) -> str | None:
        """Return the phone number, which is one of the attributes."""
        return self.attributes.get("phone_number")


RELEASE_USERNAME = """
delete from users
 where username_key = $1
   and status = 'UNCONFIRMED'
   and reserved_until <= $2
"""

INSERT = """
insert into users (user_id, username, username_key, status, email, email_key, attributes, created_at, reserved_until,
                   sign_up_request)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict do nothing
"""


async def insert(
    executor: Executor,
    *,
    user_id: UserId,
    username: str,
    username_key: UsernameKey,
    status: str,
    email: str | None,
    email_key: EmailKey | None,
    attributes: dict[str, str],
    now: datetime,
    reserved_until: datetime | None,
    sign_up_request: bytes | None = None,
) -> bool:
    """Insert an account; a name whose reservation is over is released first.

    False if the name is taken, or the sign-up is a repeat of one by `sign_up_request`.
    """
    await executor.execute(RELEASE_USERNAME, username_key, now)
    tag = await executor.execute(
        INSERT,
        user_id,
        username,
        username_key,
        status,
        email,
        email_key,
        attributes,
        now,
        reserved_until,
        sign_up_request,
    )
    return affected(tag) == 1


FIND_BY_SIGN_UP_REQUEST = """
select user_id, username, username_key, status, email, email_key, email_verified_at, attributes, created_at,
       reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa, preferred_mfa, phone_verified_at, pending_email,
       pending_email_key, pending_phone_number, updated_at
  from users
 where sign_up_request = any($1::bytea[])
"""


async def find_by_sign_up_request(executor: Executor, *, digests: list[bytes]) -> User | None:
    """Find the account that a sign-up made, by the digests of its request id."""
    row = await executor.fetchrow(FIND_BY_SIGN_UP_REQUEST, digests)
    return None if row is None else User(**row)


FIND_KEYS_BY_EMAIL = """
select username_key
  from users
 where email_key = $1
   and (email_verified_at is not null or (not $2::boolean and status = 'UNCONFIRMED'))
 order by email_verified_at is null, created_at desc, user_id
 limit $3
"""


async def find_keys_by_email(
    executor: Executor, *, email_key: EmailKey, verified_only: bool, limit: int
) -> list[UsernameKey]:
    """Find the names of the account that has verified an address, and of those that are to confirm it, newest first."""
    return [row["username_key"] for row in await executor.fetch(FIND_KEYS_BY_EMAIL, email_key, verified_only, limit)]


RESERVE_USERNAME = """
update users
   set reserved_until = greatest(reserved_until, least($2, created_at + $3::interval))
 where username_key = $1
   and status = 'UNCONFIRMED'
"""


async def reserve_username(
    executor: Executor, *, username_key: UsernameKey, until: datetime, at_most: timedelta
) -> None:
    """Keep the name of an unconfirmed account until `until`, but not for longer than `at_most` in all."""
    await executor.execute(RESERVE_USERNAME, username_key, until, at_most)


FIND_EMAIL_OWNER = """
select user_id, username, username_key, status, email, email_key, email_verified_at, attributes, created_at,
       reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa, preferred_mfa, phone_verified_at, pending_email,
       pending_email_key, pending_phone_number, updated_at
  from users
 where email_key = $1
   and email_verified_at is not null
"""


async def find_email_owner(executor: Executor, *, email_key: EmailKey | None) -> User | None:
    """Find the account that has verified an address."""
    row = await executor.fetchrow(FIND_EMAIL_OWNER, email_key)
    return None if row is None else User(**row)


FIND = """
select user_id, username, username_key, status, email, email_key, email_verified_at, attributes, created_at,
       reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa, preferred_mfa, phone_verified_at, pending_email,
       pending_email_key, pending_phone_number, updated_at
  from users
 where username_key = $1
"""


async def find(executor: Executor, *, username_key: UsernameKey) -> User | None:
    """Find an account by the key of its name."""
    row = await executor.fetchrow(FIND, username_key)
    return None if row is None else User(**row)


FIND_ID = """
select user_id
  from users
 where username_key = $1
"""


async def find_id(executor: Executor, *, username_key: UsernameKey) -> UserId | None:
    """Find the id of an account by the key of its name."""
    found: UserId | None = await executor.fetchval(FIND_ID, username_key)
    return found


FIND_BY_ID = """
select user_id, username, username_key, status, email, email_key, email_verified_at, attributes, created_at,
       reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa, preferred_mfa, phone_verified_at, pending_email,
       pending_email_key, pending_phone_number, updated_at
  from users
 where user_id = $1
"""


async def find_by_id(executor: Executor, *, user_id: UserId) -> User | None:
    """Find an account by its id."""
    row = await executor.fetchrow(FIND_BY_ID, user_id)
    return None if row is None else User(**row)


LOCK = """
select user_id, username, username_key, status, email, email_key, email_verified_at, attributes, created_at,
       reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa, preferred_mfa, phone_verified_at, pending_email,
       pending_email_key, pending_phone_number, updated_at
  from users
 where user_id = $1
   for update
"""


async def lock(executor: Executor, *, user_id: UserId) -> User | None:
    """Find an account and hold its row until the transaction ends: what changes one account happens in a row."""
    row = await executor.fetchrow(LOCK, user_id)
    return None if row is None else User(**row)


LOCK_NAME = """
select user_id, username, username_key, status, email, email_key, email_verified_at, attributes, created_at,
       reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa, preferred_mfa, phone_verified_at, pending_email,
       pending_email_key, pending_phone_number, updated_at
  from users
 where username_key = $1
   for update
"""


async def lock_name(executor: Executor, *, username_key: UsernameKey) -> User | None:
    """Find an account by the key of its name, and hold its row like `lock`."""
    row = await executor.fetchrow(LOCK_NAME, username_key)
    return None if row is None else User(**row)


CONFIRM = """
update users u
   set status = case
           when $3::boolean and exists (
               select from users rival
                where rival.email_key = u.email_key
                  and rival.status = 'UNCONFIRMED'
                  and rival.user_id <> u.user_id
           ) then 'RESET_REQUIRED'
           else 'CONFIRMED'
       end,
       email_verified_at = $2,
       reserved_until = null
 where u.username_key = $1
   and u.status = 'UNCONFIRMED'
   and not exists (
       select from users other
        where other.email_key = u.email_key
          and other.email_verified_at is not null
          and other.user_id <> u.user_id
   )
returning u.user_id
"""


async def confirm(
    executor: Executor, *, username_key: UsernameKey, now: datetime, by_email: bool = False
) -> UserId | None:
    """Confirm an account and its address; None if it is confirmed already, or another account has the address.

    With `by_email` the account needs a new password if others are to confirm the same address.

    The transaction is lost if another account gets the address at this very moment.
    """
    try:
        user_id: UserId | None = await executor.fetchval(CONFIRM, username_key, now, by_email)
    except asyncpg.UniqueViolationError:
        return None
    return user_id


FINISH_RESET = """
update users
   set status = 'CONFIRMED'
 where user_id = $1
   and status = 'RESET_REQUIRED'
"""


async def finish_reset(executor: Executor, *, user_id: UserId) -> None:
    """Note that the password reset an operator asked for is done."""
    await executor.execute(FINISH_RESET, user_id)


FINISH_FORCED_CHANGE = """
update users
   set status = 'CONFIRMED', email = $2, email_key = $3, attributes = $4, updated_at = $5
 where user_id = $1
   and status = 'FORCE_CHANGE_PASSWORD'
"""


async def finish_forced_change(
    executor: Executor,
    *,
    user_id: UserId,
    email: str | None,
    email_key: EmailKey | None,
    attributes: dict[str, str],
    now: datetime,
) -> bool:
    """Note that the user has chosen a password and given what was missing; False if another call did."""
    return affected(await executor.execute(FINISH_FORCED_CHANGE, user_id, email, email_key, attributes, now)) == 1


PURGE_UNCONFIRMED = """
delete from users
 where user_id in (
     select user_id
       from users
      where status = 'UNCONFIRMED'
        and created_at <= $1
        and reserved_until <= $2
      limit $3
        for update skip locked
 )
"""


async def purge_unconfirmed(executor: Executor, *, created_before: datetime, now: datetime, limit: int) -> int:
    """Delete unconfirmed accounts of before `created_before` whose code has expired."""
    return affected(await executor.execute(PURGE_UNCONFIRMED, created_before, now, limit))
