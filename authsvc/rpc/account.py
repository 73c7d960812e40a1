"""The methods of AuthService by which a signed-in user keeps the account: validate, call the flow, convert."""

from __future__ import annotations

from authsvc.rpc import account_convert as convert
from authsvc.rpc import account_validation as validation
from authsvc.rpc import event_convert
from authsvc.rpc.call import Context
from authsvc.rpc.convert import code_delivery
from authsvc.rpc.convert import tokens as token_proto
from authsvc.rpc.flows import Flows
from authsvc.rpc.hashing import waits_for_hash
from authsvc.rpc.pages import page_of
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceServicer


class AccountServicer(AuthServiceServicer):
    """Serve factors, attributes and the account as a whole; what each RPC does stands in its proto."""

    _flows: Flows

    async def FetchMfaPreference(
        self, request: pb.FetchMfaPreferenceRequest, context: Context
    ) -> pb.FetchMfaPreferenceResponse:
        return convert.mfa_state(await self._flows.mfa.fetch(await self._flows.bearer()))

    async def UpdateMfaPreference(
        self, request: pb.UpdateMfaPreferenceRequest, context: Context
    ) -> pb.UpdateMfaPreferenceResponse:
        bearer = await self._flows.bearer()
        await self._flows.mfa.update(bearer, validation.mfa_preferences(request))
        return pb.UpdateMfaPreferenceResponse()

    async def ListTotpDevices(self, request: pb.ListTotpDevicesRequest, context: Context) -> pb.ListTotpDevicesResponse:
        return convert.totp_devices(await self._flows.mfa.list_devices(await self._flows.bearer()))

    async def RemoveTotpDevice(
        self, request: pb.RemoveTotpDeviceRequest, context: Context
    ) -> pb.RemoveTotpDeviceResponse:
        bearer = await self._flows.bearer()
        await self._flows.mfa.remove_device(bearer, validation.device_id_of(request))
        return pb.RemoveTotpDeviceResponse()

    async def GenerateRecoveryCodes(
        self, request: pb.GenerateRecoveryCodesRequest, context: Context
    ) -> pb.GenerateRecoveryCodesResponse:
        codes = await self._flows.recovery.generate(await self._flows.bearer())
        return pb.GenerateRecoveryCodesResponse(recovery_codes=codes)

    async def ListAuthEvents(self, request: pb.ListAuthEventsRequest, context: Context) -> pb.ListAuthEventsResponse:
        bearer = await self._flows.bearer()
        page = await self._flows.events.list_own(bearer.standing.user_id, page_of(request))
        return event_convert.own_events(page)

    @waits_for_hash
    async def Reauthenticate(self, request: pb.ReauthenticateRequest, context: Context) -> pb.ReauthenticateResponse:
        bearer = await self._flows.bearer()
        proof = validation.proof_of(request, self._flows.policy)
        tokens = await self._flows.reauthentication.prove(bearer, proof)
        return pb.ReauthenticateResponse(tokens=token_proto(tokens))

    async def FetchUserAttributes(
        self, request: pb.FetchUserAttributesRequest, context: Context
    ) -> pb.FetchUserAttributesResponse:
        return convert.user_attributes(await self._flows.profile.fetch(await self._flows.bearer()))

    async def UpdateUserAttributes(
        self, request: pb.UpdateUserAttributesRequest, context: Context
    ) -> pb.UpdateUserAttributesResponse:
        bearer = await self._flows.bearer()
        deliveries = await self._flows.profile.update(bearer, validation.attributes_of(request))
        return convert.attribute_steps(deliveries)

    async def DeleteUserAttributes(
        self, request: pb.DeleteUserAttributesRequest, context: Context
    ) -> pb.DeleteUserAttributesResponse:
        bearer = await self._flows.bearer()
        await self._flows.profile.delete(bearer, validation.attribute_names_of(request))
        return pb.DeleteUserAttributesResponse()

    async def SendUserAttributeVerificationCode(
        self, request: pb.SendUserAttributeVerificationCodeRequest, context: Context
    ) -> pb.SendUserAttributeVerificationCodeResponse:
        bearer = await self._flows.bearer()
        delivery = await self._flows.confirmations.send_code(bearer, validation.confirmed_attribute_of(request))
        return pb.SendUserAttributeVerificationCodeResponse(code_delivery=code_delivery(delivery))

    async def ConfirmUserAttribute(
        self, request: pb.ConfirmUserAttributeRequest, context: Context
    ) -> pb.ConfirmUserAttributeResponse:
        bearer = await self._flows.bearer()
        await self._flows.confirmations.confirm(bearer, *validation.confirm_user_attribute(request))
        return pb.ConfirmUserAttributeResponse()

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        await self._flows.deletion.delete(await self._flows.bearer())
        return pb.DeleteUserResponse()
