"""Whole accounts that come from elsewhere, many in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from authsvc.domain import DeviceId, EmailKey, UserId, UsernameKey
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class NewDevice:
    """Hold one active authenticator; its secret is sealed."""

    device_id: DeviceId
    friendly_name: str
    sealed_secret: bytes
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class NewUser:
    """Hold a whole account; without a hash it has no password."""

    user_id: UserId
    username: str
    username_key: UsernameKey
    status: str
    email: str | None
    email_key: EmailKey | None
    email_verified_at: datetime | None
    attributes: dict[str, str]
    phone_verified_at: datetime | None
    created_at: datetime
    updated_at: datetime | None
    reserved_until: datetime | None
    disabled_at: datetime | None
    totp_mfa: bool
    sms_mfa: bool
    email_mfa: bool
    preferred_mfa: str | None
    hash: str | None = field(repr=False)
    password_expires_at: datetime | None
    recovered_by: str | None
    devices: tuple[NewDevice, ...]
    groups: tuple[str, ...]

    @property
    def verified_key(self) -> EmailKey | None:
        """Return the key of the address if it is verified: no other account may have verified it."""
        return self.email_key if self.email_verified_at else None


@dataclass(frozen=True, slots=True)
class Taken:
    """Tell what of one account belongs to another one."""

    username: bool
    email: bool
    user_id: bool


FIND_TAKEN = """
select exists (
           select from users u
            where u.username_key = r.username_key
              and not (u.status = 'UNCONFIRMED' and u.reserved_until <= $4)
       ) as username,
       exists (select from users u where u.email_key = r.email_key and u.email_verified_at is not null) as email,
       exists (select from users u where u.user_id = r.user_id) as user_id
  from unnest($1::text[], $2::text[], $3::uuid[]) with ordinality as r (username_key, email_key, user_id, position)
 order by r.position
"""


async def find_taken(executor: Executor, *, users: Sequence[NewUser], now: datetime) -> list[Taken]:
    """Tell of each account what of it belongs to one that exists."""
    rows = await executor.fetch(
        FIND_TAKEN,
        [user.username_key for user in users],
        [user.verified_key for user in users],
        [user.user_id for user in users],
        now,
    )
    return [Taken(**row) for row in rows]


RELEASE_USERNAMES = """
delete from users
 where username_key = any($1::text[])
   and status = 'UNCONFIRMED'
   and reserved_until <= $2
"""

INSERT_USERS = """
insert into users (user_id, username, username_key, status, email, email_key, email_verified_at, attributes,
                   phone_verified_at, created_at, updated_at, reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa,
                   preferred_mfa)
select r.user_id, r.username, r.username_key, r.status, r.email, r.email_key, r.email_verified_at, r.attributes,
       r.phone_verified_at, r.created_at, r.updated_at, r.reserved_until, r.disabled_at, r.totp_mfa, r.sms_mfa,
       r.email_mfa, r.preferred_mfa
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[],
              $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
              $14::boolean[], $15::boolean[], $16::boolean[], $17::text[])
       as r (user_id, username, username_key, status, email, email_key, email_verified_at, attributes,
             phone_verified_at, created_at, updated_at, reserved_until, disabled_at, totp_mfa, sms_mfa, email_mfa,
             preferred_mfa)
