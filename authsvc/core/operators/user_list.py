"""Accounts as operators see them: one, and lists of them."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from authsvc.core.accounts.lookup import UserRef
from authsvc.core.pages import PAGE_SIZE, page_token, position_of
from authsvc.crypto.sealing import KeyRing
from authsvc.errors import GroupNotFound, UserNotFound
from authsvc.store import groups, user_list
from authsvc.store.db import Database, Executor
from authsvc.store.user_list import UserEntry, UserFilter


class UserOrder(enum.StrEnum):
    """Say what a list is ordered by: the values of the proto enum `UserOrder` without their prefix."""

    CREATED_AT = "CREATED_AT"
    USERNAME = "USERNAME"
    EMAIL = "EMAIL"


@dataclass(frozen=True, slots=True)
class UserPage:
    """Hold some accounts and the token of the next page, empty on the last."""

    users: list[UserEntry]
    next_page_token: str


class UserList:
    """Find and list accounts."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring

    async def get(self, ref: UserRef) -> UserEntry:
        """Return one account.

        Raises:
            UserNotFound: there is none.
        """
        found = None
        if ref.user_id is not None:
            found = await user_list.find_by_id(self._database, user_id=ref.user_id)
        elif ref.username_key is not None:
            found = await user_list.find_by_name(self._database, username_key=ref.username_key)
        if found is None:
            raise UserNotFound
        return found

    async def list_matching(
        self, where: UserFilter, order: UserOrder, *, descending: bool, page_size: int, token: str
    ) -> UserPage:
        """Return a page of the accounts that match, 50 by default.

        Raises:
            InvalidFields: the page token is not one of this list.
        """
        of = f"users {order} {descending} {json.dumps(asdict(where), sort_keys=True, default=str)}"
        user_id, _, key = position_of(self._ring, token, bound_to=of).partition(" ")
        size = page_size or PAGE_SIZE
        async with self._database.transaction() as transaction:
            await user_list.plan_for_values(transaction)
            after = (key, UUID(user_id)) if user_id else (None, None)
            found = await _list(transaction, where, order, descending, after, size + 1)
        page = found[:size]
        if len(found) <= size:
            return UserPage(page, "")
        position = f"{page[-1].user_id} {_key(page[-1], order)}"
        return UserPage(page, page_token(self._ring, position, bound_to=of))

    async def list_of_group(self, group: str, *, page_size: int, token: str) -> UserPage:
        """Return a page of the members of a group, 50 by default.

        Raises:
            GroupNotFound: there is no such group.
            InvalidFields: the page token is not one of this group's.
        """
        of = f"members {group}"
        position = position_of(self._ring, token, bound_to=of)
        size = page_size or PAGE_SIZE
        if await groups.find(self._database, name=group) is None:
            raise GroupNotFound
        after = UUID(position) if position else None
        found = await user_list.list_of_group(self._database, group=group, after=after, limit=size + 1)
        page = found[:size]
        last = str(page[-1].user_id) if len(found) > size else ""
        return UserPage(page, page_token(self._ring, last, bound_to=of) if last else "")


async def _list(
    executor: Executor,
    where: UserFilter,
    order: UserOrder,
    descending: bool,
    after: tuple[str | None, UUID | None],
    limit: int,
) -> list[UserEntry]:
    key, user_id = after
    match order:
        case UserOrder.CREATED_AT:
            moment = datetime.fromisoformat(key) if key is not None else None
            return await user_list.list_by_creation(
                executor, where=where, descending=descending, after=(moment, user_id), limit=limit
            )
        case UserOrder.USERNAME:
            return await user_list.list_by_username(
                executor, where=where, descending=descending, after=key, limit=limit
            )
        case UserOrder.EMAIL:
            return await user_list.list_by_email(
                executor, where=where, descending=descending, after=(key, user_id), limit=limit
            )


def _key(last: UserEntry, order: UserOrder) -> str:
    match order:
        case UserOrder.CREATED_AT:
            return last.created_at.isoformat()
        case UserOrder.USERNAME:
            return last.username_key
        case UserOrder.EMAIL:
            return last.email_key or ""
