"""Domain values to protos, and what requests say to values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.factors.factor import TotpSetup
from authsvc.core.factors.kinds import ENROLLABLE, kind_of_answer
from authsvc.core.factors.preferences import Preference
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.pages import Page, PageRequest
from authsvc.core.sessions.bearers import Bearer
from authsvc.core.sessions.sessions import Tokens
from authsvc.core.sign_in.answers import Answer, Choice, FactorAnswer, NewPasswordAnswer
from authsvc.core.sign_in.outcomes import SignInOutcome
from authsvc.core.sign_in.steps import MFA_TYPE, NEW_PASSWORD
from authsvc.domain import Event, FactorKind, Session, SessionId, Step, TotpDevice
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.admin_service_pb2 import ListUserSessionsResponse
from authsvc.v1.auth_event_pb2 import AUTH_EVENT_KIND_UNSPECIFIED, AuthEvent, AuthEventKind, AuthEventResult
from authsvc.v1.code_delivery_pb2 import CodeDelivery as CodeDeliveryProto
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.error_reason_pb2 import ERROR_REASON_UNSPECIFIED, ErrorReason
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_UNSPECIFIED, MfaPreference
from authsvc.v1.mfa_type_pb2 import MfaType as MfaTypeProto
from authsvc.v1.reset_password_step_pb2 import ResetPasswordNextStep, ResetPasswordStep
from authsvc.v1.session_pb2 import Session as SessionProto
from authsvc.v1.sign_in_step_pb2 import SignInNextStep, SignInStep
from authsvc.v1.sign_in_step_pb2 import TotpSetup as TotpSetupProto
from authsvc.v1.sign_up_step_pb2 import SIGN_UP_STEP_CONFIRM_SIGN_UP, SIGN_UP_STEP_DONE, SignUpNextStep
from authsvc.v1.tokens_pb2 import Tokens as TokensProto
from authsvc.v1.totp_device_pb2 import TotpDevice as TotpDeviceProto
from authsvc.v1.update_attribute_step_pb2 import UpdateAttributeNextStep, UpdateAttributeStep

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FACTOR_KINDS = {MfaTypeProto.Value(f"MFA_TYPE_{spec.kind}"): spec.kind for spec in ENROLLABLE}
_PREFERENCES = {MfaPreference.Value(f"MFA_PREFERENCE_{preference}"): preference for preference in Preference}
_EVENT_KINDS = dict(AuthEventKind.items())
_REASONS = dict(ErrorReason.items())
STEPS = {step: SignInStep.Value(f"SIGN_IN_STEP_{step}") for step in Step}

_SignInResponse = TypeVar("_SignInResponse", pb.SignInResponse, pb.ConfirmSignInResponse)
_SessionsResponse = TypeVar("_SessionsResponse", pb.ListSessionsResponse, ListUserSessionsResponse)


class _Paged(Protocol):
    page_size: int
    page_token: str


def timestamp(moment: datetime) -> Timestamp:
    """Convert an aware datetime; `FromDatetime`, which goes by the calendar, takes three times as long."""
    since = moment - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def timestamp_or_none(moment: datetime | None) -> Timestamp | None:
    """Convert a datetime, if there is one."""
    return None if moment is None else timestamp(moment)


def code_delivery(delivery: CodeDelivery) -> CodeDeliveryProto:
    """Convert where a code is on its way to."""
    return CodeDeliveryProto(
        destination=delivery.destination,
        medium=DeliveryMedium.Value(f"DELIVERY_MEDIUM_{delivery.medium}"),
        attribute_name=delivery.attribute_name,
    )


def sign_up_step(delivery: CodeDelivery | None) -> SignUpNextStep:
    """Convert the next step of a sign-up: confirmation if a code is on its way, else done."""
    if delivery is None:
        return SignUpNextStep(step=SIGN_UP_STEP_DONE)
    return SignUpNextStep(step=SIGN_UP_STEP_CONFIRM_SIGN_UP, code_delivery=code_delivery(delivery))


def reset_password_step(delivery: CodeDelivery) -> ResetPasswordNextStep:
    """Convert the next step of a password reset."""
    step = ResetPasswordStep.RESET_PASSWORD_STEP_CONFIRM_RESET_PASSWORD_WITH_CODE
    return ResetPasswordNextStep(step=step, code_delivery=code_delivery(delivery))


def sign_in(response: type[_SignInResponse], outcome: SignInOutcome) -> _SignInResponse:
    """Convert where a sign-in stands into one of the responses that tell it."""
    return response(
        is_signed_in=outcome.tokens is not None,
        next_step=SignInNextStep(
            step=STEPS[outcome.step],
            code_delivery=code_delivery(outcome.code_delivery) if outcome.code_delivery else None,
            totp_setup=_totp_setup(outcome.totp_setup) if outcome.totp_setup else None,
            allowed_mfa_types=map(mfa_type, outcome.allowed_mfa_types),
            missing_attributes=outcome.missing_attributes,
            public_parameters=outcome.public_parameters,
        ),
        session=outcome.session,
        tokens=tokens(outcome.tokens) if outcome.tokens else None,
        device_token=outcome.device_token,
    )


def tokens(issued: Tokens) -> TokensProto:
    """Convert tokens."""
    return TokensProto(
        access_token=issued.access_token,
        id_token=issued.id_token,
        refresh_token=issued.refresh_token,
        access_token_expires_at=timestamp(issued.access_token_expires_at),
    )


def auth_session(bearer: Bearer | None) -> pb.FetchAuthSessionResponse:
    """Convert whom a token stands for, and what it says itself: it does not stand for what its session proved since."""
    if bearer is None:
        return pb.FetchAuthSessionResponse()
    standing, token = bearer.standing, bearer.token
    return pb.FetchAuthSessionResponse(
        is_signed_in=True,
        user_id=str(standing.user_id),
        username=standing.username,
        session_id=str(standing.session_id),
        amr=token.amr,
        auth_time=timestamp(token.auth_time),
        expires_at=timestamp(token.expires_at),
    )


def page_of(request: _Paged) -> PageRequest:
    """Return which page a request asks for."""
    return PageRequest(request.page_size, request.page_token)


def session_page(
    response: type[_SessionsResponse], page: Page[Session], *, current: SessionId | None = None
) -> _SessionsResponse:
    """Convert a page of sessions into one of the responses that list them."""
    sessions = [_session(session, current) for session in page.entries]
    return response(sessions=sessions, next_page_token=page.next_page_token)


def answer_of(request: pb.ConfirmSignInRequest) -> Answer | None:
    """Return the answer of a request, as sent; None if there is none."""
    name = request.WhichOneof("answer")
    if name is None:
        return None
    if name == MFA_TYPE:
        return Choice(FACTOR_KINDS.get(request.mfa_type))
    if name == NEW_PASSWORD:
        return NewPasswordAnswer(request.new_password, dict(request.attributes))
    return FactorAnswer(kind_of_answer(name), getattr(request, name))


def proof_of(request: pb.ReauthenticateRequest) -> FactorAnswer | None:
    """Return what a user gives as proof, as sent; None if there is none."""
    name = request.WhichOneof("proof")
    return None if name is None else FactorAnswer(kind_of_answer(name), getattr(request, name))


def preferences_of(request: pb.UpdateMfaPreferenceRequest) -> dict[FactorKind, Preference | None]:
    """Return what to do to which kinds; those to be left as they are are not in it, None stands for what is unknown."""
    sent = {spec.kind: getattr(request, spec.kind.lower()) for spec in ENROLLABLE}
    return {kind: _PREFERENCES.get(value) for kind, value in sent.items() if value != MFA_PREFERENCE_UNSPECIFIED}


def mfa_type(kind: FactorKind) -> MfaTypeProto.ValueType:
    """Convert a kind of second factor."""
    return MfaTypeProto.Value(f"MFA_TYPE_{kind}")


def totp_device(device: TotpDevice) -> TotpDeviceProto:
    """Convert an active authenticator of the user's."""
    return TotpDeviceProto(
        device_id=str(device.device_id),
        friendly_name=device.friendly_name,
        created_at=timestamp_or_none(device.verified_at),
        last_used_at=timestamp_or_none(device.last_used_at),
    )


