"""Requests of operators to domain values: every broken field at once."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc import domain
from authsvc.core.accounts.attributes import has_control_characters
from authsvc.core.accounts.lookup import UserRef
from authsvc.core.names import EMAIL_CHARACTERS, USERNAME_CHARACTERS, parse_email, parse_username, username_prefix_key
from authsvc.core.operators.attributes import AttributeChange
from authsvc.core.operators.groups import DESCRIPTION_CHARACTERS, parse_group
from authsvc.core.operators.invitations import Invitation
from authsvc.core.operators.user_list import UserOrder
from authsvc.core.pages import LARGEST_PAGE, TOKEN_CHARACTERS, PageRequest
from authsvc.domain import MailId, UserFilter, UserId, UsernameKey
from authsvc.errors import Violation
from authsvc.rpc.fields import Fields, told, uuid_of
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.mail_pb2 import MailState
from authsvc.v1.user_order_pb2 import UserOrder as UserOrderProto

MOST_ATTRIBUTE_FILTERS = 10
MOST_REMOVED = 100


class _NamesUser(Protocol):
    username: str
    user_id: str

    # As generated code names it.
    def WhichOneof(self, oneof_group: Literal["user"], /) -> Literal["username", "user_id"] | None: ...


class _Pages(Protocol):
    page_size: int
    page_token: str


class _Enum(Protocol):
    def values(self) -> Sequence[int]: ...

    # As generated code names it.
    def Name(self, number: Any, /) -> str: ...


def user_of(request: _NamesUser) -> UserRef:
    """Return whom a request names."""
    fields = Fields()
    ref = _user(fields, request)
    fields.check()
    return ref


def user_and_page(request: pb.ListUserSessionsRequest) -> tuple[UserRef, PageRequest]:
    """Return whom a request names, and the page."""
    fields = Fields()
    ref, page = _user(fields, request), _page(fields, request)
    fields.check()
    return ref, page


def events(request: pb.AdminServiceListAuthEventsRequest) -> tuple[UserRef | None, PageRequest]:
    """Return whose events a request asks for, None for everybody's, and the page."""
    fields = Fields()
    ref = _user(fields, request) if request.WhichOneof("user") else None
    page = _page(fields, request)
    fields.check()
    return ref, page


def page_of(request: _Pages) -> PageRequest:
    """Return the page that a request asks for."""
    fields = Fields()
    page = _page(fields, request)
    fields.check()
    return page


def invitation(request: pb.CreateUserRequest) -> Invitation:
    """Return what a request says of a new account; the flow validates it."""
    return Invitation(
        username=request.username,
        attributes=dict(request.attributes),
        email_verified=request.email_verified,
        phone_number_verified=request.phone_number_verified,
        temporary_password=request.temporary_password,
        is_mailed=not request.suppress_invitation,
    )


def attribute_change(request: pb.AdminServiceUpdateUserAttributesRequest) -> tuple[UserRef, AttributeChange]:
    """Return whose attributes change, and how; the flow validates the values."""
    fields = Fields()
    ref = _user(fields, request)
    if len(request.remove_attributes) > MOST_REMOVED:
        fields.refuse("remove_attributes", "COUNT", f"must have at most {MOST_REMOVED} names")
    fields.check()
    return ref, AttributeChange(
        values=dict(request.attributes),
        removed=frozenset(request.remove_attributes),
        email_verified=request.email_verified if request.HasField("email_verified") else None,
        phone_number_verified=request.phone_number_verified if request.HasField("phone_number_verified") else None,
    )


def new_password(request: pb.SetUserPasswordRequest) -> tuple[UserRef, str]:
    """Return whose password is set, and to what; what it must be is the flow's to check."""
    fields = Fields()
    ref = _user(fields, request)
    if not request.password:
        fields.refuse("password", "REQUIRED", "must not be empty")
    fields.check()
    return ref, request.password


def list_users(request: pb.ListUsersRequest) -> tuple[UserFilter, UserOrder, PageRequest]:
    """Return what the listed accounts have in common, their order, and the page."""
    fields = Fields()
    prefix = fields.take(_username_prefix(request.username_prefix), None)
    email = told(parse_email, request.email, field="email") if request.email else None
    found = fields.take(email, None)
    group = fields.take(parse_group(request.group, field="group"), "") if request.group else None
    status = fields.take(_enum(request.status, UserStatus, "USER_STATUS_", "status"), None)
    order = fields.take(_enum(request.order, UserOrderProto, "USER_ORDER_", "order"), None)
    where = UserFilter(
        username_prefix=prefix,
        email_key=found.key if found else None,
        email_prefix=fields.take(_email_prefix(request.email_prefix), None),
        status=domain.UserStatus(status) if status else None,
        enabled=request.enabled if request.HasField("enabled") else None,
        group=group,
        created_from=_moment(fields, request, "created_from"),
        created_before=_moment(fields, request, "created_before"),
        attributes=fields.take(_attribute_filter(dict(request.attributes)), None),
    )
    page = _page(fields, request)
    fields.check()
    return where, UserOrder(order or UserOrder.CREATED_AT), page


