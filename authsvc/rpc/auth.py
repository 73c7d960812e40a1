"""AuthService: call the flow with what was sent, convert what it returns."""

from __future__ import annotations

from authsvc.rpc import convert, event_convert
from authsvc.rpc.call import Context, current_call
from authsvc.rpc.flows import Flows
from authsvc.rpc.hashing import waits_for_hash
from authsvc.rpc.pages import page_of
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceServicer


class AuthServicer(AuthServiceServicer):
    """Serve the RPCs of `authsvc.v1.AuthService`; what each does stands in its proto."""

    def __init__(self, *, flows: Flows) -> None:
        self._flows = flows

    @waits_for_hash
    async def SignUp(self, request: pb.SignUpRequest, context: Context) -> pb.SignUpResponse:
        outcome = await self._flows.sign_up.start(
            request.username,
            request.password,
            request.attributes,
            request_id=request.request_id,
            caller=current_call.get().caller,
        )
        return pb.SignUpResponse(user_id=str(outcome.user_id), next_step=convert.sign_up_step(outcome.code_delivery))

    async def ConfirmSignUp(self, request: pb.ConfirmSignUpRequest, context: Context) -> pb.ConfirmSignUpResponse:
        caller = current_call.get().caller
        await self._flows.sign_up_codes.confirm(request.username, request.confirmation_code, caller)
        return pb.ConfirmSignUpResponse(next_step=convert.sign_up_step(None))

    async def ResendSignUpCode(
        self, request: pb.ResendSignUpCodeRequest, context: Context
    ) -> pb.ResendSignUpCodeResponse:
        delivery = await self._flows.sign_up_codes.resend(request.username, current_call.get().caller)
        return pb.ResendSignUpCodeResponse(code_delivery=convert.code_delivery(delivery))

    @waits_for_hash
    async def SignIn(self, request: pb.SignInRequest, context: Context) -> pb.SignInResponse:
        outcome = await self._flows.sign_in.start(request.username, request.password, current_call.get().caller)
        return convert.sign_in(outcome)

    @waits_for_hash
    async def ConfirmSignIn(self, request: pb.ConfirmSignInRequest, context: Context) -> pb.ConfirmSignInResponse:
        answer, caller = convert.answer_of(request), current_call.get().caller
        return convert.confirm_sign_in(await self._flows.sign_in_steps.confirm(request.session, answer, caller))

    async def ResendSignInCode(
        self, request: pb.ResendSignInCodeRequest, context: Context
    ) -> pb.ResendSignInCodeResponse:
        delivery = await self._flows.sign_in_steps.resend(request.session, current_call.get().caller)
        return pb.ResendSignInCodeResponse(code_delivery=convert.code_delivery(delivery))

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> pb.ResetPasswordResponse:
        delivery = await self._flows.reset_codes.start(request.username, current_call.get().caller)
        return pb.ResetPasswordResponse(next_step=convert.reset_password_step(delivery))

    @waits_for_hash
    async def ConfirmResetPassword(
        self, request: pb.ConfirmResetPasswordRequest, context: Context
    ) -> pb.ConfirmResetPasswordResponse:
        caller = current_call.get().caller
        await self._flows.password_reset.confirm(
            request.username, request.confirmation_code, request.new_password, caller=caller
        )
        return pb.ConfirmResetPasswordResponse()

    @waits_for_hash
    async def UpdatePassword(self, request: pb.UpdatePasswordRequest, context: Context) -> pb.UpdatePasswordResponse:
        bearer = await self._flows.bearer()
        await self._flows.password_update.update(bearer, request.previous_password, request.proposed_password)
        return pb.UpdatePasswordResponse()

    @waits_for_hash
    async def Reauthenticate(self, request: pb.ReauthenticateRequest, context: Context) -> pb.ReauthenticateResponse:
        bearer = await self._flows.bearer()
        tokens = await self._flows.reauthentication.prove(bearer, convert.proof_of(request))
        return pb.ReauthenticateResponse(tokens=convert.tokens(tokens))

    async def FetchAuthSession(
        self, request: pb.FetchAuthSessionRequest, context: Context
    ) -> pb.FetchAuthSessionResponse:
        call = current_call.get()
        return convert.auth_session(await self._flows.bearers.fetch(call.access_token, call.caller))

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.RefreshSessionResponse:
        tokens = await self._flows.refreshes.refresh(request.refresh_token, current_call.get().caller)
        return pb.RefreshSessionResponse(tokens=convert.tokens(tokens))

    async def GetCurrentUser(self, request: pb.GetCurrentUserRequest, context: Context) -> pb.GetCurrentUserResponse:
        return convert.current_user(await self._flows.bearer())

    async def SignOut(self, request: pb.SignOutRequest, context: Context) -> pb.SignOutResponse:
        # `global` is a keyword here.
        everywhere: bool = getattr(request, "global")
        await self._flows.sessions.sign_out(await self._flows.bearer(), everywhere=everywhere)
        return pb.SignOutResponse()

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        bearer = await self._flows.bearer()
        page = await self._flows.sessions.list_live(bearer.standing.user_id, page_of(request))
        return convert.session_page(page, bearer.standing.session_id)

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Context) -> pb.RevokeSessionResponse:
        bearer = await self._flows.bearer()
        await self._flows.sessions.revoke(bearer, request.session_id)
        return pb.RevokeSessionResponse()

    async def GetSigningKeys(self, request: pb.GetSigningKeysRequest, context: Context) -> pb.GetSigningKeysResponse:
        return convert.signing_keys(await self._flows.signing_keys.public_keys())

    async def AssociateTotp(self, request: pb.AssociateTotpRequest, context: Context) -> pb.AssociateTotpResponse:
        bearer = await self._flows.bearer()
        setup, session = await self._flows.authenticators.associate(bearer, request.friendly_name)
        return convert.totp_association(setup, session)

    async def VerifyTotp(self, request: pb.VerifyTotpRequest, context: Context) -> pb.VerifyTotpResponse:
        bearer = await self._flows.bearer()
        await self._flows.authenticators.verify(bearer, request.session, request.totp_code)
        return pb.VerifyTotpResponse()

    async def ListTotpDevices(self, request: pb.ListTotpDevicesRequest, context: Context) -> pb.ListTotpDevicesResponse:
        return convert.totp_devices(await self._flows.authenticators.list_active(await self._flows.bearer()))

    async def RemoveTotpDevice(
        self, request: pb.RemoveTotpDeviceRequest, context: Context
    ) -> pb.RemoveTotpDeviceResponse:
        bearer = await self._flows.bearer()
        await self._flows.authenticators.remove(bearer, request.device_id)
        return pb.RemoveTotpDeviceResponse()

    async def GenerateRecoveryCodes(
        self, request: pb.GenerateRecoveryCodesRequest, context: Context
    ) -> pb.GenerateRecoveryCodesResponse:
        codes = await self._flows.recovery_codes.generate(await self._flows.bearer())
        return pb.GenerateRecoveryCodesResponse(recovery_codes=codes)

    async def FetchMfaPreference(
        self, request: pb.FetchMfaPreferenceRequest, context: Context
    ) -> pb.FetchMfaPreferenceResponse:
        return convert.mfa_state(await self._flows.preferences.fetch(await self._flows.bearer()))

    async def UpdateMfaPreference(
        self, request: pb.UpdateMfaPreferenceRequest, context: Context
    ) -> pb.UpdateMfaPreferenceResponse:
        bearer = await self._flows.bearer()
        await self._flows.preferences.update(bearer, convert.preferences_of(request))
        return pb.UpdateMfaPreferenceResponse()

    async def FetchUserAttributes(
        self, request: pb.FetchUserAttributesRequest, context: Context
    ) -> pb.FetchUserAttributesResponse:
        return convert.user_attributes(await self._flows.profile.fetch(await self._flows.bearer()))

    async def UpdateUserAttributes(
        self, request: pb.UpdateUserAttributesRequest, context: Context
    ) -> pb.UpdateUserAttributesResponse:
        bearer = await self._flows.bearer()
        deliveries = await self._flows.profile.update(bearer, request.attributes)
        return convert.attribute_steps(deliveries)

    async def DeleteUserAttributes(
        self, request: pb.DeleteUserAttributesRequest, context: Context
    ) -> pb.DeleteUserAttributesResponse:
        bearer = await self._flows.bearer()
        await self._flows.profile.delete(bearer, request.names)
        return pb.DeleteUserAttributesResponse()

    async def SendUserAttributeVerificationCode(
        self, request: pb.SendUserAttributeVerificationCodeRequest, context: Context
    ) -> pb.SendUserAttributeVerificationCodeResponse:
        bearer = await self._flows.bearer()
        delivery = await self._flows.confirmations.send_code(bearer, request.name)
        return pb.SendUserAttributeVerificationCodeResponse(code_delivery=convert.code_delivery(delivery))

    async def ConfirmUserAttribute(
        self, request: pb.ConfirmUserAttributeRequest, context: Context
    ) -> pb.ConfirmUserAttributeResponse:
        bearer = await self._flows.bearer()
        await self._flows.confirmations.confirm(bearer, request.name, request.confirmation_code)
        return pb.ConfirmUserAttributeResponse()

    async def ListAuthEvents(self, request: pb.ListAuthEventsRequest, context: Context) -> pb.ListAuthEventsResponse:
        bearer = await self._flows.bearer()
        page = await self._flows.events.list_own(bearer.standing.user_id, page_of(request))
        return event_convert.own_events(page)

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        await self._flows.deletion.delete(await self._flows.bearer())
        return pb.DeleteUserResponse()
