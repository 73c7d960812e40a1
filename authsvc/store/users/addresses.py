"""Addresses and numbers of accounts, and those that wait for their code. The user's row is held throughout."""

from __future__ import annotations

from datetime import datetime

from authsvc.domain import EmailKey, Medium, User, UserId
from authsvc.store.db import Executor, write_unique, wrote_one

SET_PENDING_EMAIL = "update users set pending_email = $2, pending_email_key = $3 where user_id = $1"


async def set_pending_email(
    executor: Executor, *, user_id: UserId, email: str | None, email_key: EmailKey | None
) -> None:
    """Have an address wait for its code, in place of one that waited; None: no address waits any more."""
    await executor.execute(SET_PENDING_EMAIL, user_id, email, email_key)


SET_PENDING_PHONE = "update users set pending_phone_number = $2 where user_id = $1"


async def set_pending_phone(executor: Executor, *, user_id: UserId, phone_number: str | None) -> None:
    """Have a number wait for its code, in place of one that waited; None: no number waits any more."""
    await executor.execute(SET_PENDING_PHONE, user_id, phone_number)


CONFIRM_EMAIL = """
update users u
   set email = $2, email_key = $3, email_verified_at = $4, pending_email = null, pending_email_key = null,
       updated_at = $4
 where u.user_id = $1
   and coalesce(u.pending_email, case when u.email_verified_at is null then u.email end) = $2
   and not exists (
       select from users other
        where other.email_key = $3
          and other.email_verified_at is not null
          and other.user_id <> u.user_id
   )
"""


async def confirm_email(executor: Executor, *, user_id: UserId, email: str, email_key: EmailKey, now: datetime) -> bool:
    """Put the address into use that waited for its code; False if it does not, or another account has verified it.

    The transaction is lost if another account gets the address at this very moment.
    """
    return await write_unique(executor, CONFIRM_EMAIL, user_id, email, email_key, now)


CONFIRM_PHONE = """
update users
   set attributes = attributes || jsonb_build_object('phone_number', $2::text), phone_verified_at = $3,
       pending_phone_number = null, updated_at = $3
 where user_id = $1
   and coalesce(pending_phone_number, case when phone_verified_at is null then attributes ->> 'phone_number' end) = $2
"""


async def confirm_phone(executor: Executor, *, user_id: UserId, phone_number: str, now: datetime) -> bool:
    """Put the number into use that waited for its code; False if it does not."""
    return await wrote_one(executor, CONFIRM_PHONE, user_id, phone_number, now)


SET_UNVERIFIED_PHONE = """
update users
   set attributes = attributes || jsonb_build_object('phone_number', $2::text), pending_phone_number = null,
       phone_verified_at = case when attributes ->> 'phone_number' = $2 then phone_verified_at end, updated_at = $3
 where user_id = $1
"""


async def set_unverified_phone(executor: Executor, *, user_id: UserId, phone_number: str, now: datetime) -> None:
    """Put a number into use without a code."""
    await executor.execute(SET_UNVERIFIED_PHONE, user_id, phone_number, now)


REMOVE_EMAIL = """
update users
   set email = null, email_key = null, email_verified_at = null, pending_email = null, pending_email_key = null,
       updated_at = $2
 where user_id = $1
"""


async def remove_email(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Remove the address, and one that waits."""
    await executor.execute(REMOVE_EMAIL, user_id, now)


REMOVE_PHONE = """
update users
   set attributes = attributes - 'phone_number', phone_verified_at = null, pending_phone_number = null,
       updated_at = $2
 where user_id = $1
"""


async def remove_phone(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Remove the number, and one that waits."""
    await executor.execute(REMOVE_PHONE, user_id, now)


VERIFY = {
    Medium.EMAIL: """
update users u
   set email_verified_at = coalesce(u.email_verified_at, $2)
 where u.user_id = $1
   and (u.email_verified_at is not null or not exists (
       select from users other
        where other.email_key = u.email_key
          and other.email_verified_at is not null
   ))
""",
    Medium.SMS: "update users set phone_verified_at = coalesce(phone_verified_at, $2) where user_id = $1",
}


async def verify(executor: Executor, *, user_id: UserId, medium: Medium, now: datetime) -> bool:
    """Note that the address, or number, has just been proved; False if another account has verified the address.

    The transaction is lost if another account gets the address at this very moment.
    """
    return await write_unique(executor, VERIFY[medium], user_id, now)


SET_VERIFIED = "update users set email_verified_at = $2, phone_verified_at = $3 where user_id = $1"


async def set_verified(
    executor: Executor, *, user_id: UserId, email_verified_at: datetime | None, phone_verified_at: datetime | None
) -> bool:
    """Note which addresses of a new account are its user's; False if another account has verified the e-mail address.

    The transaction is lost then.
    """
    return await write_unique(executor, SET_VERIFIED, user_id, email_verified_at, phone_verified_at)


REPLACE_ATTRIBUTES = """
update users
   set email = $2,
       email_key = $3,
       email_verified_at = $4,
       attributes = $5,
       phone_verified_at = $6,
       pending_email = $7,
       pending_email_key = $8,
       pending_phone_number = $9,
       updated_at = $10
 where user_id = $1
"""


async def replace_attributes(executor: Executor, *, user: User, now: datetime) -> bool:
    """Store all attributes as `user` has them; False if another account has verified the address.

    The transaction is lost then.
    """
    return await write_unique(
        executor,
        REPLACE_ATTRIBUTES,
        user.user_id,
        user.email,
        user.email_key,
        user.email_verified_at,
        user.attributes,
        user.phone_verified_at,
        user.pending_email,
        user.pending_email_key,
        user.pending_phone_number,
        now,
    )