def new_group(request: pb.CreateGroupRequest) -> tuple[str, str, int | None]:
    """Return name, description and precedence of a new group."""
    fields = Fields()
    name = fields.take(parse_group(request.name, field="name"), "")
    if len(request.description) > DESCRIPTION_CHARACTERS or has_control_characters(request.description):
        description = f"must have at most {DESCRIPTION_CHARACTERS} characters, none of them a control character"
        fields.refuse("description", "TEXT", description)
    if request.precedence < 0:
        fields.refuse("precedence", "RANGE", "must not be negative")
    fields.check()
    return name, request.description, request.precedence if request.HasField("precedence") else None


def group_name(request: pb.GetGroupRequest | pb.DeleteGroupRequest) -> str:
    """Return the name of a group."""
    fields = Fields()
    name = fields.take(parse_group(request.name, field="name"), "")
    fields.check()
    return name


def membership(request: pb.AddUserToGroupRequest | pb.RemoveUserFromGroupRequest) -> tuple[UserRef, str]:
    """Return a user and the name of a group."""
    fields = Fields()
    ref = _user(fields, request)
    group = fields.take(parse_group(request.group, field="group"), "")
    fields.check()
    return ref, group


def members(request: pb.ListUsersInGroupRequest) -> tuple[str, PageRequest]:
    """Return the name of a group, and the page."""
    fields = Fields()
    group, page = fields.take(parse_group(request.group, field="group"), ""), _page(fields, request)
    fields.check()
    return group, page


def mail_list(request: pb.ListMailRequest) -> tuple[domain.MailState | None, PageRequest]:
    """Return the state of the listed mail, None for any, and the page."""
    fields = Fields()
    state = fields.take(_enum(request.state, MailState, "MAIL_STATE_", "state"), None)
    page = _page(fields, request)
    fields.check()
    return domain.MailState(state) if state else None, page


def mail_id_of(request: pb.RetryMailRequest) -> MailId:
    """Return the id of a mail."""
    fields = Fields()
    mail_id = fields.take(uuid_of(request.mail_id, "mail_id"), UUID(int=0))
    fields.check()
    return MailId(mail_id)


def _user(fields: Fields, request: _NamesUser) -> UserRef:
    match request.WhichOneof("user"):
        case "username":
            username = told(parse_username, request.username)
            key = fields.take(username if isinstance(username, Violation) else username.key, UsernameKey(""))
            return UserRef(username_key=key)
        case "user_id":
            return UserRef(user_id=UserId(fields.take(uuid_of(request.user_id, "user_id"), UUID(int=0))))
        case _:
            fields.refuse("user", "REQUIRED", "must be given: a username or a user_id")
            return UserRef()


def _page(fields: Fields, request: _Pages) -> PageRequest:
    if not 0 <= request.page_size <= LARGEST_PAGE:
        fields.refuse("page_size", "RANGE", f"must be from 1 to {LARGEST_PAGE}, or 0")
    if len(request.page_token) > TOKEN_CHARACTERS:
        fields.refuse("page_token", "LENGTH", f"must have at most {TOKEN_CHARACTERS} characters")
    return PageRequest(request.page_size, request.page_token)


def _username_prefix(text: str) -> str | Violation | None:
    if not text:
        return None
    if len(text) > USERNAME_CHARACTERS:
        return Violation("username_prefix", "LENGTH", f"must have at most {USERNAME_CHARACTERS} characters")
    if has_control_characters(text):
        return Violation("username_prefix", "CHARACTERS", "must not contain control characters")
    return username_prefix_key(text)


def _email_prefix(text: str) -> str | Violation | None:
    if not text:
        return None
    if len(text) > EMAIL_CHARACTERS:
        return Violation("email_prefix", "LENGTH", f"must have at most {EMAIL_CHARACTERS} characters")
    if has_control_characters(text):
        return Violation("email_prefix", "CHARACTERS", "must not contain control characters")
    return unicodedata.normalize("NFKC", text).casefold()


def _attribute_filter(values: dict[str, str]) -> dict[str, str] | Violation | None:
    if len(values) > MOST_ATTRIBUTE_FILTERS:
        return Violation("attributes", "COUNT", f"must have at most {MOST_ATTRIBUTE_FILTERS} entries")
    if "email" in values:
        return Violation("attributes", "EMAIL", "must not have email, which has a filter of its own")
    if any("\0" in text for entry in values.items() for text in entry):
        return Violation("attributes", "CHARACTERS", "must not contain control characters")
    return values or None


def _enum(number: int, kind: _Enum, prefix: str, field: str) -> str | Violation | None:
    if number == 0:
        return None
    if number not in kind.values():
        return Violation(field, "UNKNOWN", "must be a known value")
    return str(kind.Name(number)).removeprefix(prefix)


def _moment(
    fields: Fields, request: pb.ListUsersRequest, field: Literal["created_from", "created_before"]
) -> datetime | None:
    if not request.HasField(field):
        return None
    value: Timestamp = getattr(request, field)
    try:
        return value.ToDatetime(UTC)
    except (ValueError, OverflowError):
        fields.refuse(field, "RANGE", "must be a time from year 1 to 9999")
        return None
