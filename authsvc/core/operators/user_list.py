"""Accounts as operators see them: one, and lists of them."""

from __future__ import annotations

import enum
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from authsvc.core.accounts.lookup import NamedUser, parse_user
from authsvc.core.factors.kinds import in_order
from authsvc.core.factors.rules import enrolled
from authsvc.core.fields import Fields, has_control_characters, parse_choice, refused
from authsvc.core.names import EMAIL_CHARACTERS, USERNAME_CHARACTERS, email_prefix_key, parse_email, username_prefix_key
from authsvc.core.operators.groups import parse_group
from authsvc.core.pages import Page, Pager, PageRequest, check_page
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import FactorKind, User, UserFilter, UserStatus
from authsvc.errors import GroupNotFound, UserNotFound
from authsvc.store import groups
from authsvc.store.db import Database
from authsvc.store.users import lists
from authsvc.store.users.rows import UserEntry

MOST_ATTRIBUTE_FILTERS = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UserOrder(enum.StrEnum):
    """Say what a list is ordered by: the values of the proto enum `UserOrder` without their prefix."""

    CREATED_AT = "CREATED_AT"
    USERNAME = "USERNAME"
    EMAIL = "EMAIL"


@dataclass(frozen=True, slots=True)
class _Ordered:
    """Say how an order is read, what it is by, and how that is read from a token."""

    read: Callable[..., Awaitable[list[UserEntry]]]
    key: Callable[[User], str]
    parse_key: Callable[[str], object] = str


_ORDERS = {
    UserOrder.CREATED_AT: _Ordered(
        lists.list_by_creation, lambda user: user.created_at.isoformat(), datetime.fromisoformat
    ),
    UserOrder.USERNAME: _Ordered(lists.list_by_username, lambda user: user.username_key),
    UserOrder.EMAIL: _Ordered(lists.list_by_email, lambda user: user.email_key or ""),
}


@dataclass(frozen=True, slots=True)
class UserView:
    """Hold an account as operators see it: with the second factors that it can prove, and its groups."""

    user: User
    enrolled: tuple[FactorKind, ...]
    preferred: FactorKind | None
    groups: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuery:
    """Hold what the accounts of a list are to have in common, and their order; as sent, not validated.

    Empty and None: whatever it is. Times are seconds and nanoseconds since 1970.
    """

    username_prefix: str = ""
    email: str = ""
    email_prefix: str = ""
    status: str = ""
    enabled: bool | None = None
    group: str = ""
    created_from: tuple[int, int] | None = None
    created_before: tuple[int, int] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    order: str = ""
    descending: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class UserList:
    """Find and list accounts."""

    database: Database
    ring: KeyRing

    async def get(self, named: NamedUser) -> UserView:
        """Return one account.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is none.
        """
        ref = parse_user(named)
        if isinstance(ref, UUID):
            found = await lists.find_entry_by_id(self.database, user_id=ref)
        else:
            found = await lists.find_entry(self.database, username_key=ref)
        if found is None:
            raise UserNotFound
        return _view_of(found)

    async def list_matching(self, query: UserQuery, request: PageRequest) -> Page[UserView]:
        """Return a page of the accounts that match.

        Raises:
            InvalidFields: every broken rule at once, or the token is not one of this list.
        """
        where, order = _parse(query, request)
        by, descending = _ORDERS[order], query.descending
        of = f"users {order} {descending} {json.dumps(asdict(where), sort_keys=True, default=str)}"
        pager = Pager(ring=self.ring, request=request, of=of)
        position = pager.position(2)
        after = (by.parse_key(position[1]), UUID(position[0])) if position else None
        async with self.database.transaction() as transaction:
            await lists.plan_for_values(transaction)
            found = await by.read(transaction, where=where, descending=descending, after=after, limit=pager.limit)
        return pager.page(list(map(_view_of, found)), lambda last: (last.user.user_id, by.key(last.user)))

    async def list_of_group(self, group: str, request: PageRequest) -> Page[UserView]:
        """Return a page of the members of a group.

        Raises:
            GroupNotFound: there is no such group.
            InvalidFields: every broken rule at once, or the token is not one of this group's.
        """
        fields = Fields()
        parsed = fields.take(parse_group, group, field="group")
        fields.take(check_page, request)
        fields.check()
        name = parsed.value
        pager = Pager(ring=self.ring, request=request, of=f"members {name}")
        position = pager.position(1)
        if await groups.find(self.database, name=name) is None:
            raise GroupNotFound
        after = UUID(position[0]) if position else None
        found = await lists.list_of_group(self.database, group=name, after=after, limit=pager.limit)
        return pager.page(list(map(_view_of, found)), lambda last: (last.user.user_id,))


def _view_of(entry: UserEntry) -> UserView:
    has = enrolled(entry.user, entry.factors)
    return UserView(user=entry.user, enrolled=in_order(has), preferred=entry.factors.preferred, groups=entry.groups)


def _parse(query: UserQuery, request: PageRequest) -> tuple[UserFilter, UserOrder]:
    fields = Fields()
    username_prefix = fields.take(_parse_prefix, query.username_prefix, USERNAME_CHARACTERS, field="username_prefix")
    email = fields.take(parse_email, query.email, field="email") if query.email else None
    group = fields.take(parse_group, query.group, field="group") if query.group else None
    status = fields.take(parse_choice, query.status, UserStatus, field="status")
    order = fields.take(parse_choice, query.order, UserOrder, field="order")
    email_prefix = fields.take(_parse_prefix, query.email_prefix, EMAIL_CHARACTERS, field="email_prefix")
    created_from = fields.take(_parse_moment, query.created_from, field="created_from")
    created_before = fields.take(_parse_moment, query.created_before, field="created_before")
    attributes = fields.take(_parse_attributes, query.attributes)
    fields.take(check_page, request)
    fields.check()
    where = UserFilter(
        username_prefix=username_prefix_key(username_prefix.value) if query.username_prefix else None,
        email_key=email.value.key if email else None,
        email_prefix=email_prefix_key(email_prefix.value) if query.email_prefix else None,
        status=status.valid,
        enabled=query.enabled,
        group=group.value if group else None,
        created_from=created_from.valid,
        created_before=created_before.valid,
        attributes=attributes.value or None,
    )
    return where, order.valid or UserOrder.CREATED_AT


def _parse_prefix(text: str, most: int, *, field: str) -> str:
    if len(text) > most:
        raise refused(field, "LENGTH", f"must have at most {most} characters")
    if has_control_characters(text):
        raise refused(field, "CHARACTERS", "must not contain control characters")
    return text


def _parse_moment(sent: tuple[int, int] | None, *, field: str) -> datetime | None:
    if sent is None:
        return None
    seconds, nanoseconds = sent
    try:
        if 0 <= nanoseconds < 1_000_000_000:
            return EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        pass
    raise refused(field, "RANGE", "must be a time from year 1 to 9999")


def _parse_attributes(values: Mapping[str, str]) -> dict[str, str]:
    if len(values) > MOST_ATTRIBUTE_FILTERS:
        raise refused("attributes", "COUNT", f"must have at most {MOST_ATTRIBUTE_FILTERS} entries")
    if "email" in values:
        raise refused("attributes", "EMAIL", "must not have email, which has a filter of its own")
    if any("\0" in text for entry in values.items() for text in entry):
        raise refused("attributes", "CHARACTERS", "must not contain control characters")
    return dict(values)
