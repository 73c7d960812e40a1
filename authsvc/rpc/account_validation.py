"""Requests about a signed-in user's account to domain values: every broken field at once."""

from __future__ import annotations

from authsvc.config import MfaType
from authsvc.core.accounts.attributes import CONFIRMED_BY_CODE
from authsvc.core.accounts.password_policy import PasswordPolicy
from authsvc.core.factors.preferences import Preference
from authsvc.core.factors.recovery import Recovery
from authsvc.core.fields import Fields, parse_uuid, refused
from authsvc.core.names import parse_code
from authsvc.core.sign_in.reauthentication import GivenProof, ProofKind
from authsvc.domain import DeviceId
from authsvc.errors import Violation
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_UNSPECIFIED, MfaPreference

MOST_ATTRIBUTES = 50


def mfa_preferences(request: pb.UpdateMfaPreferenceRequest) -> dict[MfaType, Preference]:
    """Return what to do to which kinds of second factor; those to be left as they are are not in it."""
    fields = Fields()
    changes: dict[MfaType, Preference] = {}
    for kind, value in ((MfaType.TOTP, request.totp), (MfaType.SMS, request.sms), (MfaType.EMAIL, request.email)):
        if value not in MfaPreference.values():
            fields.refuse(Violation(kind.lower(), "UNKNOWN", "must be a known preference"))
        elif value != MFA_PREFERENCE_UNSPECIFIED:
            changes[kind] = Preference(MfaPreference.Name(value).removeprefix("MFA_PREFERENCE_"))
    fields.check()
    return changes


def device_id_of(request: pb.RemoveTotpDeviceRequest) -> DeviceId:
    """Return the authenticator's id."""
    fields = Fields()
    device_id = fields.take(parse_uuid, request.device_id, field="device_id")
    fields.check()
    return DeviceId(device_id.value)


def proof_of(request: pb.ReauthenticateRequest, policy: PasswordPolicy) -> GivenProof:
    """Return what the user gives as proof, in the form in which it is compared."""
    kind = request.WhichOneof("proof")
    if kind is None:
        raise refused("proof", "REQUIRED", "must be given")
    given = ProofKind(kind)
    typed = str(getattr(request, given))
    match given:
        case ProofKind.PASSWORD:
            return GivenProof(given, policy.parse(typed, field=given).normal, typed)
        case ProofKind.TOTP_CODE:
            return GivenProof(given, parse_code(typed, field=given))
        case ProofKind.RECOVERY_CODE:
            return GivenProof(given, Recovery.parse(typed, field=given))


def attributes_of(request: pb.UpdateUserAttributesRequest) -> dict[str, str]:
    """Return the attributes to set; what they must be is the flow's to check."""
    fields = Fields()
    fields.require(
        1 <= len(request.attributes) <= MOST_ATTRIBUTES, "attributes", "COUNT", f"must be 1 to {MOST_ATTRIBUTES}"
    )
    fields.check()
    return dict(request.attributes)


def attribute_names_of(request: pb.DeleteUserAttributesRequest) -> list[str]:
    """Return the names of the attributes to remove."""
    fields = Fields()
    fields.require(1 <= len(request.names) <= MOST_ATTRIBUTES, "names", "COUNT", f"must be 1 to {MOST_ATTRIBUTES}")
    fields.check()
    return list(request.names)


def confirmed_attribute_of(request: pb.SendUserAttributeVerificationCodeRequest) -> str:
    """Return which attribute a code is asked for."""
    fields = Fields()
    name = fields.take(_confirmed_attribute, request.name)
    fields.check()
    return name.value


def confirm_user_attribute(request: pb.ConfirmUserAttributeRequest) -> tuple[str, str]:
    """Return which attribute is verified, and the code."""
    fields = Fields()
    name = fields.take(_confirmed_attribute, request.name)
    code = fields.take(parse_code, request.confirmation_code, field="confirmation_code")
    fields.check()
    return name.value, code.value


def _confirmed_attribute(name: str) -> str:
    if name not in CONFIRMED_BY_CODE:
        raise refused("name", "UNKNOWN", "must be email or phone_number")
    return name
