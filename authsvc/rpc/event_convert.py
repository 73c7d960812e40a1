"""Events of the audit trail to protos."""

from __future__ import annotations

from dataclasses import replace

from authsvc.core.pages import Page
from authsvc.domain import Event
from authsvc.rpc.convert import timestamp
from authsvc.v1 import admin_service_pb2 as admin_pb
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_event_pb2 import AUTH_EVENT_KIND_UNSPECIFIED, AuthEvent, AuthEventKind, AuthEventResult
from authsvc.v1.error_reason_pb2 import ERROR_REASON_UNSPECIFIED, ErrorReason

_KINDS = dict(AuthEventKind.items())
_REASONS = dict(ErrorReason.items())


def own_events(page: Page[Event]) -> pb.ListAuthEventsResponse:
    """Convert a page of a user's own events; users are not told which operator it was, nor from where."""
    return pb.ListAuthEventsResponse(
        events=[_own_event(event) for event in page.entries], next_page_token=page.next_page_token
    )


def all_events(page: Page[Event]) -> admin_pb.AdminServiceListAuthEventsResponse:
    """Convert a page of events for operators."""
    events = [auth_event(event, actor=event.actor) for event in page.entries]
    return admin_pb.AdminServiceListAuthEventsResponse(events=events, next_page_token=page.next_page_token)


def _own_event(event: Event) -> AuthEvent:
    actor, is_operator, _ = event.actor.partition(":")
    return auth_event(replace(event, client_ip="", client_user_agent="") if is_operator else event, actor=actor)


def auth_event(event: Event, *, actor: str) -> AuthEvent:
    """Convert an event. What a newer replica recorded may be of a kind or for a reason that this one does not know."""
    return AuthEvent(
        event_id=f"{event.chain}-{event.sequence}",
        kind=_KINDS.get(f"AUTH_EVENT_KIND_{event.kind}", AUTH_EVENT_KIND_UNSPECIFIED),
        created_at=timestamp(event.created_at),
        result=AuthEventResult.Value(f"AUTH_EVENT_RESULT_{event.result}"),
        reason=_REASONS.get(f"ERROR_REASON_{event.reason}", ERROR_REASON_UNSPECIFIED),
        user_id=str(event.user_id or ""),
        username=event.username or "",
        actor=actor,
        session_id=str(event.session_id or ""),
        request_id=event.request_id,
        client_ip=event.client_ip or "",
        client_user_agent=event.client_user_agent or "",
        details=event.details,
    )
