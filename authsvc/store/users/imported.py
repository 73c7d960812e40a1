"""Whole accounts that come from elsewhere, many in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from authsvc.domain import User
from authsvc.store.db import Executor, values_of
from authsvc.store.users.rows import WholeUser


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


async def find_taken(executor: Executor, *, users: Sequence[WholeUser], now: datetime) -> list[Taken]:
    """Tell of each account what of it belongs to one that exists."""
    rows = await executor.fetch(
        FIND_TAKEN,
        [each.user.username_key for each in users],
        [each.verified_key for each in users],
        [each.user.user_id for each in users],
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
                   phone_verified_at, created_at, updated_at, reserved_until, disabled_at)
select r.user_id, r.username, r.username_key, r.status, r.email, r.email_key, r.email_verified_at, r.attributes,
       r.phone_verified_at, r.created_at, r.updated_at, r.reserved_until, r.disabled_at
  from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[],
              $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
       as r (user_id, username, username_key, status, email, email_key, email_verified_at, attributes,
             phone_verified_at, created_at, updated_at, reserved_until, disabled_at)
on conflict do nothing
returning user_id
"""
# An account comes without an address or a number that waits for its code.
_INSERTED = [each.name for each in fields(User) if not each.name.startswith("pending_")]


async def insert_many(executor: Executor, *, users: Sequence[WholeUser], now: datetime) -> set[UUID]:
    """Insert accounts and return the ids of those of which nothing was taken; expired reservations are released."""
    # In one order, so that two imports, or an import and a sign-up, don't wait for each other.
    ordered = sorted((each.user for each in users), key=lambda user: user.username_key)
    await executor.execute(RELEASE_USERNAMES, [user.username_key for user in ordered], now)
    rows = await executor.fetch(INSERT_USERS, *([getattr(user, name) for user in ordered] for name in _INSERTED))
    return {row["user_id"] for row in rows}


INSERT_PASSWORDS = """
insert into passwords (user_id, hash, changed_at, expires_at, recovered_by)
select r.user_id, r.hash, $5, r.expires_at, r.recovered_by
  from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[]) as r (user_id, hash, expires_at, recovered_by)
"""

INSERT_PREFERENCES = """
insert into factor_preferences (user_id, kind, enabled, preferred)
select r.user_id, r.kind, r.enabled, r.preferred
  from unnest($1::uuid[], $2::text[], $3::boolean[], $4::boolean[]) as r (user_id, kind, enabled, preferred)
"""

INSERT_DEVICES = """
insert into totp_devices (device_id, user_id, friendly_name, sealed_secret, created_at, verified_at, last_step)
select r.device_id, r.user_id, r.friendly_name, r.sealed_secret, r.verified_at, r.verified_at, 0
  from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::timestamptz[])
       as r (user_id, device_id, friendly_name, sealed_secret, verified_at)
"""

INSERT_MEMBERS = """
insert into group_members (group_name, user_id, created_at)
select r.group_name, r.user_id, $3
  from unnest($1::text[], $2::uuid[]) as r (group_name, user_id)
"""

FORGET_CODES = "delete from codes where username_key = any($1::text[])"

FORGET_FAILURES = "delete from failures where username_key = any($1::text[])"


async def insert_belongings(executor: Executor, *, users: Sequence[WholeUser], now: datetime) -> None:
    """Give new accounts their passwords, factors and groups; what their names left behind is forgotten."""
    keys = [each.user.username_key for each in users]
    await executor.execute(FORGET_CODES, keys)
    await executor.execute(FORGET_FAILURES, keys)
    passwords = [
        (each.user.user_id, each.password.hash, each.password.expires_at, each.password.recovered_by)
        for each in users
        if each.password.hash is not None
    ]
    if passwords:
        await executor.execute(INSERT_PASSWORDS, *_columns(passwords), now)
    choices = [
        (each.user.user_id, kind, enabled, kind == each.preferred)
        for each in users
        for kind, enabled in each.factors.items()
    ]
    if choices:
        await executor.execute(INSERT_PREFERENCES, *_columns(choices))
    devices = [(each.user.user_id, *values_of(device)) for each in users for device in each.devices]
    if devices:
        await executor.execute(INSERT_DEVICES, *_columns(devices))
    members = [(group, each.user.user_id) for each in users for group in each.groups]
    if members:
        await executor.execute(INSERT_MEMBERS, *_columns(members), now)


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Return the columns of some rows, as `unnest` takes them."""
    return list(map(list, zip(*rows, strict=True)))
