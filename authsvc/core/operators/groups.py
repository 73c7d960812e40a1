"""Groups of users, whose names tokens carry."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from authsvc.clock import Clock
from authsvc.core.accounts.lookup import UserRef, find, lock
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.operators.identity import Operator
from authsvc.core.pages import PAGE_SIZE, page_token, position_of
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import Group, UserId
from authsvc.errors import GroupExists, GroupNotFound, Violation
from authsvc.store import groups
from authsvc.store.db import Database

NAME_CHARACTERS = 128
DESCRIPTION_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Hold some groups and the token of the next page, empty on the last."""

    groups: list[Group]
    next_page_token: str


class Groups:
    """Make and fill groups."""

    def __init__(self, database: Database, ring: KeyRing, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._ring = ring

    async def create(self, name: str, description: str, precedence: int | None, operator: Operator) -> Group:
        """Make a group.

        Raises:
            GroupExists: there is one of this name.
        """
        group = Group(name, description, precedence, self._clock.now())
        async with self._database.transaction() as transaction:
            if not await groups.insert(transaction, group=group):
                raise GroupExists
            await self._audit.record(transaction, _event(AuditKind.ADMIN_CREATE_GROUP, operator, name))
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

    async def list_all(self, *, page_size: int, token: str) -> GroupPage:
        """Return a page of all groups by name, 50 by default.

        Raises:
            InvalidFields: the page token is not one of this list.
        """
        of = "groups"
        after = position_of(self._ring, token, bound_to=of)
        size = page_size or PAGE_SIZE
        found = await groups.list_all(self._database, after=after or None, limit=size + 1)
        page = found[:size]
        return GroupPage(page, page_token(self._ring, page[-1].name, bound_to=of) if len(found) > size else "")

    async def delete(self, name: str, operator: Operator) -> None:
        """Delete a group; its users stay.

        Raises:
            GroupNotFound: there is none of this name.
        """
        async with self._database.transaction() as transaction:
            if not await groups.delete(transaction, name=name):
                raise GroupNotFound
            await self._audit.record(transaction, _event(AuditKind.ADMIN_DELETE_GROUP, operator, name))

    async def add_user(self, ref: UserRef, group: str, operator: Operator) -> None:
        """Put a user into a group.

        Raises:
            UserNotFound, GroupNotFound: there is no such user, or no such group.
        """
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            user = await lock(transaction, ref)
            if not await groups.add_member(transaction, group=group, user_id=user.user_id, now=now):
                raise GroupNotFound
            event = _event(AuditKind.ADMIN_ADD_USER_TO_GROUP, operator, group, user_id=user.user_id)
            await self._audit.record(transaction, event)

    async def remove_user(self, ref: UserRef, group: str, operator: Operator) -> None:
        """Take a user out of a group.

        Raises:
            UserNotFound, GroupNotFound: there is no such user, or no such group.
        """
        async with self._database.transaction() as transaction:
            user = await lock(transaction, ref)
            if await groups.find(transaction, name=group) is None:
                raise GroupNotFound
            await groups.remove_member(transaction, group=group, user_id=user.user_id)
            event = _event(AuditKind.ADMIN_REMOVE_USER_FROM_GROUP, operator, group, user_id=user.user_id)
            await self._audit.record(transaction, event)

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


def _event(kind: AuditKind, operator: Operator, group: str, *, user_id: UserId | None = None) -> AuditEvent:
    return AuditEvent(
        kind=kind, caller=operator.caller, user_id=user_id, actor=operator.actor, details={"group": group}
    )
