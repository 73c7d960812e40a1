"""What operators change of accounts; in transactions that hold the account's row."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from authsvc.domain import EmailKey, UserId
from authsvc.store.db import Executor

SET_VERIFIED = """
update users
   set email_verified_at = $2, phone_verified_at = $3
 where user_id = $1
"""


async def set_verified(
    executor: Executor, *, user_id: UserId, email_verified_at: datetime | None, phone_verified_at: datetime | None
) -> bool:
    """Note which addresses of a new account are its user's; False if another account has verified the e-mail address.

    The transaction is lost then.
    """
    try:
        await executor.execute(SET_VERIFIED, user_id, email_verified_at, phone_verified_at)
    except asyncpg.UniqueViolationError:
        return False
    return True


PUT_PASSWORD = """
insert into passwords (user_id, hash, changed_at, expires_at, recovered_by)
values ($1, $2, $3, $4, $5)
on conflict (user_id) do update
   set hash = excluded.hash,
       changed_at = excluded.changed_at,
       expires_at = excluded.expires_at,
       recovered_by = excluded.recovered_by
"""


async def put_password(
    executor: Executor,
    *,
    user_id: UserId,
    hash_: str,
    now: datetime,
    expires_at: datetime | None,
    sent_over: str | None = None,
) -> None:
    """Give an account a password, whether it has one or not; a temporary one ends at `expires_at`.

    `sent_over` is the medium that tells it to the user: like a recovered one, it proves no more than that.
    """
    await executor.execute(PUT_PASSWORD, user_id, hash_, now, expires_at, sent_over)


END_MAILED_PASSWORD = """
update passwords
   set expires_at = $2
 where user_id = $1
   and expires_at > $2
   and recovered_by = 'EMAIL'
"""


async def end_mailed_password(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """End the temporary password of an account, if it was mailed."""
    await executor.execute(END_MAILED_PASSWORD, user_id, now)


SET_STATUS = """
update users
   set status = $2, reserved_until = null, updated_at = $3
 where user_id = $1
"""


async def set_status(executor: Executor, *, user_id: UserId, status: str, now: datetime) -> None:
    """Put an account into a state in which it keeps its name."""
    await executor.execute(SET_STATUS, user_id, status, now)


SET_DISABLED = """
update users
   set disabled_at = $2, updated_at = $3
 where user_id = $1
"""


async def set_disabled(executor: Executor, *, user_id: UserId, disabled_at: datetime | None, now: datetime) -> None:
    """Disable an account, or enable it by None."""
    await executor.execute(SET_DISABLED, user_id, disabled_at, now)


RESET_MFA = """
update users
   set totp_mfa = true, sms_mfa = false, email_mfa = false, preferred_mfa = null, updated_at = $2
 where user_id = $1
"""

DELETE_TOTP_DEVICES = """
delete from totp_devices
 where user_id = $1
"""

DELETE_RECOVERY_CODES = """
delete from recovery_codes
 where user_id = $1
"""


async def reset_mfa(executor: Executor, *, user_id: UserId, now: datetime) -> None:
    """Take an account's second factors away."""
    await executor.execute(RESET_MFA, user_id, now)
    await executor.execute(DELETE_TOTP_DEVICES, user_id)
    await executor.execute(DELETE_RECOVERY_CODES, user_id)


SET_ATTRIBUTES = """
update users
   set email = $2,
       email_key = $3,
       email_verified_at = $4,
       attributes = $5,
       phone_verified_at = $6,
       pending_email = case when $7::boolean then null else pending_email end,
       pending_email_key = case when $7::boolean then null else pending_email_key end,
       pending_phone_number = case when $8::boolean then null else pending_phone_number end,
       email_mfa = email_mfa and $2::text is not null,
       sms_mfa = sms_mfa and $5::jsonb ? 'phone_number',
       preferred_mfa = case
           when $2::text is null and preferred_mfa = 'EMAIL' then null
           when not $5::jsonb ? 'phone_number' and preferred_mfa = 'SMS' then null
           else preferred_mfa
       end,
       updated_at = $9
 where user_id = $1
"""


async def set_attributes(
    executor: Executor,
    *,
    user_id: UserId,
    email: str | None,
    email_key: EmailKey | None,
    email_verified_at: datetime | None,
    attributes: dict[str, str],
    phone_verified_at: datetime | None,
    drop_pending_email: bool,
    drop_pending_phone: bool,
    now: datetime,
) -> bool:
    """Replace all attributes; False if another account has verified the e-mail address: the transaction is lost then.

    An address or a number that is gone is no second factor any more.
    """
    try:
        await executor.execute(
            SET_ATTRIBUTES,
            user_id,
            email,
            email_key,
            email_verified_at,
            attributes,
            phone_verified_at,
            drop_pending_email,
            drop_pending_phone,
            now,
        )
    except asyncpg.UniqueViolationError:
        return False
    return True
