"""Accounts as operators see them: one, or a page of those that match some filters; and pages of whole accounts.

A page is what comes after the last account of the page before, by the very columns that the list is ordered by and that
tell all accounts apart. So accounts that come, change or go between two pages move no other one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from authsvc.domain import Medium, UserFilter, UserId, UsernameKey
from authsvc.store.db import Executor, values_of
from authsvc.store.factors.preferences import CHOICES, STATE, choices_of, kind_of, state_of
from authsvc.store.users.rows import COLUMNS, Device, Password, UserEntry, WholeUser, user_of

_SELECT = f"""
select {COLUMNS},
       {STATE},
       {CHOICES},
       array(
           select m.group_name
             from group_members m
             join groups g on g.name = m.group_name
            where m.user_id = u.user_id
            order by g.precedence nulls last, g.name
       ) as groups
  from users u
"""  # noqa: S608  # of lists of columns

# Comes after everything that a name or an address may have as its next character.
_LAST = "\U0010ffff"
# The same parameters in each order: those of the filter, `_LAST`, the account before the page, and the page's length.
_FILTERED = f"""{_SELECT} where ($1::text is null
        or (u.username_key collate "C" >= $1 and u.username_key collate "C" < $1 || $10::text))
   and ($2::text is null or u.email_key = $2)
   and ($3::text is null
        or (coalesce(u.email_key, '') collate "C" >= $3 and coalesce(u.email_key, '') collate "C" < $3 || $10))
   and ($4::text is null or u.status = $4)
   and ($5::boolean is null or (u.disabled_at is null) = $5)
   and ($6::text is null or u.user_id in (select m.user_id from group_members m where m.group_name = $6))
   and ($7::timestamptz is null or u.created_at >= $7)
   and ($8::timestamptz is null or u.created_at < $8)
   and ($9::jsonb is null or u.attributes @> $9)
"""  # noqa: S608  # of this file's own constants


def _both_ways(key: str, type_: str, *ties: str) -> tuple[str, str]:
    """Return the statement of a list by a key, and that of the same list the other way round."""
    up, down = (
        f"""{_FILTERED}   and ($11::{type_} is null or ({key}, u.user_id) {beyond} ($11, $12::uuid))
 order by {", ".join(f"{column} {direction}" for column in (key, *ties))}
 limit $13
"""
        for beyond, direction in ((">", "asc"), ("<", "desc"))
    )
    return up, down


BY_CREATION = _both_ways("u.created_at", "timestamptz", "u.user_id")
BY_USERNAME = _both_ways('u.username_key collate "C"', "text")
BY_EMAIL = _both_ways("""coalesce(u.email_key, '') collate "C\"""", "text", "u.user_id")


def _entry_of(row: Any) -> UserEntry:
    return UserEntry(user_of(row), state_of(row), row["groups"])


async def list_by_creation(
    executor: Executor, *, where: UserFilter, descending: bool, after: tuple[datetime, UUID] | None, limit: int
) -> list[UserEntry]:
    """List accounts by creation and id from behind `after` on."""
    rows = await executor.fetch(BY_CREATION[descending], *values_of(where), _LAST, *(after or (None, None)), limit)
    return [_entry_of(row) for row in rows]


async def list_by_username(
    executor: Executor, *, where: UserFilter, descending: bool, after: tuple[str, UUID] | None, limit: int
) -> list[UserEntry]:
    """List accounts by the keys of their names, and id, from behind `after` on."""
    rows = await executor.fetch(BY_USERNAME[descending], *values_of(where), _LAST, *(after or (None, None)), limit)
    return [_entry_of(row) for row in rows]


async def list_by_email(
    executor: Executor, *, where: UserFilter, descending: bool, after: tuple[str, UUID] | None, limit: int
) -> list[UserEntry]:
    """List accounts by the keys of their addresses, none as an empty one, and id, from behind `after` on."""
    rows = await executor.fetch(BY_EMAIL[descending], *values_of(where), _LAST, *(after or (None, None)), limit)
    return [_entry_of(row) for row in rows]


PLAN_FOR_VALUES = "set local plan_cache_mode = force_custom_plan"


async def plan_for_values(executor: Executor) -> None:
    """Have the lists of this transaction planned for their own filters: one plan for all uses no index of theirs."""
    await executor.execute(PLAN_FOR_VALUES)


ENTRY_BY_NAME = _SELECT + " where u.username_key = $1"

ENTRY_BY_ID = _SELECT + " where u.user_id = $1"


async def find_entry(executor: Executor, *, username_key: UsernameKey) -> UserEntry | None:
    """Find an account by the key of its name."""
    row = await executor.fetchrow(ENTRY_BY_NAME, username_key)
    return None if row is None else _entry_of(row)


async def find_entry_by_id(executor: Executor, *, user_id: UserId) -> UserEntry | None:
    """Find an account by its id."""
    row = await executor.fetchrow(ENTRY_BY_ID, user_id)
    return None if row is None else _entry_of(row)


OF_GROUP = f"""{_SELECT}  join group_members member on member.user_id = u.user_id
 where member.group_name = $1
   and ($2::uuid is null or member.user_id > $2)
 order by member.user_id
 limit $3
"""


async def list_of_group(executor: Executor, *, group: str, after: UUID | None, limit: int) -> list[UserEntry]:
    """List the members of a group by id from behind `after` on."""
    return [_entry_of(row) for row in await executor.fetch(OF_GROUP, group, after, limit)]


# The columns of the authenticators are lists of one length, oldest first.
LIST_WHOLE = f"""
select {COLUMNS},
       {CHOICES},
       array(
           select m.group_name::text from group_members m where m.user_id = u.user_id order by m.group_name
       ) as groups,
       case when $3 then p.hash end as hash, p.expires_at, p.recovered_by,
       d.device_ids, d.friendly_names, d.sealed_secrets, d.devices_verified_at
  from users u
  left join passwords p on p.user_id = u.user_id
  cross join lateral (
      select coalesce(array_agg(t.device_id order by t.verified_at, t.device_id), '{{}}') as device_ids,
             coalesce(array_agg(t.friendly_name order by t.verified_at, t.device_id), '{{}}') as friendly_names,
             coalesce(array_agg(t.sealed_secret order by t.verified_at, t.device_id), '{{}}') as sealed_secrets,
             coalesce(array_agg(t.verified_at order by t.verified_at, t.device_id), '{{}}') as devices_verified_at
        from totp_devices t
       where $3
         and t.user_id = u.user_id
         and t.verified_at is not null
  ) d
 where ($1::uuid is null or u.user_id > $1)
 order by u.user_id
 limit $2
"""  # noqa: S608  # of lists of columns


async def list_whole(executor: Executor, *, after: UUID | None, limit: int, with_secrets: bool) -> list[WholeUser]:
    """List whole accounts by id from behind `after` on, each as it stands at one moment.

    Hashes and authenticators only if asked for.
    """
    return [_whole_of(row) for row in await executor.fetch(LIST_WHOLE, after, limit, with_secrets)]


def _whole_of(row: Any) -> WholeUser:
    recovered_by = row["recovered_by"]
    password = Password(row["hash"], row["expires_at"], None if recovered_by is None else Medium(recovered_by))
    devices = zip(
        row["device_ids"], row["friendly_names"], row["sealed_secrets"], row["devices_verified_at"], strict=True
    )
    return WholeUser(
        user=user_of(row),
        factors=choices_of(row),
        preferred=kind_of(row["preferred"]),
        password=password,
        devices=tuple(Device(*columns) for columns in devices),
        groups=tuple(row["groups"]),
    )
