"""Domain values to protos."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.factors.totp import TotpSetup
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.pages import Page
from authsvc.core.sessions.bearers import Bearer
from authsvc.core.sessions.tokens import Tokens
from authsvc.core.sign_in.next_steps import SignInOutcome
from authsvc.core.sign_in.steps import Step
from authsvc.domain import Session
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import CodeDelivery as CodeDeliveryProto
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.mfa_type_pb2 import MfaType as MfaTypeProto
from authsvc.v1.reset_password_step_pb2 import (
    RESET_PASSWORD_STEP_CONFIRM_RESET_PASSWORD_WITH_CODE,
    ResetPasswordNextStep,
)
from authsvc.v1.session_pb2 import Session as SessionProto
from authsvc.v1.sign_in_step_pb2 import SignInNextStep, SignInStep
from authsvc.v1.sign_in_step_pb2 import TotpSetup as TotpSetupProto
from authsvc.v1.sign_up_step_pb2 import SIGN_UP_STEP_CONFIRM_SIGN_UP, SIGN_UP_STEP_DONE, SignUpNextStep
from authsvc.v1.signing_key_pb2 import JsonWebKey
from authsvc.v1.tokens_pb2 import Tokens as TokensProto

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = {step: SignInStep.Value(f"SIGN_IN_STEP_{step}") for step in Step}


def timestamp(moment: datetime) -> Timestamp:
    """Convert an aware datetime; `FromDatetime`, which goes by the calendar, takes three times as long."""
    since = moment - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


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
    return ResetPasswordNextStep(
        step=RESET_PASSWORD_STEP_CONFIRM_RESET_PASSWORD_WITH_CODE, code_delivery=code_delivery(delivery)
    )


def sign_in(outcome: SignInOutcome) -> pb.SignInResponse:
    """Convert where a sign-in stands."""
    return pb.SignInResponse(
        is_signed_in=outcome.tokens is not None,
        next_step=SignInNextStep(
            step=STEPS[outcome.step],
            code_delivery=code_delivery(outcome.code_delivery) if outcome.code_delivery else None,
            totp_setup=_totp_setup(outcome.totp_setup) if outcome.totp_setup else None,
            allowed_mfa_types=[MfaTypeProto.Value(f"MFA_TYPE_{kind}") for kind in outcome.allowed_mfa_types],
            missing_attributes=outcome.missing_attributes,
            public_parameters=outcome.public_parameters,
        ),
        session=outcome.session,
        tokens=tokens(outcome.tokens) if outcome.tokens else None,
    )


def confirm_sign_in(outcome: SignInOutcome) -> pb.ConfirmSignInResponse:
    """Convert the same outcome into the other response of the same fields."""
    same = sign_in(outcome)
    return pb.ConfirmSignInResponse(
        is_signed_in=same.is_signed_in,
        next_step=same.next_step,
        session=same.session,
        tokens=same.tokens if same.HasField("tokens") else None,
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
    """Convert whom a token stands for."""
    if bearer is None:
        return pb.FetchAuthSessionResponse()
    standing = bearer.standing
    return pb.FetchAuthSessionResponse(
        is_signed_in=True,
        user_id=str(standing.user_id),
        username=standing.username,
        session_id=str(standing.session_id),
        amr=standing.amr,
        auth_time=timestamp(standing.auth_time),
        expires_at=timestamp(bearer.token_expires_at),
    )


def current_user(bearer: Bearer) -> pb.GetCurrentUserResponse:
    """Convert who is signed in."""
    standing = bearer.standing
    return pb.GetCurrentUserResponse(
        user_id=str(standing.user_id),
        username=standing.username,
        status=pb.UserStatus.Value(f"USER_STATUS_{standing.status}"),
    )


def session_page(page: Page[Session], current: UUID | None) -> pb.ListSessionsResponse:
    """Convert a page of sessions."""
    return pb.ListSessionsResponse(
        sessions=[_session(session, current) for session in page.entries], next_page_token=page.next_page_token
    )


def totp_association(setup: TotpSetup, session: str) -> pb.AssociateTotpResponse:
    """Convert a pending authenticator."""
    return pb.AssociateTotpResponse(shared_secret=setup.shared_secret, setup_uri=setup.setup_uri, session=session)


def signing_keys(keys: list[dict[str, str]]) -> pb.GetSigningKeysResponse:
    """Convert public keys; the JSON form is a JWK Set."""
    return pb.GetSigningKeysResponse(keys=[JsonWebKey(**key) for key in keys])


def _session(session: Session, current: UUID | None) -> SessionProto:
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
