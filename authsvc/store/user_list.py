"""Accounts as operators see them: one, or a page of those that match some filters.

A page is what comes after the last account of the page before, by the very columns that the list is ordered by and that
tell all accounts apart. So accounts that come, change or go between two pages move no other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.domain import EmailKey, UserId, UsernameKey
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class UserEntry:
    """Hold one account with its factors and groups."""

    user_id: UserId
    username: str
    username_key: UsernameKey
    status: str
    email: str | None
    email_key: EmailKey | None
    email_verified_at: datetime | None
    phone_verified_at: datetime | None
    attributes: dict[str, str]
    created_at: datetime
    updated_at: datetime | None
    disabled_at: datetime | None
    totp_mfa: bool
    sms_mfa: bool
    email_mfa: bool
    preferred_mfa: str | None
    has_totp_device: bool
    groups: list[str]


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Hold what accounts of a list have in common; None: whatever it is."""

    username_prefix: str | None = None
    email_key: EmailKey | None = None
    email_prefix: str | None = None
    status: str | None = None
    enabled: bool | None = None
    group: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    attributes: dict[str, str] | None = None


_select = """
select u.user_id, u.username, u.username_key, u.status, u.email, u.email_key, u.email_verified_at, u.phone_verified_at,
       u.attributes, u.created_at, u.updated_at, u.disabled_at, u.totp_mfa, u.sms_mfa, u.email_mfa, u.preferred_mfa,
       exists (
           select
             from totp_devices d
            where d.user_id = u.user_id
              and d.verified_at is not null
       ) as has_totp_device,
       array(
           select m.group_name
             from group_members m
             join groups g on g.name = m.group_name
            where m.user_id = u.user_id
            order by g.precedence nulls last, g.name
       ) as groups
  from users u
"""

# Every name has the same parameters, whether its order needs them or not: one list of arguments for all.
_filtered = (
    _select  # noqa: S608  # of this file's own constants
    + """ where ($1::text is null or (u.username_key collate "C" >= $1 and u.username_key collate "C" < $1 || $2::text))
   and ($3::text is null or u.email_key = $3)
   and ($4::text is null
        or (coalesce(u.email_key, '') collate "C" >= $4 and coalesce(u.email_key, '') collate "C" < $4 || $2))
   and ($5::text is null or u.status = $5)
   and ($6::boolean is null or (u.disabled_at is null) = $6)
   and ($7::text is null or u.user_id in (select m.user_id from group_members m where m.group_name = $7))
   and ($8::timestamptz is null or u.created_at >= $8)
   and ($9::timestamptz is null or u.created_at < $9)
   and ($10::jsonb is null or u.attributes @> $10)
"""
)

BY_CREATION = (
    _filtered
    + """   and ($11::timestamptz is null or (u.created_at, u.user_id) > ($11, $12::uuid))
 order by u.created_at, u.user_id
 limit $13
"""
)

BY_CREATION_DOWN = (
    _filtered
    + """   and ($11::timestamptz is null or (u.created_at, u.user_id) < ($11, $12::uuid))
 order by u.created_at desc, u.user_id desc
 limit $13
"""
)

BY_USERNAME = (
    _filtered
    + """   and ($11::text is null or u.username_key collate "C" > $11)
 order by u.username_key collate "C"
 limit $12
"""
)

BY_USERNAME_DOWN = (
    _filtered
    + """   and ($11::text is null or u.username_key collate "C" < $11)
 order by u.username_key collate "C" desc
 limit $12
"""
)

BY_EMAIL = (
    _filtered
    + """   and ($11::text is null or (coalesce(u.email_key, '') collate "C", u.user_id) > ($11, $12::uuid))
 order by coalesce(u.email_key, '') collate "C", u.user_id
 limit $13
"""
)

BY_EMAIL_DOWN = (
    _filtered
    + """   and ($11::text is null or (coalesce(u.email_key, '') collate "C", u.user_id) < ($11, $12::uuid))
 order by coalesce(u.email_key, '') collate "C" desc, u.user_id desc
 limit $13
"""
)

