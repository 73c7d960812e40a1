"""Groups of users, whose names tokens carry."""

from __future__ import annotations

import unicodedata

from authsvc.core.accounts.lookup import UserRef, find
from authsvc.core.audit.trail import AuditKind
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.core.pages import Page, Pager, PageRequest
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import Group
from authsvc.errors import GroupExists, GroupNotFound, Violation
from authsvc.store import groups
from authsvc.store.db import Database

NAME_CHARACTERS = 128
DESCRIPTION_CHARACTERS = 2048


class Groups:
    """Make and fill groups."""

    def __init__(self, *, database: Database, ring: KeyRing, changes: Changes) -> None:
        self._database = database
        self._ring = ring
        self._changes = changes

    async def create(self, name: str, description: str, precedence: int | None, operator: Operator) -> Group:
        """Make a group.

        Raises:
            GroupExists: there is one of this name.
        """
        async with self._changes.apart(operator, AuditKind.ADMIN_CREATE_GROUP, group=name) as act:
            group = Group(name, description, precedence, act.now)
            if not await groups.insert(act.executor, group=group):
                raise GroupExists
        return group

    async def get(self, name: str) -> Group:
        """Return one group.

        Raises:
            GroupNotFound: there is none of this name.
        """
        found = await groups.find(self._database, name=name)
        if found is None:
            raise GroupNotFound
        return found

    async def list_all(self, request: PageRequest) -> Page[Group]:
        """Return a page of all groups by name.

        Raises:
            InvalidFields: the request is out of bounds, or its token is not one of this list.
        """
        pager = Pager(ring=self._ring, request=request, of="groups")
        (after,) = pager.position(1) or (None,)
        found = await groups.list_all(self._database, after=after, limit=pager.limit)
        return pager.page(found, lambda last: (last.name,))

    async def delete(self, name: str, operator: Operator) -> None:
        """Delete a group; its users stay.

        Raises:
            GroupNotFound: there is none of this name.
        """
        async with self._changes.apart(operator, AuditKind.ADMIN_DELETE_GROUP, group=name) as act:
            if not await groups.delete(act.executor, name=name):
                raise GroupNotFound

    async def add_user(self, ref: UserRef, group: str, operator: Operator) -> None:
        """Put a user into a group.

        Raises:
            UserNotFound, GroupNotFound: there is no such user, or no such group.
        """
        async with self._changes.of(ref, operator, AuditKind.ADMIN_ADD_USER_TO_GROUP, group=group) as change:
            if not await groups.add_member(change.executor, group=group, user_id=change.user.user_id, now=change.now):
                raise GroupNotFound

    async def remove_user(self, ref: UserRef, group: str, operator: Operator) -> None:
        """Take a user out of a group.

        Raises:
            UserNotFound, GroupNotFound: there is no such user, or no such group.
        """
        async with self._changes.of(ref, operator, AuditKind.ADMIN_REMOVE_USER_FROM_GROUP, group=group) as change:
            if await groups.find(change.executor, name=group) is None:
                raise GroupNotFound
            await groups.remove_member(change.executor, group=group, user_id=change.user.user_id)

    async def list_of_user(self, ref: UserRef) -> list[Group]:
        """List a user's groups in the order of tokens.

        Raises:
            UserNotFound: there is no such user.
        """
        user = await find(self._database, ref)
        return await groups.list_of_user(self._database, user_id=user.user_id)


def parse_group(text: str, *, field: str) -> str | Violation:
    """Return a group's name in the form it is compared in, or say which rule it breaks."""
    if not text:
        return Violation(field, "REQUIRED", "must not be empty")
    # A longer one can't get short enough, and costs time to normalise.
    name = unicodedata.normalize("NFC", text[: NAME_CHARACTERS * 4 + 1])
    if len(name) > NAME_CHARACTERS:
        return Violation(field, "LENGTH", f"must have at most {NAME_CHARACTERS} characters")
    # Letters, marks, numbers, punctuation and symbols; no spaces, and nothing that can't be seen.
    if any(unicodedata.category(character)[0] not in "LMNPS" for character in name):
        return Violation(field, "CHARACTERS", "must not contain spaces and characters that can't be seen")
    return name
