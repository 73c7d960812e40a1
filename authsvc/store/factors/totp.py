"""Authenticators: pending until their first code, then active with the last accepted time step."""

from __future__ import annotations

from datetime import datetime

from authsvc.domain import DeviceId, TotpDevice, UserId
from authsvc.store.db import Executor, find_one, wrote_one

INSERT_PENDING = """
insert into totp_devices (device_id, user_id, friendly_name, sealed_secret, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6)
"""


async def insert_pending(
    executor: Executor,
    *,
    device_id: DeviceId,
    user_id: UserId,
    friendly_name: str,
    sealed_secret: bytes,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store an authenticator that waits for its first code."""
    await executor.execute(INSERT_PENDING, device_id, user_id, friendly_name, sealed_secret, now, expires_at)


KEEP_NEWEST_PENDING = """
delete from totp_devices
 where device_id in (
     select device_id
       from totp_devices
      where user_id = $1
        and verified_at is null
      order by created_at desc, device_id
     offset $2
 )
"""


async def keep_newest_pending(executor: Executor, *, user_id: UserId, count: int) -> None:
    """Delete the authenticators that wait for their first code, and with them their challenge sessions, but `count`."""
    await executor.execute(KEEP_NEWEST_PENDING, user_id, count)


FIND_PENDING = """
select device_id, user_id, friendly_name, sealed_secret, verified_at, last_used_at
  from totp_devices
 where device_id = $1
   and verified_at is null
"""


async def find_pending(executor: Executor, *, device_id: DeviceId) -> TotpDevice | None:
    """Find an authenticator that waits for its first code."""
    return await find_one(executor, TotpDevice, FIND_PENDING, device_id)


LIST_ACTIVE = """
select device_id, user_id, friendly_name, sealed_secret, verified_at, last_used_at
  from totp_devices
 where user_id = $1
   and verified_at is not null
 order by verified_at, device_id
"""


async def list_active(executor: Executor, *, user_id: UserId) -> list[TotpDevice]:
    """List the account's active authenticators, oldest first."""
    return [TotpDevice(**row) for row in await executor.fetch(LIST_ACTIVE, user_id)]


COUNT_ACTIVE = "select count(*)::int from totp_devices where user_id = $1 and verified_at is not null"


async def count_active(executor: Executor, *, user_id: UserId) -> int:
    """Count the account's active authenticators."""
    return int(await executor.fetchval(COUNT_ACTIVE, user_id))


ACTIVATE = """
update totp_devices
   set verified_at = $2, last_used_at = $2, last_step = $3, expires_at = null
 where device_id = $1
   and verified_at is null
"""


async def activate(executor: Executor, *, device_id: DeviceId, step: int, now: datetime) -> bool:
    """Make a pending authenticator active; the step of its first code is used up. False if another call did."""
    return await wrote_one(executor, ACTIVATE, device_id, now, step)


CLAIM_STEP = """
update totp_devices
   set last_step = $2, last_used_at = $3
 where device_id = $1
   and verified_at is not null
   and last_step < $2
"""


async def claim_step(executor: Executor, *, device_id: DeviceId, step: int, now: datetime) -> bool:
    """Accept the code of a time step; False if it, or a later one, was accepted before (RFC 6238 §5.2)."""
    return await wrote_one(executor, CLAIM_STEP, device_id, step, now)


DELETE_ACTIVE = """
delete from totp_devices
 where device_id = $1
   and user_id = $2
   and verified_at is not null
"""


async def delete_active(executor: Executor, *, device_id: DeviceId, user_id: UserId) -> bool:
    """Remove an active authenticator of an account; False if it has no such one."""
    return await wrote_one(executor, DELETE_ACTIVE, device_id, user_id)


DELETE_OF_USER = "delete from totp_devices where user_id = $1"


async def delete_of_user(executor: Executor, *, user_id: UserId) -> None:
    """Remove all authenticators of an account, active and pending ones."""
    await executor.execute(DELETE_OF_USER, user_id)
