"""What is sealed for long, and under which master key; the first bytes of what is sealed name the key."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from authsvc.domain import DeviceId, UserId
from authsvc.store.db import Executor, wrote_one


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """Hold the secret of an authenticator."""

    device_id: DeviceId
    user_id: UserId
    sealed: bytes


LIST_SECRETS = """
select device_id, user_id, sealed_secret as sealed
  from totp_devices
 where device_id > $1
   and substring(sealed_secret from 1 for length($2::bytea)) <> $2::bytea
 order by device_id
 limit $3
"""


async def list_secrets(executor: Executor, *, after: UUID, marker: bytes, limit: int) -> list[SealedSecret]:
    """List secrets from behind `after` on that are sealed under another key than the one whose marker is given."""
    return [SealedSecret(**row) for row in await executor.fetch(LIST_SECRETS, after, marker, limit)]


REPLACE_SECRET = "update totp_devices set sealed_secret = $3 where device_id = $1 and sealed_secret = $2"


async def replace_secret(executor: Executor, *, device_id: DeviceId, former: bytes, sealed: bytes) -> bool:
    """Replace a sealed secret; False if it is gone or was replaced by another call."""
    return await wrote_one(executor, REPLACE_SECRET, device_id, former, sealed)


LIST_KEYS = """
select kid, sealed_private as sealed
  from signing_keys
 where substring(sealed_private from 1 for length($1::bytea)) <> $1::bytea
 order by kid
"""


async def list_keys(executor: Executor, *, marker: bytes) -> dict[str, bytes]:
    """Return the signing keys, by `kid`, that are sealed under another key than the one whose marker is given."""
    return {row["kid"]: row["sealed"] for row in await executor.fetch(LIST_KEYS, marker)}


REPLACE_KEY = "update signing_keys set sealed_private = $3 where kid = $1 and sealed_private = $2"


async def replace_key(executor: Executor, *, kid: str, former: bytes, sealed: bytes) -> bool:
    """Replace a sealed signing key; False if it is gone or was replaced by another call."""
    return await wrote_one(executor, REPLACE_KEY, kid, former, sealed)


@dataclass(frozen=True, slots=True)
class Left:
    """Count what needs one master key."""

    what: str
    key_id: str
    count: int


LIST_LEFT = """
select s.what, encode(substring(s.sealed from 2 for get_byte(s.sealed, 0)), 'escape') as key_id, count(*) as count
  from (
      select 'TOTP secrets' as what, sealed_secret as sealed from totp_devices
      union all
      select 'signing keys', sealed_private from signing_keys
      union all
      select 'waiting mail', sealed_parameters from outbox where sealed_parameters is not null
      union all
      select 'sign-ins at a custom challenge', sealed_state from challenge_sessions where sealed_state is not null
  ) s
 where substring(s.sealed from 1 for length($1::bytea)) <> $1::bytea
 group by 1, 2
union all
select 'audit events', key_id, count(*)
  from audit_events
 where key_id <> $2
 group by key_id
 order by 1, 2
"""


async def list_left(executor: Executor, *, marker: bytes, key_id: str) -> list[Left]:
    """Count what needs another master key than this one."""
    return [Left(**row) for row in await executor.fetch(LIST_LEFT, marker, key_id)]