# The parameters of the filters, the same in each statement.
_Terms = tuple[
    str | None,
    str,
    str | None,
    str | None,
    str | None,
    bool | None,
    str | None,
    datetime | None,
    datetime | None,
    dict[str, str] | None,
]


def _terms(where: UserFilter) -> _Terms:
    return (
        where.username_prefix,
        # Comes after everything that a name or an address may have as its next character.
        "\U0010ffff",
        where.email_key,
        where.email_prefix,
        where.status,
        where.enabled,
        where.group,
        where.created_from,
        where.created_before,
        where.attributes,
    )


async def list_by_creation(
    executor: Executor,
    *,
    where: UserFilter,
    descending: bool,
    after: tuple[datetime | None, UUID | None],
    limit: int,
) -> list[UserEntry]:
    """List accounts by creation from behind `after` on."""
    return await _by_creation(executor, _terms(where), descending, after, limit)


async def list_by_username(
    executor: Executor, *, where: UserFilter, descending: bool, after: str | None, limit: int
) -> list[UserEntry]:
    """List accounts by the keys of their names from behind `after` on."""
    return await _by_username(executor, _terms(where), descending, after, limit)


async def list_by_email(
    executor: Executor,
    *,
    where: UserFilter,
    descending: bool,
    after: tuple[str | None, UUID | None],
    limit: int,
) -> list[UserEntry]:
    """List accounts by the keys of their addresses, none as an empty one, from behind `after` on."""
    return await _by_email(executor, _terms(where), descending, after, limit)


async def _by_creation(
    executor: Executor, terms: _Terms, descending: bool, after: tuple[datetime | None, UUID | None], limit: int
) -> list[UserEntry]:
    if descending:
        rows = await executor.fetch(BY_CREATION_DOWN, *terms, *after, limit)
    else:
        rows = await executor.fetch(BY_CREATION, *terms, *after, limit)
    return [UserEntry(**row) for row in rows]


async def _by_username(
    executor: Executor, terms: _Terms, descending: bool, after: str | None, limit: int
) -> list[UserEntry]:
    if descending:
        rows = await executor.fetch(BY_USERNAME_DOWN, *terms, after, limit)
    else:
        rows = await executor.fetch(BY_USERNAME, *terms, after, limit)
    return [UserEntry(**row) for row in rows]


async def _by_email(
    executor: Executor, terms: _Terms, descending: bool, after: tuple[str | None, UUID | None], limit: int
) -> list[UserEntry]:
    if descending:
        rows = await executor.fetch(BY_EMAIL_DOWN, *terms, *after, limit)
    else:
        rows = await executor.fetch(BY_EMAIL, *terms, *after, limit)
    return [UserEntry(**row) for row in rows]


PLAN_FOR_VALUES = """
set local plan_cache_mode = force_custom_plan
"""


async def plan_for_values(executor: Executor) -> None:
    """Have the lists of this transaction planned for their own filters: one plan for all uses no index of theirs."""
    await executor.execute(PLAN_FOR_VALUES)


FIND_BY_NAME = _select + " where u.username_key = $1"

FIND_BY_ID = _select + " where u.user_id = $1"


async def find_by_name(executor: Executor, *, username_key: UsernameKey) -> UserEntry | None:
    """Find an account by the key of its name."""
    row = await executor.fetchrow(FIND_BY_NAME, username_key)
    return None if row is None else UserEntry(**row)


async def find_by_id(executor: Executor, *, user_id: UserId) -> UserEntry | None:
    """Find an account by its id."""
    row = await executor.fetchrow(FIND_BY_ID, user_id)
    return None if row is None else UserEntry(**row)


OF_GROUP = (
    _select
    + """  join group_members member on member.user_id = u.user_id
 where member.group_name = $1
   and ($2::uuid is null or member.user_id > $2)
 order by member.user_id
 limit $3
"""
)


async def list_of_group(executor: Executor, *, group: str, after: UUID | None, limit: int) -> list[UserEntry]:
    """List the members of a group by id from behind `after` on."""
    return [UserEntry(**row) for row in await executor.fetch(OF_GROUP, group, after, limit)]
