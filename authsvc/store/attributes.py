"""Attributes of accounts, and the addresses and numbers that wait for their code. The user's row is held throughout."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from authsvc.domain import EmailKey, UserId
from authsvc.store.db import Executor, affected

MERGE = """
update users
   set attributes = attributes || $2::jsonb, updated_at = $3
 where user_id = $1
"""


async def merge(executor: Executor, *, user_id: UserId, attributes: dict[str, str], now: datetime) -> None:
    """Set attributes; the others stay."""
    await executor.execute(MERGE, user_id, attributes, now)


REMOVE = """
update users
   set attributes = attributes - $2::text[], updated_at = $3
 where user_id = $1
"""


async def remove(executor: Executor, *, user_id: UserId, names: list[str], now: datetime) -> None:
    """Remove attributes that are there."""
    await executor.execute(REMOVE, user_id, names, now)


SET_PENDING_EMAIL = """
update users
   set pending_email = $2, pending_email_key = $3
 where user_id = $1
"""


async def set_pending_email(
    executor: Executor, *, user_id: UserId, email: str | None, email_key: EmailKey | None
) -> None:
    """Have an address wait for its code, in place of one that waited; None: no address waits any more."""
    await executor.execute(SET_PENDING_EMAIL, user_id, email, email_key)


SET_PENDING_PHONE = """
update users
   set pending_phone_number = $2
 where user_id = $1
"""


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
    try:
        return affected(await executor.execute(CONFIRM_EMAIL, user_id, email, email_key, now)) == 1
    except asyncpg.UniqueViolationError:
        return False


CONFIRM_PHONE = """
update users
   set attributes = attributes || jsonb_build_object('phone_number', $2::text), phone_verified_at = $3,
       pending_phone_number = null, updated_at = $3
 where user_id = $1
   and coalesce(pending_phone_number, case when phone_verified_at is null then attributes ->> 'phone_number' end) = $2
"""


async def confirm_phone(executor: Executor, *, user_id: UserId, phone_number: str, now: datetime) -> bool:
    """Put the number into use that waited for its code; False if it does not."""
    return affected(await executor.execute(CONFIRM_PHONE, user_id, phone_number, now)) == 1


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
       email_mfa = false, preferred_mfa = nullif(preferred_mfa, 'EMAIL'), updated_at = $2
 where user_id = $1
"""


async def remove_email(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Remove the address, one that waits, and what made it a second factor: the next one is none."""
    await executor.execute(REMOVE_EMAIL, user_id, now)


REMOVE_PHONE = """
update users
   set attributes = attributes - 'phone_number', phone_verified_at = null, pending_phone_number = null,
       sms_mfa = false, preferred_mfa = nullif(preferred_mfa, 'SMS'), updated_at = $2
 where user_id = $1
"""


async def remove_phone(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Remove the number, one that waits, and what made it a second factor: the next one is none."""
    await executor.execute(REMOVE_PHONE, user_id, now)
