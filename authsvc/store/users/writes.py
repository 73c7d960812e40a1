"""What begins, changes and ends accounts; but for addresses and numbers, and for imports."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg

from authsvc.domain import EmailKey, User, UserId, UsernameKey, UserStatus
from authsvc.store.db import Executor, affected, wrote_one

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


async def insert(executor: Executor, *, user: User, sign_up_request: bytes | None = None) -> bool:
    """Insert an account, nothing of it verified; a name whose reservation is over is released first.

    False if the name is taken, or the sign-up is a repeat of one by `sign_up_request`.
    """
    await executor.execute(RELEASE_USERNAME, user.username_key, user.created_at)
    return await wrote_one(
        executor,
        INSERT,
        user.user_id,
        user.username,
        user.username_key,
        user.status,
        user.email,
        user.email_key,
        user.attributes,
        user.created_at,
        user.reserved_until,
        sign_up_request,
    )


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


FINISH_RESET = "update users set status = 'CONFIRMED' where user_id = $1 and status = 'RESET_REQUIRED'"


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
    return await wrote_one(executor, FINISH_FORCED_CHANGE, user_id, email, email_key, attributes, now)


SET_STATUS = "update users set status = $2, reserved_until = null, updated_at = $3 where user_id = $1"


async def set_status(executor: Executor, *, user_id: UserId, status: UserStatus, now: datetime) -> None:
    """Put an account into a state in which it keeps its name."""
    await executor.execute(SET_STATUS, user_id, status, now)


SET_DISABLED = "update users set disabled_at = $2, updated_at = $3 where user_id = $1"


async def set_disabled(executor: Executor, *, user_id: UserId, disabled_at: datetime | None, now: datetime) -> None:
    """Disable an account, or enable it by None."""
    await executor.execute(SET_DISABLED, user_id, disabled_at, now)


TOUCH = "update users set updated_at = $2 where user_id = $1"


async def touch(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Note that what belongs to an account was changed."""
    await executor.execute(TOUCH, user_id, now)


MERGE_ATTRIBUTES = "update users set attributes = attributes || $2::jsonb, updated_at = $3 where user_id = $1"


async def merge_attributes(executor: Executor, *, user_id: UserId, attributes: dict[str, str], now: datetime) -> None:
    """Set attributes; the others stay. The user's row is held."""
    await executor.execute(MERGE_ATTRIBUTES, user_id, attributes, now)


REMOVE_ATTRIBUTES = "update users set attributes = attributes - $2::text[], updated_at = $3 where user_id = $1"


async def remove_attributes(executor: Executor, *, user_id: UserId, names: list[str], now: datetime) -> None:
    """Remove attributes that are there. The user's row is held."""
    await executor.execute(REMOVE_ATTRIBUTES, user_id, names, now)


DELETE = "delete from users where user_id = $1"


async def delete(executor: Executor, *, user_id: UserId) -> bool:
    """Remove an account with all that refers to its row: password, factors, sessions, sign-ins, memberships.

    False if it is gone.
    """
    return await wrote_one(executor, DELETE, user_id)


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
