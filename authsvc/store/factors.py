"""Second factors beside authenticators, and what their rules ask of an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from authsvc.domain import UserId
from authsvc.store.db import Executor, affected


@dataclass(frozen=True, slots=True)
class FactorState:
    """Hold how many authenticators an account has, and the medium whose code set its password."""

    authenticators: int
    recovered_by: str | None


FIND_STATE = """
select (select count(*)::int from totp_devices where user_id = $1 and verified_at is not null) as authenticators,
       (select recovered_by from passwords where user_id = $1) as recovered_by
"""


async def find_state(executor: Executor, *, user_id: UserId) -> FactorState:
    """Find what the rules of second factors ask of an account, beside its row."""
    row: Any = await executor.fetchrow(FIND_STATE, user_id)
    return FactorState(**row)


ENABLE_TOTP = """
update users
   set totp_mfa = true
 where user_id = $1
   and not totp_mfa
"""


async def enable_totp(executor: Executor, *, user_id: UserId) -> None:
    """Make authenticators a second factor, should the user have disabled them."""
    await executor.execute(ENABLE_TOTP, user_id)


ENABLE_SMS = """
update users
   set sms_mfa = true, phone_verified_at = coalesce(phone_verified_at, $2)
 where user_id = $1
"""


async def enable_sms(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Make the phone number, which has just been proved, a second factor."""
    await executor.execute(ENABLE_SMS, user_id, now)


ENABLE_EMAIL = """
update users u
   set email_mfa = true, email_verified_at = coalesce(u.email_verified_at, $2)
 where u.user_id = $1
   and (u.email_verified_at is not null or not exists (
       select from users other
        where other.email_key = u.email_key
          and other.email_verified_at is not null
   ))
"""


async def enable_email(executor: Executor, *, user_id: UserId, now: datetime) -> bool:
    """Make the address, which has just been proved, a second factor; False if another account has verified it.

    The transaction is lost if another account gets the address at this very moment.
    """
    try:
        return affected(await executor.execute(ENABLE_EMAIL, user_id, now)) == 1
    except asyncpg.UniqueViolationError:
        return False
