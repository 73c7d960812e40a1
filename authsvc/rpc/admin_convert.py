"""What operators see to protos, and what they ask to plain values; whether they may ask it is the flows' to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.accounts.lookup import NamedUser
from authsvc.core.operators.attributes import AttributeChange
from authsvc.core.operators.groups import NewGroup
from authsvc.core.operators.passwords import Invitation
from authsvc.core.operators.user_list import UserQuery, UserView
from authsvc.domain import Group, MailEntry
from authsvc.rpc.convert import mfa_type, timestamp, timestamp_or_none
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.group_pb2 import Group as GroupProto
from authsvc.v1.mail_pb2 import Mail, MailState
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED
from authsvc.v1.user_order_pb2 import UserOrder
from authsvc.v1.user_pb2 import User


class NamesUser(Protocol):
    """Be a request that names an account."""

    username: str
    user_id: str

    # As generated code names it.
    def WhichOneof(self, oneof_group: Literal["user"], /) -> Literal["username", "user_id"] | None: ...


class _Enum(Protocol):
    def values(self) -> Sequence[int]: ...

    # As generated code names it.
    def Name(self, number: Any, /) -> str: ...


def user_of(request: NamesUser) -> NamedUser:
    """Return whom a request names."""
    named = request.WhichOneof("user")
    return NamedUser(request.username if named == "username" else None, request.user_id if named == "user_id" else None)


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


def user(view: UserView) -> User:
    """Convert an account."""
    account = view.user
    return User(
        user_id=str(account.user_id),
        username=account.username,
        status=UserStatus.Value(f"USER_STATUS_{account.status}"),
        enabled=account.disabled_at is None,
        attributes=account.claims,
        email_verified=account.email_verified_at is not None,
        phone_number_verified=account.phone_verified_at is not None,
        created_at=timestamp(account.created_at),
        updated_at=timestamp_or_none(account.updated_at),
        mfa_enabled=map(mfa_type, view.enrolled),
        mfa_preferred=mfa_type(view.preferred) if view.preferred else MFA_TYPE_UNSPECIFIED,
        groups=view.groups,
    )


def group(found: Group) -> GroupProto:
    """Convert a group."""
    return GroupProto(
        name=found.name,
        description=found.description,
        precedence=found.precedence,
        created_at=timestamp(found.created_at),
    )


def mail(entry: MailEntry) -> Mail:
    """Convert a mail of the queue."""
    return Mail(
        mail_id=str(entry.mail_id),
        kind=entry.kind,
        state=MailState.Value(f"MAIL_STATE_{entry.state}"),
        created_at=timestamp(entry.created_at),
        next_try_at=timestamp(entry.not_before) if entry.state == "QUEUED" else None,
        expires_at=timestamp_or_none(entry.expires_at),
        finished_at=timestamp_or_none(entry.finished_at),
        attempts=entry.attempts,
        last_error=entry.last_error or "",
        medium=DeliveryMedium.Value(f"DELIVERY_MEDIUM_{entry.medium}"),
    )
