"""Requests to domain values: every broken field at once. Normalise, then validate, then use."""

from __future__ import annotations

from authsvc.core.accounts.attributes import has_control_characters
from authsvc.core.accounts.login import Identities, Login
from authsvc.core.accounts.password_policy import PasswordPolicy
from authsvc.core.fields import Fields, parse_given, parse_handle, parse_uuid, refused
from authsvc.core.names import parse_code
from authsvc.core.sign_in.answers import Answer
from authsvc.core.sign_in.steps import AnswerKind
from authsvc.domain import SessionId
from authsvc.errors import Violation
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED, MfaType

FRIENDLY_NAME_CHARACTERS = 64
CUSTOM_ANSWER_BYTES = 2048


def login_of(request: pb.ResendSignUpCodeRequest | pb.ResetPasswordRequest, identities: Identities) -> Login:
    """Return the only field, `username`."""
    fields = Fields()
    login = fields.take(identities.parse, request.username)
    fields.check()
    return login.value


def confirm_sign_up(request: pb.ConfirmSignUpRequest, identities: Identities) -> tuple[Login, str]:
    """Return the login and the code."""
    fields = Fields()
    login = fields.take(identities.parse, request.username)
    code = fields.take(parse_code, request.confirmation_code, field="confirmation_code")
    fields.check()
    return login.value, code.value


def sign_in(request: pb.SignInRequest, identities: Identities, policy: PasswordPolicy) -> tuple[Login, str]:
    """Return the login and the password as it is compared."""
    fields = Fields()
    login = fields.take(identities.parse, request.username)
    password = fields.take(policy.parse, request.password, field="password")
    fields.check()
    return login.value, password.value.normal


def confirm_sign_in(request: pb.ConfirmSignInRequest) -> tuple[str, Answer]:
    """Return the session handle and the answer."""
    fields = Fields()
    session = fields.take(parse_handle, request.session, field="session")
    kind = request.WhichOneof("answer") or ""
    value = fields.take(_answer, request, kind)
    fields.check()
    return session.value, Answer(AnswerKind(kind), value.value, dict(request.attributes))


def sign_in_session_of(request: pb.ResendSignInCodeRequest) -> str:
    """Return the session handle."""
    fields = Fields()
    session = fields.take(parse_handle, request.session, field="session")
    fields.check()
    return session.value


def verify_totp(request: pb.VerifyTotpRequest) -> tuple[str, str]:
    """Return the session handle and the code."""
    fields = Fields()
    session = fields.take(parse_handle, request.session, field="session")
    code = fields.take(parse_code, request.totp_code, field="totp_code")
    fields.check()
    return session.value, code.value


def friendly_name_of(request: pb.AssociateTotpRequest) -> str:
    """Return the name for the list of authenticators."""
    fields = Fields()
    name = request.friendly_name.strip()
    if len(name) > FRIENDLY_NAME_CHARACTERS or has_control_characters(name):
        description = f"must have at most {FRIENDLY_NAME_CHARACTERS} characters, none of them a control character"
        fields.refuse(Violation("friendly_name", "NAME", description))
    fields.check()
    return name


def refresh_token_of(request: pb.RefreshSessionRequest) -> str:
    """Return the refresh token."""
    fields = Fields()
    token = fields.take(parse_handle, request.refresh_token, field="refresh_token")
    fields.check()
    return token.value


def session_id_of(request: pb.RevokeSessionRequest) -> SessionId:
    """Return the session's id."""
    fields = Fields()
    session_id = fields.take(parse_uuid, request.session_id, field="session_id")
    fields.check()
    return SessionId(session_id.value)


def confirm_reset_password(request: pb.ConfirmResetPasswordRequest, identities: Identities) -> tuple[Login, str]:
    """Return the login and the code; the new password is the flow's to check."""
    fields = Fields()
    login = fields.take(identities.parse, request.username)
    code = fields.take(parse_code, request.confirmation_code, field="confirmation_code")
    fields.take(parse_given, request.new_password, field="new_password")
    fields.check()
    return login.value, code.value


def update_password(request: pb.UpdatePasswordRequest) -> None:
    """Check that both passwords are there; what they must be is the flow's to check."""
    fields = Fields()
    for field in ("previous_password", "proposed_password"):
        fields.take(parse_given, getattr(request, field), field=field)
    fields.check()


def _answer(request: pb.ConfirmSignInRequest, kind: str) -> str:
    if not kind:
        raise refused("answer", "REQUIRED", "must be given, of the kind that the step asks for")
    value = getattr(request, kind)
    if kind == AnswerKind.CUSTOM_ANSWER and len(value.encode()) > CUSTOM_ANSWER_BYTES:
        raise refused(kind, "LENGTH", f"must have at most {CUSTOM_ANSWER_BYTES} bytes")
    if kind != AnswerKind.MFA_TYPE:
        return parse_given(str(value), field=kind)
    if value == MFA_TYPE_UNSPECIFIED or value not in MfaType.values():
        raise refused(kind, "UNKNOWN", "must be a known kind of second factor")
    return MfaType.Name(value).removeprefix("MFA_TYPE_")
