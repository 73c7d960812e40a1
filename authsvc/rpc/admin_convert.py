"""What operators see, to protos."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.operators.user_list import UserView
from authsvc.core.pages import Page
from authsvc.domain import Group, MailEntry, Session
from authsvc.rpc import convert
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.group_pb2 import Group as GroupProto
from authsvc.v1.mail_pb2 import Mail, MailState
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED, MfaType
from authsvc.v1.user_pb2 import User


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
        created_at=convert.timestamp(account.created_at),
        updated_at=_maybe(account.updated_at),
        mfa_enabled=[MfaType.Value(f"MFA_TYPE_{kind}") for kind in view.enrolled],
        mfa_preferred=MfaType.Value(f"MFA_TYPE_{view.preferred}") if view.preferred else MFA_TYPE_UNSPECIFIED,
        groups=view.groups,
    )


def user_page(page: Page[UserView]) -> pb.ListUsersResponse:
    """Convert a page of accounts."""
    return pb.ListUsersResponse(users=[user(view) for view in page.entries], next_page_token=page.next_page_token)


def member_page(page: Page[UserView]) -> pb.ListUsersInGroupResponse:
    """Convert a page of members."""
    return pb.ListUsersInGroupResponse(
        users=[user(view) for view in page.entries], next_page_token=page.next_page_token
    )


def session_page(page: Page[Session]) -> pb.ListUserSessionsResponse:
    """Convert a page of a user's sessions."""
    same = convert.session_page(page, None)
    return pb.ListUserSessionsResponse(sessions=same.sessions, next_page_token=same.next_page_token)


def group(found: Group) -> GroupProto:
    """Convert a group."""
    return GroupProto(
        name=found.name,
        description=found.description,
        precedence=found.precedence,
        created_at=convert.timestamp(found.created_at),
    )


def group_page(page: Page[Group]) -> pb.ListGroupsResponse:
    """Convert a page of groups."""
    return pb.ListGroupsResponse(groups=[group(each) for each in page.entries], next_page_token=page.next_page_token)


def mail_page(page: Page[MailEntry]) -> pb.ListMailResponse:
    """Convert a page of mail."""
    return pb.ListMailResponse(mail=[_mail(each) for each in page.entries], next_page_token=page.next_page_token)


def _mail(entry: MailEntry) -> Mail:
    return Mail(
        mail_id=str(entry.mail_id),
        kind=entry.kind,
        state=MailState.Value(f"MAIL_STATE_{entry.state}"),
        created_at=convert.timestamp(entry.created_at),
        next_try_at=convert.timestamp(entry.not_before) if entry.state == "QUEUED" else None,
        expires_at=_maybe(entry.expires_at),
        finished_at=_maybe(entry.finished_at),
        attempts=entry.attempts,
        last_error=entry.last_error or "",
        medium=DeliveryMedium.Value(f"DELIVERY_MEDIUM_{entry.medium}"),
    )


def _maybe(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else convert.timestamp(moment)
