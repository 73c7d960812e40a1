"""Groups of users, whose names tokens carry."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from authsvc.core.accounts.lookup import NamedUser, find, parse_user
from authsvc.core.audit.trail import AuditKind
from authsvc.core.fields import REQUIRED, Fields, check_line, refused
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


@dataclass(frozen=True, slots=True)
class NewGroup:
    """Hold what an operator says of a new group; as sent, not validated."""

    name: str
    description: str
    precedence: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Groups:
    """Make and fill groups."""

    database: Database
    ring: KeyRing
    changes: Changes

    async def create(self, new: NewGroup, operator: Operator) -> Group:
        """Make a group.

        Raises:
            InvalidFields: every broken rule at once.
            GroupExists: there is one of this name.
        """
        fields = Fields()
        parsed = fields.take(parse_group, new.name, field="name")
        fields.take(check_line, new.description, DESCRIPTION_CHARACTERS, field="description", rule="TEXT")
        fields.require((new.precedence or 0) >= 0, Violation("precedence", "RANGE", "must not be negative"))
        fields.check()
        name = parsed.value
        async with self.changes.apart(operator, AuditKind.ADMIN_CREATE_GROUP, group=name) as act:
            group = Group(name=name, description=new.description, precedence=new.precedence, created_at=act.now)
            if not await groups.insert(act.executor, group=group):
                raise GroupExists
        return group

    async def get(self, name: str) -> Group:
        """Return one group.

        Raises:
            InvalidFields: it can be no name.
            GroupNotFound: there is none of this name.
        """
        found = await groups.find(self.database, name=parse_group(name, field="name"))
        if found is None:
            raise GroupNotFound
        return found

    async def list_all(self, request: PageRequest) -> Page[Group]:
        """Return a page of all groups by name.

        Raises:
            InvalidFields: the request is out of bounds, or its token is not one of this list.
        """
        pager = Pager(ring=self.ring, request=request, of="groups")
        (after,) = pager.position(1) or (None,)
        found = await groups.list_all(self.database, after=after, limit=pager.limit)
        return pager.page(found, lambda last: (last.name,))

    async def delete(self, name: str, operator: Operator) -> None:
        """Delete a group; its users stay.

        Raises:
            InvalidFields: it can be no name.
            GroupNotFound: there is none of this name.
        """
        name = parse_group(name, field="name")
        async with self.changes.apart(operator, AuditKind.ADMIN_DELETE_GROUP, group=name) as act:
            if not await groups.delete(act.executor, name=name):
                raise GroupNotFound

    async def set_member(self, named: NamedUser, group: str, operator: Operator, *, is_member: bool) -> None:
        """Put a user into a group, or take one out.

        Raises:
            InvalidFields: every broken rule at once.
            UserNotFound, GroupNotFound: there is no such user, or no such group.
        """
        fields = Fields()
        ref, parsed = fields.take(parse_user, named), fields.take(parse_group, group, field="group")
        fields.check()
        name = parsed.value
        kind = AuditKind.ADMIN_ADD_USER_TO_GROUP if is_member else AuditKind.ADMIN_REMOVE_USER_FROM_GROUP
        async with self.changes.of(ref.value, operator, kind, group=name) as change:
            tx, user_id = change.executor, change.user.user_id
            if is_member:
                is_there = await groups.add_member(tx, group=name, user_id=user_id, now=change.now)
            else:
                is_there = await groups.find(tx, name=name) is not None
                await groups.remove_member(tx, group=name, user_id=user_id)
            if not is_there:
                raise GroupNotFound

    async def list_of_user(self, named: NamedUser) -> list[Group]:
        """List a user's groups in the order of tokens.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        user = await find(self.database, parse_user(named))
        return await groups.list_of_user(self.database, user_id=user.user_id)


def parse_group(text: str, *, field: str) -> str:
    """Return a group's name in the form it is compared in.

    Raises:
        InvalidFields: it can be no name.
    """
    if not text:
        raise refused(field, *REQUIRED)
    # A longer one can't get short enough, and costs time to normalise.
    name = unicodedata.normalize("NFC", text[: NAME_CHARACTERS * 4 + 1])
    if len(name) > NAME_CHARACTERS:
        raise refused(field, "LENGTH", f"must have at most {NAME_CHARACTERS} characters")
    # Letters, marks, numbers, punctuation and symbols; no spaces, and nothing that can't be seen.
    if any(unicodedata.category(character)[0] not in "LMNPS" for character in name):
        raise refused(field, "CHARACTERS", "must not contain spaces and characters that can't be seen")
    return name
