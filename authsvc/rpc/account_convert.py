"""Domain values about a signed-in user's account to protos."""

from __future__ import annotations

from collections.abc import Mapping

from authsvc.core.accounts.profile import UserAttributes
from authsvc.core.factors.preferences import MfaState
from authsvc.core.messages.codes import CodeDelivery
from authsvc.domain import TotpDevice
from authsvc.rpc.convert import code_delivery, timestamp
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED, MfaType
from authsvc.v1.totp_device_pb2 import TotpDevice as TotpDeviceProto
from authsvc.v1.update_attribute_step_pb2 import (
    UPDATE_ATTRIBUTE_STEP_CONFIRM_ATTRIBUTE_WITH_CODE,
    UPDATE_ATTRIBUTE_STEP_DONE,
    UpdateAttributeNextStep,
)


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


def user_attributes(found: UserAttributes) -> pb.FetchUserAttributesResponse:
    """Convert the user's attributes."""
    return pb.FetchUserAttributesResponse(attributes=found.attributes, pending=found.pending)


def attribute_steps(deliveries: Mapping[str, CodeDelivery | None]) -> pb.UpdateUserAttributesResponse:
    """Convert what each changed attribute waits for: a code if one is on its way, else nothing."""
    return pb.UpdateUserAttributesResponse(
        next_steps={name: _attribute_step(delivery) for name, delivery in deliveries.items()}
    )


def _attribute_step(delivery: CodeDelivery | None) -> UpdateAttributeNextStep:
    if delivery is None:
        return UpdateAttributeNextStep(step=UPDATE_ATTRIBUTE_STEP_DONE)
    step = UPDATE_ATTRIBUTE_STEP_CONFIRM_ATTRIBUTE_WITH_CODE
    return UpdateAttributeNextStep(step=step, code_delivery=code_delivery(delivery))
