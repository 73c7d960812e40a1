"""What the server answers, for people or as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.cli.tables import Row, print_fields, print_table
from authsvc.v1.auth_event_pb2 import AuthEvent, AuthEventKind, AuthEventResult
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import CodeDelivery, DeliveryMedium
from authsvc.v1.error_reason_pb2 import ErrorReason
from authsvc.v1.group_pb2 import Group
from authsvc.v1.mail_pb2 import Mail, MailState
from authsvc.v1.mfa_type_pb2 import MfaType
from authsvc.v1.session_pb2 import Session
from authsvc.v1.user_pb2 import User


class Show:
    """Print responses."""

    def __init__(self, *, as_json: bool) -> None:
        self.is_json = as_json

    def entry(self, response: Any, field: str) -> None:
        """Print the user or the group of a response."""
        if not self._as_json(response):
            print_fields(_ROWS[field](getattr(response, field)))

    def delivery(self, response: Any) -> None:
        """Print where something is on its way to."""
        if not self._as_json(response):
            delivery: CodeDelivery = response.code_delivery
            click.echo(f"sent to {delivery.destination}" if response.HasField("code_delivery") else "nothing sent")

    def done(self, response: Any, words: str) -> None:
        """Print that something is done."""
        if not self._as_json(response):
            click.echo(words)

    def entries(self, response: Any, field: str) -> None:
        """Print the list of a response."""
        if self._as_json(response):
            return
        if entries := getattr(response, field):
            print_table([_ROWS[field](entry) for entry in entries])
        else:
            click.echo("none", err=True)
        if token := getattr(response, "next_page_token", ""):
            click.echo(f"more: --page-token {token}, or --all", err=True)

    def _as_json(self, response: Message) -> bool:
        if self.is_json:
            text = MessageToJson(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
            click.echo(text)
        return self.is_json


def _user(user: User) -> Row:
    return {
        "username": user.username,
        "user_id": user.user_id,
        "status": UserStatus.Name(user.status).removeprefix("USER_STATUS_"),
        "enabled": _yes(user.enabled),
        "email": user.attributes.get("email"),
        "verified": _yes(user.email_verified),
        "mfa": _mfa(user),
        "created": _time(user.created_at),
    }


def _whole_user(user: User) -> Row:
    attributes = {name: value for name, value in user.attributes.items() if name != "email"}
    if "phone_number" in attributes:
        attributes["phone_verified"] = _yes(user.phone_number_verified)
    row = _user(user)
    return {
        **row,
        "updated": _time(user.updated_at) if user.HasField("updated_at") else None,
        "groups": " ".join(user.groups),
        **dict(sorted(attributes.items())),
    }


def _group(group: Group) -> Row:
    return {
        "name": group.name,
        "precedence": str(group.precedence) if group.HasField("precedence") else None,
        "created": _time(group.created_at),
        "description": group.description,
    }


def _session(session: Session) -> Row:
    return {
        "session_id": session.session_id,
        "created": _time(session.created_at),
        "last_used": _time(session.last_used_at),
        "expires": _time(session.expires_at),
        "amr": " ".join(session.amr),
        "client_ip": session.client_ip,
        "user_agent": session.client_user_agent,
    }


def _event(event: AuthEvent) -> Row:
    details = " ".join(f"{name}={value}" for name, value in sorted(event.details.items()))
    return {
        "created": _time(event.created_at),
        "kind": _name(AuthEventKind, event.kind, "AUTH_EVENT_KIND_"),
        "result": AuthEventResult.Name(event.result).removeprefix("AUTH_EVENT_RESULT_"),
        "reason": _name(ErrorReason, event.reason, "ERROR_REASON_") if event.reason else None,
        "username": event.username or event.user_id,
        "actor": event.actor,
        "client_ip": event.client_ip,
        "details": _printable(details),
    }


def _mail(mail: Mail) -> Row:
    return {
        "mail_id": mail.mail_id,
        "kind": mail.kind,
        "medium": _name(DeliveryMedium, mail.medium, "DELIVERY_MEDIUM_"),
        "state": MailState.Name(mail.state).removeprefix("MAIL_STATE_"),
        "created": _time(mail.created_at),
        "next_try": _time(mail.next_try_at) if mail.HasField("next_try_at") else None,
        "attempts": str(mail.attempts),
        "last_error": _printable(mail.last_error),
    }


# Each field of a response that is shown, and what makes a row of what is in it.
_ROWS: dict[str, Callable[[Any], Row]] = {
    "user": _whole_user,
    "users": _user,
    "group": _group,
    "groups": _group,
    "sessions": _session,
    "events": _event,
    "mail": _mail,
}


def _name(kind: Any, number: int, prefix: str) -> str:
    # A newer server has values that this client does not know.
    return str(kind.Name(number)).removeprefix(prefix) if number in kind.values() else str(number)


def _printable(text: str) -> str:
    # The words of another server, which may hold what a terminal obeys.
    return "".join(character if character.isprintable() else "?" for character in text)


def _mfa(user: User) -> str:
    names = {kind: MfaType.Name(kind).removeprefix("MFA_TYPE_") for kind in user.mfa_enabled}
    return " ".join(f"{name}*" if kind == user.mfa_preferred else name for kind, name in names.items())


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _time(moment: Timestamp) -> str:
    return moment.ToDatetime().isoformat(timespec="seconds") + "Z"
