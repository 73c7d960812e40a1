"""What operators see, to protos."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.operators.groups import GroupPage
from authsvc.core.operators.mail_queue import MailPage
from authsvc.core.operators.user_list import UserPage
from authsvc.core.sessions.sessions import SessionPage
from authsvc.rpc import convert
from authsvc.store.groups import Group
from authsvc.store.mail_list import MailEntry
from authsvc.store.user_list import UserEntry
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.group_pb2 import Group as GroupProto
from authsvc.v1.mail_pb2 import Mail, MailState
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL, MFA_TYPE_SMS, MFA_TYPE_TOTP, MFA_TYPE_UNSPECIFIED, MfaType
from authsvc.v1.user_pb2 import User


def user(entry: UserEntry) -> User:
    """Convert an account."""
    return User(
        user_id=str(entry.user_id),
        username=entry.username,
        status=UserStatus.Value(f"USER_STATUS_{entry.status}"),
        enabled=entry.disabled_at is None,
        attributes={**entry.attributes, **({"email": entry.email} if entry.email else {})},
        email_verified=entry.email_verified_at is not None,
        phone_number_verified=entry.phone_verified_at is not None,
        created_at=convert.timestamp(entry.created_at),
        updated_at=_maybe(entry.updated_at),
        mfa_enabled=_mfa_enabled(entry),
        mfa_preferred=MfaType.Value(f"MFA_TYPE_{entry.preferred_mfa}") if entry.preferred_mfa else MFA_TYPE_UNSPECIFIED,
        groups=entry.groups,
    )


def user_page(page: UserPage) -> pb.ListUsersResponse:
    """Convert a page of accounts."""
    return pb.ListUsersResponse(users=[user(entry) for entry in page.users], next_page_token=page.next_page_token)


def member_page(page: UserPage) -> pb.ListUsersInGroupResponse:
    """Convert a page of members."""
    return pb.ListUsersInGroupResponse(
        users=[user(entry) for entry in page.users], next_page_token=page.next_page_token
    )


def session_page(page: SessionPage) -> pb.ListUserSessionsResponse:
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


def group_page(page: GroupPage) -> pb.ListGroupsResponse:
    """Convert a page of groups."""
    return pb.ListGroupsResponse(groups=[group(each) for each in page.groups], next_page_token=page.next_page_token)


def mail_page(page: MailPage) -> pb.ListMailResponse:
    """Convert a page of mail."""
    return pb.ListMailResponse(mail=[_mail(each) for each in page.mails], next_page_token=page.next_page_token)


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


def _mfa_enabled(entry: UserEntry) -> list[MfaType.ValueType]:
    enabled = (
        (MFA_TYPE_TOTP, entry.totp_mfa and entry.has_totp_device),
        (MFA_TYPE_SMS, entry.sms_mfa and entry.phone_verified_at is not None),
        (MFA_TYPE_EMAIL, entry.email_mfa and entry.email_verified_at is not None),
    )
    return [kind for kind, is_enabled in enabled if is_enabled]


def _maybe(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else convert.timestamp(moment)