def _session(session: Session, current: SessionId | None) -> SessionProto:
    return SessionProto(
        session_id=str(session.session_id),
        created_at=timestamp(session.created_at),
        last_used_at=timestamp(session.last_used_at),
        expires_at=timestamp(session.expires_at),
        client_ip=session.client_ip,
        client_user_agent=session.client_user_agent,
        amr=session.amr,
        is_current=session.session_id == current,
    )


def _totp_setup(setup: TotpSetup) -> TotpSetupProto:
    return TotpSetupProto(shared_secret=setup.shared_secret, setup_uri=setup.setup_uri)


def attribute_step(delivery: CodeDelivery | None) -> UpdateAttributeNextStep:
    """Convert what a changed attribute waits for: a code if one is on its way, else nothing."""
    if delivery is None:
        return UpdateAttributeNextStep(step=UpdateAttributeStep.UPDATE_ATTRIBUTE_STEP_DONE)
    step = UpdateAttributeStep.UPDATE_ATTRIBUTE_STEP_CONFIRM_ATTRIBUTE_WITH_CODE
    return UpdateAttributeNextStep(step=step, code_delivery=code_delivery(delivery))


def own_event(event: Event) -> AuthEvent:
    """Convert an event of a user's own; users are not told which operator it was, nor from where."""
    actor, is_operator, _ = event.actor.partition(":")
    known = replace(event, client_ip="", client_user_agent="") if is_operator else event
    return auth_event(replace(known, actor=actor))


def auth_event(event: Event) -> AuthEvent:
    """Convert an event. What a newer replica recorded may be of a kind or for a reason that this one does not know."""
    return AuthEvent(
        event_id=f"{event.chain}-{event.sequence}",
        kind=_EVENT_KINDS.get(f"AUTH_EVENT_KIND_{event.kind}", AUTH_EVENT_KIND_UNSPECIFIED),
        created_at=timestamp(event.created_at),
        result=AuthEventResult.Value(f"AUTH_EVENT_RESULT_{event.result}"),
        reason=_REASONS.get(f"ERROR_REASON_{event.reason}", ERROR_REASON_UNSPECIFIED),
        user_id=str(event.user_id or ""),
        username=event.username or "",
        actor=event.actor,
        session_id=str(event.session_id or ""),
        request_id=event.request_id,
        client_ip=event.client_ip or "",
        client_user_agent=event.client_user_agent or "",
        details=event.details,
    )
