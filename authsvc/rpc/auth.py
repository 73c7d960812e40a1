"""AuthService: call the flow with what was sent, convert what it returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from authsvc.core.access.caller import Caller
from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.password_reset import PasswordReset, ResetAnswer, ResetCodes
from authsvc.core.accounts.passwords import PasswordUpdate
from authsvc.core.accounts.profile import Profile
from authsvc.core.accounts.sign_up import SignUp
from authsvc.core.accounts.sign_up_codes import SignUpCodes
from authsvc.core.audit.events import AuditEvents
from authsvc.core.factors.authenticators import Authenticators
from authsvc.core.factors.preferences import Preferences
from authsvc.core.factors.recovery import RecoveryCodes
from authsvc.core.sessions.bearers import Bearer, Bearers
from authsvc.core.sessions.refresh import Refreshes
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.core.sessions.user_sessions import UserSessions
from authsvc.core.sign_in.flow import SignIn, SignInSteps
from authsvc.core.sign_in.reauthentication import Reauthentication
from authsvc.rpc import convert
from authsvc.rpc.call import Context, current_call
from authsvc.rpc.hashing import waits_for_hash
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceServicer
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_UNSPECIFIED
from authsvc.v1.signing_key_pb2 import JsonWebKey


@dataclass(frozen=True, slots=True)
class Flows:
    """Hold what AuthService calls."""

    sign_up: SignUp
    sign_up_codes: SignUpCodes
    sign_in: SignIn
    sign_in_steps: SignInSteps
    authenticators: Authenticators
    recovery_codes: RecoveryCodes
    preferences: Preferences
    reauthentication: Reauthentication
    profile: Profile
    confirmations: Confirmations
    deletion: Deletion
    bearers: Bearers
    refreshes: Refreshes
    sessions: UserSessions
    reset_codes: ResetCodes
    password_reset: PasswordReset
    password_update: PasswordUpdate
    signing_keys: SigningKeys
    events: AuditEvents

    async def bearer(self) -> Bearer:
        """Return whom the access token of the present call stands for.

        Raises:
            TokenInvalid, TokenExpired, TokenRevoked: see `Bearers.authenticate`.
        """
        call = current_call.get()
        return await self.bearers.authenticate(call.access_token, call.caller)


class AuthServicer(AuthServiceServicer):
    """Serve the RPCs of `authsvc.v1.AuthService`; what each does stands in its proto."""

    def __init__(self, *, flows: Flows) -> None:
        self._flows = flows

    @waits_for_hash
    async def SignUp(self, request: pb.SignUpRequest, _: Context) -> pb.SignUpResponse:
        outcome = await self._flows.sign_up.start(
            request.username, request.password, request.attributes, request_id=request.request_id, caller=_caller()
        )
        return pb.SignUpResponse(user_id=str(outcome.user_id), next_step=convert.sign_up_step(outcome.code_delivery))

    async def ConfirmSignUp(self, request: pb.ConfirmSignUpRequest, _: Context) -> pb.ConfirmSignUpResponse:
        await self._flows.sign_up_codes.confirm(request.username, request.confirmation_code, _caller())
        return pb.ConfirmSignUpResponse(next_step=convert.sign_up_step(None))

    async def ResendSignUpCode(self, request: pb.ResendSignUpCodeRequest, _: Context) -> pb.ResendSignUpCodeResponse:
        delivery = await self._flows.sign_up_codes.resend(request.username, _caller())
        return pb.ResendSignUpCodeResponse(code_delivery=convert.code_delivery(delivery))

    @waits_for_hash
    async def SignIn(self, request: pb.SignInRequest, _: Context) -> pb.SignInResponse:
        caller = replace(_caller(), device_token=request.device_token)
        outcome = await self._flows.sign_in.start(request.username, request.password, caller)
        return convert.sign_in(pb.SignInResponse, outcome)

    @waits_for_hash
    async def ConfirmSignIn(self, request: pb.ConfirmSignInRequest, _: Context) -> pb.ConfirmSignInResponse:
        outcome = await self._flows.sign_in_steps.confirm(
            request.session, convert.answer_of(request), _caller(), request_id=request.request_id
        )
        return convert.sign_in(pb.ConfirmSignInResponse, outcome)

    async def ResendSignInCode(self, request: pb.ResendSignInCodeRequest, _: Context) -> pb.ResendSignInCodeResponse:
        delivery = await self._flows.sign_in_steps.resend(request.session, _caller())
        return pb.ResendSignInCodeResponse(code_delivery=convert.code_delivery(delivery))

    async def ResetPassword(self, request: pb.ResetPasswordRequest, _: Context) -> pb.ResetPasswordResponse:
        caller = replace(_caller(), device_token=request.device_token)
        started = await self._flows.reset_codes.start(request.username, caller)
        return pb.ResetPasswordResponse(
            next_step=convert.reset_password_step(started.delivery), session=started.session
        )

    @waits_for_hash
    async def ConfirmResetPassword(
        self, request: pb.ConfirmResetPasswordRequest, _: Context
    ) -> pb.ConfirmResetPasswordResponse:
        answer = ResetAnswer(
            username=request.username,
            code=request.confirmation_code,
            new_password=request.new_password,
            session=request.session,
        )
        await self._flows.password_reset.confirm(answer, replace(_caller(), device_token=request.device_token))
        return pb.ConfirmResetPasswordResponse()

    @waits_for_hash
    async def UpdatePassword(self, request: pb.UpdatePasswordRequest, _: Context) -> pb.UpdatePasswordResponse:
        bearer = await self._flows.bearer()
        tokens = await self._flows.password_update.update(bearer, request.previous_password, request.proposed_password)
        return pb.UpdatePasswordResponse(tokens=convert.tokens(tokens))

    @waits_for_hash
    async def Reauthenticate(self, request: pb.ReauthenticateRequest, _: Context) -> pb.ReauthenticateResponse:
        tokens = await self._flows.reauthentication.prove(await self._flows.bearer(), convert.proof_of(request))
        return pb.ReauthenticateResponse(tokens=convert.tokens(tokens))

    async def FetchAuthSession(self, request: pb.FetchAuthSessionRequest, _: Context) -> pb.FetchAuthSessionResponse:
        call = current_call.get()
        return convert.auth_session(await self._flows.bearers.fetch(call.access_token, call.caller))

    async def RefreshSession(self, request: pb.RefreshSessionRequest, _: Context) -> pb.RefreshSessionResponse:
        tokens = await self._flows.refreshes.refresh(request.refresh_token, _caller())
        return pb.RefreshSessionResponse(tokens=convert.tokens(tokens))

    async def GetCurrentUser(self, request: pb.GetCurrentUserRequest, _: Context) -> pb.GetCurrentUserResponse:
        standing = (await self._flows.bearer()).standing
        status = pb.UserStatus.Value(f"USER_STATUS_{standing.status}")
        return pb.GetCurrentUserResponse(user_id=str(standing.user_id), username=standing.username, status=status)

    async def SignOut(self, request: pb.SignOutRequest, _: Context) -> pb.SignOutResponse:
        # `global` is a keyword here.
        everywhere: bool = getattr(request, "global")
        await self._flows.sessions.sign_out(await self._flows.bearer(), everywhere=everywhere)
        return pb.SignOutResponse()

    async def ListSessions(self, request: pb.ListSessionsRequest, _: Context) -> pb.ListSessionsResponse:
        bearer = await self._flows.bearer()
        page = await self._flows.sessions.list_live(bearer.standing.user_id, convert.page_of(request))
        return convert.session_page(pb.ListSessionsResponse, page, current=bearer.standing.session_id)

    async def RevokeSession(self, request: pb.RevokeSessionRequest, _: Context) -> pb.RevokeSessionResponse:
        await self._flows.sessions.revoke(await self._flows.bearer(), request.session_id)
        return pb.RevokeSessionResponse()

    async def GetSigningKeys(self, request: pb.GetSigningKeysRequest, _: Context) -> pb.GetSigningKeysResponse:
        keys = await self._flows.signing_keys.public_keys()
        return pb.GetSigningKeysResponse(keys=[JsonWebKey(**key) for key in keys])

    async def AssociateTotp(self, request: pb.AssociateTotpRequest, _: Context) -> pb.AssociateTotpResponse:
        setup, session = await self._flows.authenticators.associate(await self._flows.bearer(), request.friendly_name)
        return pb.AssociateTotpResponse(shared_secret=setup.shared_secret, setup_uri=setup.setup_uri, session=session)

    async def VerifyTotp(self, request: pb.VerifyTotpRequest, _: Context) -> pb.VerifyTotpResponse:
        await self._flows.authenticators.verify(await self._flows.bearer(), request.session, request.totp_code)
        return pb.VerifyTotpResponse()

    async def ListTotpDevices(self, request: pb.ListTotpDevicesRequest, _: Context) -> pb.ListTotpDevicesResponse:
        devices = await self._flows.authenticators.list_active(await self._flows.bearer())
        return pb.ListTotpDevicesResponse(devices=map(convert.totp_device, devices))

    async def RemoveTotpDevice(self, request: pb.RemoveTotpDeviceRequest, _: Context) -> pb.RemoveTotpDeviceResponse:
        await self._flows.authenticators.remove(await self._flows.bearer(), request.device_id)
        return pb.RemoveTotpDeviceResponse()

    async def GenerateRecoveryCodes(
        self, request: pb.GenerateRecoveryCodesRequest, _: Context
    ) -> pb.GenerateRecoveryCodesResponse:
        codes = await self._flows.recovery_codes.generate(await self._flows.bearer())
        return pb.GenerateRecoveryCodesResponse(recovery_codes=codes)

    async def FetchMfaPreference(
        self, request: pb.FetchMfaPreferenceRequest, _: Context
    ) -> pb.FetchMfaPreferenceResponse:
        state = await self._flows.preferences.fetch(await self._flows.bearer())
        return pb.FetchMfaPreferenceResponse(
            enabled=map(convert.mfa_type, state.enabled),
            preferred=convert.mfa_type(state.preferred) if state.preferred else MFA_TYPE_UNSPECIFIED,
            recovery_codes_left=state.recovery_codes_left,
        )

    async def UpdateMfaPreference(
        self, request: pb.UpdateMfaPreferenceRequest, _: Context
    ) -> pb.UpdateMfaPreferenceResponse:
        await self._flows.preferences.update(await self._flows.bearer(), convert.preferences_of(request))
        return pb.UpdateMfaPreferenceResponse()

    async def FetchUserAttributes(
        self, request: pb.FetchUserAttributesRequest, _: Context
    ) -> pb.FetchUserAttributesResponse:
        found = await self._flows.profile.fetch(await self._flows.bearer())
        return pb.FetchUserAttributesResponse(attributes=found.attributes, pending=found.pending)

    async def UpdateUserAttributes(
        self, request: pb.UpdateUserAttributesRequest, _: Context
    ) -> pb.UpdateUserAttributesResponse:
        deliveries = await self._flows.profile.update(await self._flows.bearer(), request.attributes)
        steps = {name: convert.attribute_step(delivery) for name, delivery in deliveries.items()}
        return pb.UpdateUserAttributesResponse(next_steps=steps)

    async def DeleteUserAttributes(
        self, request: pb.DeleteUserAttributesRequest, _: Context
    ) -> pb.DeleteUserAttributesResponse:
        await self._flows.profile.delete(await self._flows.bearer(), request.names)
        return pb.DeleteUserAttributesResponse()

    async def SendUserAttributeVerificationCode(
        self, request: pb.SendUserAttributeVerificationCodeRequest, _: Context
    ) -> pb.SendUserAttributeVerificationCodeResponse:
        delivery = await self._flows.confirmations.send_code(await self._flows.bearer(), request.name)
        return pb.SendUserAttributeVerificationCodeResponse(code_delivery=convert.code_delivery(delivery))

    async def ConfirmUserAttribute(
        self, request: pb.ConfirmUserAttributeRequest, _: Context
    ) -> pb.ConfirmUserAttributeResponse:
        await self._flows.confirmations.confirm(await self._flows.bearer(), request.name, request.confirmation_code)
        return pb.ConfirmUserAttributeResponse()

    async def ListAuthEvents(self, request: pb.ListAuthEventsRequest, _: Context) -> pb.ListAuthEventsResponse:
        bearer = await self._flows.bearer()
        page = await self._flows.events.list_own(bearer.standing.user_id, convert.page_of(request))
        return pb.ListAuthEventsResponse(
            events=map(convert.own_event, page.entries), next_page_token=page.next_page_token
        )

    async def DeleteUser(self, request: pb.DeleteUserRequest, _: Context) -> pb.DeleteUserResponse:
        await self._flows.deletion.delete(await self._flows.bearer())
        return pb.DeleteUserResponse()


def _caller() -> Caller:
    return current_call.get().caller
