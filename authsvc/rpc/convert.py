"""Domain values to protos."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.core.accounts.profile import UserAttributes
from authsvc.core.factors.factor import TotpSetup
from authsvc.core.factors.kinds import ENROLLABLE, kind_of_answer
from authsvc.core.factors.preferences import MfaState, Preference
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.pages import Page
from authsvc.core.sessions.bearers import Bearer
from authsvc.core.sessions.sessions import Tokens
from authsvc.core.sign_in.answers import Answer, Choice, FactorAnswer, NewPasswordAnswer
from authsvc.core.sign_in.next_steps import SignInOutcome
from authsvc.core.sign_in.steps import MFA_TYPE, NEW_PASSWORD
from authsvc.domain import FactorKind, Session, Step, TotpDevice
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import CodeDelivery as CodeDeliveryProto
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_UNSPECIFIED, MfaPreference
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED
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
from authsvc.v1.totp_device_pb2 import TotpDevice as TotpDeviceProto
from authsvc.v1.update_attribute_step_pb2 import (
    UPDATE_ATTRIBUTE_STEP_CONFIRM_ATTRIBUTE_WITH_CODE,
    UPDATE_ATTRIBUTE_STEP_DONE,
    UpdateAttributeNextStep,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FACTOR_KINDS = {MfaTypeProto.Value(f"MFA_TYPE_{spec.kind}"): spec.kind for spec in ENROLLABLE}
_PREFERENCES = {MfaPreference.Value(f"MFA_PREFERENCE_{preference}"): preference for preference in Preference}
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
            allowed_mfa_types=[mfa_type(kind) for kind in outcome.allowed_mfa_types],
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
    sent = {FactorKind.TOTP: request.totp, FactorKind.SMS: request.sms, FactorKind.EMAIL: request.email}
    return {kind: _PREFERENCES.get(value) for kind, value in sent.items() if value != MFA_PREFERENCE_UNSPECIFIED}


def totp_association(setup: TotpSetup, session: str) -> pb.AssociateTotpResponse:
    """Convert a pending authenticator."""
    return pb.AssociateTotpResponse(shared_secret=setup.shared_secret, setup_uri=setup.setup_uri, session=session)


def signing_keys(keys: list[dict[str, str]]) -> pb.GetSigningKeysResponse:
    """Convert public keys; the JSON form is a JWK Set."""
    return pb.GetSigningKeysResponse(keys=[JsonWebKey(**key) for key in keys])


def mfa_state(state: MfaState) -> pb.FetchMfaPreferenceResponse:
    """Convert the user's second factors."""
    return pb.FetchMfaPreferenceResponse(
        enabled=[mfa_type(kind) for kind in state.enabled],
        preferred=mfa_type(state.preferred) if state.preferred else MFA_TYPE_UNSPECIFIED,
        recovery_codes_left=state.recovery_codes_left,
    )


def mfa_type(kind: FactorKind) -> MfaTypeProto.ValueType:
    """Convert a kind of second factor."""
    return MfaTypeProto.Value(f"MFA_TYPE_{kind}")


def totp_devices(devices: list[TotpDevice]) -> pb.ListTotpDevicesResponse:
    """Convert the user's active authenticators."""
    return pb.ListTotpDevicesResponse(
        devices=[
            TotpDeviceProto(
                device_id=str(device.device_id),
                friendly_name=device.friendly_name,
                created_at=timestamp(device.verified_at) if device.verified_at else None,
                last_used_at=timestamp(device.last_used_at) if device.last_used_at else None,
            )
            for device in devices
        ]
    )


def user_attributes(found: UserAttributes) -> pb.FetchUserAttributesResponse:
    """Convert the user's attributes."""
    return pb.FetchUserAttributesResponse(attributes=found.attributes, pending=found.pending)


def attribute_steps(deliveries: Mapping[str, CodeDelivery | None]) -> pb.UpdateUserAttributesResponse:
    """Convert what each changed attribute waits for: a code if one is on its way, else nothing."""
    return pb.UpdateUserAttributesResponse(
        next_steps={name: _attribute_step(delivery) for name, delivery in deliveries.items()}
    )


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


def _attribute_step(delivery: CodeDelivery | None) -> UpdateAttributeNextStep:
    if delivery is None:
        return UpdateAttributeNextStep(step=UPDATE_ATTRIBUTE_STEP_DONE)
    step = UPDATE_ATTRIBUTE_STEP_CONFIRM_ATTRIBUTE_WITH_CODE
    return UpdateAttributeNextStep(step=step, code_delivery=code_delivery(delivery))
