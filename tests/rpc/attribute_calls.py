"""The calls about a signed-in user's attributes, one line each."""

from __future__ import annotations

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import CodeDelivery, DeliveryMedium
from authsvc.v1.tokens_pb2 import Tokens
from authsvc.v1.update_attribute_step_pb2 import UpdateAttributeStep
from tests.service import Service, bearer

NUMBER = "+14155552671"
OTHER_NUMBER = "+442079460958"


async def fetch_attributes(service: Service, tokens: Tokens) -> dict[str, str]:
    """Return the attributes that users write and the marks of verification, without those that never change."""
    found = await service.stub.FetchUserAttributes(pb.FetchUserAttributesRequest(), metadata=bearer(tokens))
    return {name: value for name, value in found.attributes.items() if name not in ("sub", "updated_at")}


async def fetch_pending(service: Service, tokens: Tokens) -> dict[str, str]:
    """Return the values that wait for their code."""
    found = await service.stub.FetchUserAttributes(pb.FetchUserAttributesRequest(), metadata=bearer(tokens))
    return dict(found.pending)


async def set_attributes(service: Service, tokens: Tokens, **values: str) -> dict[str, tuple[str, str]]:
    """Set attributes, `custom_team` for `custom:team`; return of each its step and where its code goes."""
    named = {name.replace("custom_", "custom:"): value for name, value in values.items()}
    request = pb.UpdateUserAttributesRequest(attributes=named)
    changed = await service.stub.UpdateUserAttributes(request, metadata=bearer(tokens))
    return {
        name: (UpdateAttributeStep.Name(step.step).removeprefix("UPDATE_ATTRIBUTE_STEP_"), _where(step.code_delivery))
        for name, step in changed.next_steps.items()
    }


async def remove_attributes(service: Service, tokens: Tokens, *names: str) -> None:
    """Remove attributes."""
    await service.stub.DeleteUserAttributes(pb.DeleteUserAttributesRequest(names=names), metadata=bearer(tokens))


async def send_code(service: Service, tokens: Tokens, name: str) -> str:
    """Have a code sent; return where it goes."""
    request = pb.SendUserAttributeVerificationCodeRequest(name=name)
    sent = await service.stub.SendUserAttributeVerificationCode(request, metadata=bearer(tokens))
    return _where(sent.code_delivery)


async def confirm_attribute(service: Service, tokens: Tokens, name: str, code: str) -> None:
    """Verify an attribute."""
    request = pb.ConfirmUserAttributeRequest(name=name, confirmation_code=code)
    await service.stub.ConfirmUserAttribute(request, metadata=bearer(tokens))


def _where(delivery: CodeDelivery) -> str:
    if not delivery.destination:
        return ""
    medium = DeliveryMedium.Name(delivery.medium).removeprefix("DELIVERY_MEDIUM_")
    return f"{medium} {delivery.destination} {delivery.attribute_name}"