on conflict do nothing
returning user_id
"""


async def insert(executor: Executor, *, users: Sequence[NewUser], now: datetime) -> set[UUID]:
    """Insert accounts and return the ids of those of which nothing was taken; expired reservations are released."""
    # In one order, so that two imports, or an import and a sign-up, don't wait for each other.
    ordered = sorted(users, key=lambda user: user.username_key)
    await executor.execute(RELEASE_USERNAMES, [user.username_key for user in ordered], now)
    rows = await executor.fetch(
        INSERT_USERS,
        [user.user_id for user in ordered],
        [user.username for user in ordered],
        [user.username_key for user in ordered],
        [user.status for user in ordered],
        [user.email for user in ordered],
        [user.email_key for user in ordered],
        [user.email_verified_at for user in ordered],
        [user.attributes for user in ordered],
        [user.phone_verified_at for user in ordered],
        [user.created_at for user in ordered],
        [user.updated_at for user in ordered],
        [user.reserved_until for user in ordered],
        [user.disabled_at for user in ordered],
        [user.totp_mfa for user in ordered],
        [user.sms_mfa for user in ordered],
        [user.email_mfa for user in ordered],
        [user.preferred_mfa for user in ordered],
    )
    return {row["user_id"] for row in rows}


INSERT_PASSWORDS = """
insert into passwords (user_id, hash, changed_at, expires_at, recovered_by)
select r.user_id, r.hash, $5, r.expires_at, r.recovered_by
  from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[]) as r (user_id, hash, expires_at, recovered_by)
"""

INSERT_DEVICES = """
insert into totp_devices (device_id, user_id, friendly_name, sealed_secret, created_at, verified_at, last_step)
select r.device_id, r.user_id, r.friendly_name, r.sealed_secret, r.verified_at, r.verified_at, 0
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::timestamptz[])
       as r (device_id, user_id, friendly_name, sealed_secret, verified_at)
"""

INSERT_MEMBERS = """
insert into group_members (group_name, user_id, created_at)
select r.group_name, r.user_id, $3
  from unnest($1::text[], $2::uuid[]) as r (group_name, user_id)
"""

FORGET_CODES = """
delete from codes
 where username_key = any($1::text[])
"""

FORGET_FAILURES = """
delete from failures
 where username_key = any($1::text[])
"""


async def insert_belongings(executor: Executor, *, users: Sequence[NewUser], now: datetime) -> None:
    """Give new accounts their passwords, authenticators and groups; what their names left behind is forgotten."""
    keys = [user.username_key for user in users]
    await executor.execute(FORGET_CODES, keys)
    await executor.execute(FORGET_FAILURES, keys)
    with_hash = [user for user in users if user.hash is not None]
    if with_hash:
        await executor.execute(
            INSERT_PASSWORDS,
            [user.user_id for user in with_hash],
            [user.hash for user in with_hash],
            [user.password_expires_at for user in with_hash],
            [user.recovered_by for user in with_hash],
            now,
        )
    devices = [(user.user_id, device) for user in users for device in user.devices]
    if devices:
        await executor.execute(
            INSERT_DEVICES,
            [device.device_id for _, device in devices],
            [user_id for user_id, _ in devices],
            [device.friendly_name for _, device in devices],
            [device.sealed_secret for _, device in devices],
            [device.verified_at for _, device in devices],
        )
    members = [(group, user.user_id) for user in users for group in user.groups]
    if members:
        await executor.execute(
            INSERT_MEMBERS, [group for group, _ in members], [user_id for _, user_id in members], now
        )


INSERT_GROUPS = """
insert into groups (name, description, precedence, created_at)
select r.name, '', null, $2
  from unnest($1::text[]) as r (name)
on conflict (name) do nothing
"""


async def insert_groups(executor: Executor, *, names: list[str], now: datetime) -> None:
    """Make those of the groups that don't exist."""
    await executor.execute(INSERT_GROUPS, names, now)


FIND_GROUPS = """
select name
  from groups
 where name = any($1::text[])
"""


async def find_groups(executor: Executor, *, names: list[str]) -> set[str]:
    """Return those of the groups that exist."""
    return {row["name"] for row in await executor.fetch(FIND_GROUPS, names)}


HOLD_GROUPS = """
select name
  from groups
 where name = any($1::text[])
 order by name
   for key share
"""


async def hold_groups(executor: Executor, *, names: list[str]) -> set[str]:
    """Return those of the groups that exist; they stay until the transaction ends."""
    return {row["name"] for row in await executor.fetch(HOLD_GROUPS, names)}
