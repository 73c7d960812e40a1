"""Accounts as operators see them: one, and lists of them."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from authsvc.config import MfaType
from authsvc.core.accounts.lookup import UserRef
from authsvc.core.factors.rules import kinds_of
from authsvc.core.pages import Page, Pager, PageRequest
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import User, UserFilter
from authsvc.errors import GroupNotFound, UserNotFound
from authsvc.store import groups, users
from authsvc.store.db import Database, Executor
from authsvc.store.users import UserEntry


class UserOrder(enum.StrEnum):
    """Say what a list is ordered by: the values of the proto enum `UserOrder` without their prefix."""

    CREATED_AT = "CREATED_AT"
    USERNAME = "USERNAME"
    EMAIL = "EMAIL"


@dataclass(frozen=True, slots=True)
class UserView:
    """Hold an account as operators see it: with the second factors that it can prove, and its groups."""

    user: User
    enrolled: tuple[MfaType, ...]
    preferred: MfaType | None
    groups: list[str]


class UserList:
    """Find and list accounts."""

    def __init__(self, *, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    async def get(self, ref: UserRef) -> UserView:
        """Return one account.

        Raises:
            UserNotFound: there is none.
        """
        found = None
        if ref.user_id is not None:
            found = await users.find_entry_by_id(self._database, user_id=ref.user_id)
        elif ref.username_key is not None:
            found = await users.find_entry(self._database, username_key=ref.username_key)
        if found is None:
            raise UserNotFound
        return _view_of(found)

    async def list_matching(
        self, where: UserFilter, order: UserOrder, request: PageRequest, *, descending: bool
    ) -> Page[UserView]:
        """Return a page of the accounts that match.

        Raises:
            InvalidFields: the request is out of bounds, or its token is not one of this list.
        """
        of = f"users {order} {descending} {json.dumps(asdict(where), sort_keys=True, default=str)}"
        pager = Pager(ring=self._ring, request=request, of=of)
        position = pager.position(2)
        after = (position[1], UUID(position[0])) if position else None
        async with self._database.transaction() as transaction:
            await users.plan_for_values(transaction)
            found = await _list(
                transaction, where=where, order=order, descending=descending, after=after, limit=pager.limit
            )
        return pager.page(list(map(_view_of, found)), lambda last: (last.user.user_id, _key(last.user, order)))

    async def list_of_group(self, group: str, request: PageRequest) -> Page[UserView]:
        """Return a page of the members of a group.

        Raises:
            GroupNotFound: there is no such group.
            InvalidFields: the request is out of bounds, or its token is not one of this group's.
        """
        pager = Pager(ring=self._ring, request=request, of=f"members {group}")
        position = pager.position(1)
        if await groups.find(self._database, name=group) is None:
            raise GroupNotFound
        after = UUID(position[0]) if position else None
        found = await users.list_of_group(self._database, group=group, after=after, limit=pager.limit)
        return pager.page(list(map(_view_of, found)), lambda last: (last.user.user_id,))


async def _list(
    executor: Executor,
    *,
    where: UserFilter,
    order: UserOrder,
    descending: bool,
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[UserEntry]:
    match order:
        case UserOrder.CREATED_AT:
            since = (datetime.fromisoformat(after[0]), after[1]) if after else None
            return await users.list_by_creation(executor, where=where, descending=descending, after=since, limit=limit)
        case UserOrder.USERNAME:
            return await users.list_by_username(executor, where=where, descending=descending, after=after, limit=limit)
        case UserOrder.EMAIL:
            return await users.list_by_email(executor, where=where, descending=descending, after=after, limit=limit)


def _key(last: User, order: UserOrder) -> str:
    match order:
        case UserOrder.CREATED_AT:
            return last.created_at.isoformat()
        case UserOrder.USERNAME:
            return last.username_key
        case UserOrder.EMAIL:
            return last.email_key or ""


def _view_of(entry: UserEntry) -> UserView:
    # Whatever the settings allow.
    kinds = kinds_of(entry.user, entry.factors, frozenset(MfaType))
    return UserView(
        entry.user, tuple(kind for kind in MfaType if kind in kinds.enrolled), kinds.preferred, entry.groups
    )
