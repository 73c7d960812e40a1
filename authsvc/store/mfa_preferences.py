"""Which second factors users have enabled, and which one they prefer."""

from __future__ import annotations

from authsvc.domain import UserId
from authsvc.store.db import Executor

SET = """
update users
   set totp_mfa = $2, sms_mfa = $3, email_mfa = $4, preferred_mfa = $5
 where user_id = $1
"""


async def set_all(
    executor: Executor, *, user_id: UserId, totp: bool, sms: bool, email: bool, preferred: str | None
) -> None:
    """Store what is enabled and preferred, in a transaction that holds the user's row."""
    await executor.execute(SET, user_id, totp, sms, email, preferred)
