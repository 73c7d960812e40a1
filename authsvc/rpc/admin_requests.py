"""Requests of operators as what they say, in plain values; whether they may say it is the flows' to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.accounts.lookup import NamedUser
from authsvc.core.operators.attributes import AttributeChange
from authsvc.core.operators.groups import NewGroup
from authsvc.core.operators.passwords import Invitation
from authsvc.core.operators.user_list import UserQuery
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.mail_pb2 import MailState
from authsvc.v1.user_order_pb2 import UserOrder


class _NamesUser(Protocol):
    username: str
    user_id: str

    # As generated code names it.
    def WhichOneof(self, oneof_group: Literal["user"], /) -> Literal["username", "user_id"] | None: ...


class _Enum(Protocol):
    def values(self) -> Sequence[int]: ...

    # As generated code names it.
    def Name(self, number: Any, /) -> str: ...


def user_of(request: _NamesUser) -> NamedUser:
    """Return whom a request names."""
    named = request.WhichOneof("user")
    return NamedUser(request.username if named == "username" else None, request.user_id if named == "user_id" else None)


def user_or_all(request: pb.AdminServiceListAuthEventsRequest) -> NamedUser | None:
    """Return whose events a request asks for; None for everybody's."""
    return user_of(request) if request.WhichOneof("user") else None


def invitation(request: pb.CreateUserRequest) -> Invitation:
    """Return what a request says of a new account."""
    return Invitation(
        username=request.username,
        attributes=dict(request.attributes),
        email_verified=request.email_verified,
        phone_number_verified=request.phone_number_verified,
        temporary_password=request.temporary_password,
        is_mailed=not request.suppress_invitation,
    )


def attribute_change(request: pb.AdminServiceUpdateUserAttributesRequest) -> AttributeChange:
    """Return how attributes change."""
    return AttributeChange(
        values=dict(request.attributes),
        removed=tuple(request.remove_attributes),
        email_verified=request.email_verified if request.HasField("email_verified") else None,
        phone_number_verified=request.phone_number_verified if request.HasField("phone_number_verified") else None,
    )


def user_query(request: pb.ListUsersRequest) -> UserQuery:
    """Return what the listed accounts have in common, and their order."""
    return UserQuery(
        username_prefix=request.username_prefix,
        email=request.email,
        email_prefix=request.email_prefix,
        status=_choice(UserStatus, request.status, "USER_STATUS_"),
        enabled=request.enabled if request.HasField("enabled") else None,
        group=request.group,
        created_from=_moment(request.created_from) if request.HasField("created_from") else None,
        created_before=_moment(request.created_before) if request.HasField("created_before") else None,
        attributes=dict(request.attributes),
        order=_choice(UserOrder, request.order, "USER_ORDER_"),
        descending=request.descending,
    )


def new_group(request: pb.CreateGroupRequest) -> NewGroup:
    """Return what a request says of a new group."""
    return NewGroup(request.name, request.description, request.precedence if request.HasField("precedence") else None)


def mail_state(request: pb.ListMailRequest) -> str:
    """Return the state of the listed mail; empty for any."""
    return _choice(MailState, request.state, "MAIL_STATE_")


def _choice(kind: _Enum, number: int, prefix: str) -> str:
    """Return the name of a value; empty for the unspecified one, and of an unknown one the number."""
    if number == 0:
        return ""
    return kind.Name(number).removeprefix(prefix) if number in kind.values() else str(number)


def _moment(time: Timestamp) -> tuple[int, int]:
    return time.seconds, time.nanos
