"""Requests about a signed-in user's account to domain values: every broken field at once."""

from __future__ import annotations

from uuid import UUID

from authsvc.config import MfaType
from authsvc.core.mfa import Preference
from authsvc.rpc.fields import Fields, uuid_of
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_UNSPECIFIED, MfaPreference


def mfa_preferences(request: pb.UpdateMfaPreferenceRequest) -> dict[MfaType, Preference]:
    """Return what to do to which kinds of second factor; those to be left as they are are not in it."""
    fields = Fields()
    changes: dict[MfaType, Preference] = {}
    for kind, value in ((MfaType.TOTP, request.totp), (MfaType.SMS, request.sms), (MfaType.EMAIL, request.email)):
        if value not in MfaPreference.values():
            fields.refuse(kind.lower(), "UNKNOWN", "must be a known preference")
        elif value != MFA_PREFERENCE_UNSPECIFIED:
            changes[kind] = Preference(MfaPreference.Name(value).removeprefix("MFA_PREFERENCE_"))
    fields.check()
    return changes


def device_id_of(request: pb.RemoveTotpDeviceRequest) -> UUID:
    """Return the authenticator's id."""
    fields = Fields()
    device_id = fields.take(uuid_of(request.device_id, "device_id"), UUID(int=0))
    fields.check()
    return device_id
