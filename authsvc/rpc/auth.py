"""AuthService: validate, call the flow, convert."""

from __future__ import annotations

from authsvc.rpc import convert, validation
from authsvc.rpc.account import AccountServicer
from authsvc.rpc.call import Context, current_call
from authsvc.rpc.flows import Flows
from authsvc.rpc.hashing import waits_for_hash
from authsvc.rpc.pages import page_of
from authsvc.v1 import auth_service_pb2 as pb


class AuthServicer(AccountServicer):
    """Serve the RPCs of `authsvc.v1.AuthService`; what each does stands in its proto."""

    def __init__(self, *, flows: Flows) -> None:
        self._flows = flows

    @waits_for_hash
    async def SignUp(self, request: pb.SignUpRequest, context: Context) -> pb.SignUpResponse:
        outcome = await self._flows.sign_up.start(
            request.username,
            request.password,
            request.attributes,
            current_call.get().caller,
            request_id=request.request_id,
        )
        return pb.SignUpResponse(user_id=str(outcome.user_id), next_step=convert.sign_up_step(outcome.code_delivery))

    async def ConfirmSignUp(self, request: pb.ConfirmSignUpRequest, context: Context) -> pb.ConfirmSignUpResponse:
        login, code = validation.confirm_sign_up(request, self._flows.identities)
        keys = await self._flows.identities.resolve_sign_ups(login)
        await self._flows.sign_up.confirm(keys, code, current_call.get().caller, by_email=login.is_email)
        return pb.ConfirmSignUpResponse(next_step=convert.sign_up_step(None))

    async def ResendSignUpCode(
        self, request: pb.ResendSignUpCodeRequest, context: Context
    ) -> pb.ResendSignUpCodeResponse:
        login = validation.login_of(request, self._flows.identities)
        username_key = await self._flows.identities.resolve(login)
        delivery = await self._flows.sign_up.resend(username_key, current_call.get().caller)
        return pb.ResendSignUpCodeResponse(code_delivery=convert.code_delivery(delivery))

    @waits_for_hash
    async def SignIn(self, request: pb.SignInRequest, context: Context) -> pb.SignInResponse:
        login, password = validation.sign_in(request, self._flows.identities, self._flows.policy)
        username_key = await self._flows.identities.resolve(login)
        outcome = await self._flows.sign_in.start(
            username_key, password, current_call.get().caller, typed=request.password
        )
        return convert.sign_in(outcome)

    @waits_for_hash
    async def ConfirmSignIn(self, request: pb.ConfirmSignInRequest, context: Context) -> pb.ConfirmSignInResponse:
        session, answer = validation.confirm_sign_in(request)
        return convert.confirm_sign_in(await self._flows.sign_in.confirm(session, answer, current_call.get().caller))

    async def ResendSignInCode(
        self, request: pb.ResendSignInCodeRequest, context: Context
    ) -> pb.ResendSignInCodeResponse:
        session = validation.sign_in_session_of(request)
        delivery = await self._flows.sign_in.resend(session, current_call.get().caller)
        return pb.ResendSignInCodeResponse(code_delivery=convert.code_delivery(delivery))

    async def AssociateTotp(self, request: pb.AssociateTotpRequest, context: Context) -> pb.AssociateTotpResponse:
        bearer = await self._flows.bearer()
        setup, session = await self._flows.totp.associate(bearer, validation.friendly_name_of(request))
        return convert.totp_association(setup, session)

    async def VerifyTotp(self, request: pb.VerifyTotpRequest, context: Context) -> pb.VerifyTotpResponse:
        bearer = await self._flows.bearer()
        session, code = validation.verify_totp(request)
        await self._flows.totp.verify(bearer, session, code)
        return pb.VerifyTotpResponse()

    async def FetchAuthSession(
        self, request: pb.FetchAuthSessionRequest, context: Context
    ) -> pb.FetchAuthSessionResponse:
        call = current_call.get()
        return convert.auth_session(await self._flows.bearers.fetch(call.access_token, call.caller))

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.RefreshSessionResponse:
        refresh_token = validation.refresh_token_of(request)
        tokens = await self._flows.refreshes.refresh(refresh_token, current_call.get().caller)
        return pb.RefreshSessionResponse(tokens=convert.tokens(tokens))

    async def GetCurrentUser(self, request: pb.GetCurrentUserRequest, context: Context) -> pb.GetCurrentUserResponse:
        return convert.current_user(await self._flows.bearer())

    async def SignOut(self, request: pb.SignOutRequest, context: Context) -> pb.SignOutResponse:
        # `global` is a keyword here.
        everywhere: bool = getattr(request, "global")
        await self._flows.session_ends.sign_out(await self._flows.bearer(), everywhere=everywhere)
        return pb.SignOutResponse()

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        bearer = await self._flows.bearer()
        page = await self._flows.session_list.list_live(bearer.standing.user_id, page_of(request))
        return convert.session_page(page, bearer.standing.session_id)

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Context) -> pb.RevokeSessionResponse:
        bearer = await self._flows.bearer()
        await self._flows.session_ends.revoke(bearer, validation.session_id_of(request))
        return pb.RevokeSessionResponse()

    async def GetSigningKeys(self, request: pb.GetSigningKeysRequest, context: Context) -> pb.GetSigningKeysResponse:
        return convert.signing_keys(await self._flows.signing_keys.public_keys())

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> pb.ResetPasswordResponse:
        login = validation.login_of(request, self._flows.identities)
        username_key = await self._flows.identities.resolve(login, verified_only=True)
        delivery = await self._flows.passwords.start_reset(username_key, current_call.get().caller)
        return pb.ResetPasswordResponse(next_step=convert.reset_password_step(delivery))

    @waits_for_hash
    async def ConfirmResetPassword(
        self, request: pb.ConfirmResetPasswordRequest, context: Context
    ) -> pb.ConfirmResetPasswordResponse:
        login, code = validation.confirm_reset_password(request, self._flows.identities)
        username_key = await self._flows.identities.resolve(login, verified_only=True)
        await self._flows.passwords.confirm_reset(username_key, code, request.new_password, current_call.get().caller)
        return pb.ConfirmResetPasswordResponse()

    @waits_for_hash
    async def UpdatePassword(self, request: pb.UpdatePasswordRequest, context: Context) -> pb.UpdatePasswordResponse:
        bearer = await self._flows.bearer()
        validation.update_password(request)
        await self._flows.passwords.update(bearer, request.previous_password, request.proposed_password)
        return pb.UpdatePasswordResponse()
