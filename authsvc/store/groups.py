"""Groups and their members."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from authsvc.domain import Group, UserId
from authsvc.store.db import Executor, find_one, values_of, wrote_one

INSERT = """
insert into groups (name, description, precedence, created_at)
values ($1, $2, $3, $4)
on conflict (name) do nothing
"""


async def insert(executor: Executor, *, group: Group) -> bool:
    """Make a group; False if there is one of this name."""
    return await wrote_one(executor, INSERT, *values_of(group))


FIND = "select name, description, precedence, created_at from groups where name = $1"


async def find(executor: Executor, *, name: str) -> Group | None:
    """Find a group by its name."""
    return await find_one(executor, Group, FIND, name)


LIST_ALL = """
select name, description, precedence, created_at
  from groups
 where ($1::text is null or name > $1)
 order by name
 limit $2
"""


async def list_all(executor: Executor, *, after: str | None, limit: int) -> list[Group]:
    """List groups by name from behind `after` on."""
    return [Group(**row) for row in await executor.fetch(LIST_ALL, after, limit)]


DELETE = "delete from groups where name = $1"


async def delete(executor: Executor, *, name: str) -> bool:
    """Delete a group with its memberships; False if there is none of this name."""
    return await wrote_one(executor, DELETE, name)


ADD_MEMBER = """
insert into group_members (group_name, user_id, created_at)
values ($1, $2, $3)
on conflict (group_name, user_id) do nothing
"""


async def add_member(executor: Executor, *, group: str, user_id: UserId, now: datetime) -> bool:
    """Put an account into a group, unless it is in it; False if there is none: the transaction is lost then."""
    try:
        await executor.execute(ADD_MEMBER, group, user_id, now)
    except asyncpg.ForeignKeyViolationError:
        return False
    return True


REMOVE_MEMBER = "delete from group_members where group_name = $1 and user_id = $2"


async def remove_member(executor: Executor, *, group: str, user_id: UserId) -> None:
    """Take an account out of a group, if it is in it."""
    await executor.execute(REMOVE_MEMBER, group, user_id)


LIST_OF_USER = """
select g.name, g.description, g.precedence, g.created_at
  from group_members m
  join groups g on g.name = m.group_name
 where m.user_id = $1
 order by g.precedence nulls last, g.name
"""


async def list_of_user(executor: Executor, *, user_id: UserId) -> list[Group]:
    """List the groups of an account in the order of their precedence, then by name."""
    return [Group(**row) for row in await executor.fetch(LIST_OF_USER, user_id)]


LIST_NAMES = """
select array(
    select g.name
      from group_members m
      join groups g on g.name = m.group_name
     where m.user_id = $1
     order by g.precedence nulls last, g.name
)
"""


async def list_names(executor: Executor, *, user_id: UserId) -> list[str]:
    """List the names of an account's groups in the order of their precedence, then by name."""
    names: list[str] = await executor.fetchval(LIST_NAMES, user_id)
    return names


INSERT_MISSING = """
insert into groups (name, description, precedence, created_at)
select r.name, '', null, $2
  from unnest($1::text[]) as r (name)
on conflict (name) do nothing
"""


async def insert_missing(executor: Executor, *, names: list[str], now: datetime) -> None:
    """Make those of the groups that don't exist."""
    await executor.execute(INSERT_MISSING, names, now)


FIND_EXISTING = "select name from groups where name = any($1::text[])"


async def find_existing(executor: Executor, *, names: list[str]) -> set[str]:
    """Return those of the groups that exist."""
    return {row["name"] for row in await executor.fetch(FIND_EXISTING, names)}


HOLD_EXISTING = """
select name
  from groups
 where name = any($1::text[])
 order by name
   for key share
"""


async def hold_existing(executor: Executor, *, names: list[str]) -> set[str]:
    """Return those of the groups that exist; they stay until the transaction ends."""
    return {row["name"] for row in await executor.fetch(HOLD_EXISTING, names)}
