"""Domain values about a signed-in user's account to protos."""

from __future__ import annotations

from authsvc.core.mfa import MfaState
from authsvc.rpc.convert import timestamp
from authsvc.store.totp_devices import TotpDevice
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED, MfaType
from authsvc.v1.totp_device_pb2 import TotpDevice as TotpDeviceProto


def mfa_state(state: MfaState) -> pb.FetchMfaPreferenceResponse:
    """Convert the user's second factors."""
    return pb.FetchMfaPreferenceResponse(
        enabled=[mfa_type(kind) for kind in state.enabled],
        preferred=mfa_type(state.preferred) if state.preferred else MFA_TYPE_UNSPECIFIED,
        recovery_codes_left=state.recovery_codes_left,
    )


def mfa_type(kind: str) -> MfaType.ValueType:
    """Convert a kind of second factor."""
    return MfaType.Value(f"MFA_TYPE_{kind}")


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
