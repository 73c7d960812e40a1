"""AdminService: validate, call the flow, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from authsvc.core.accounts.lookup import NamedUser
from authsvc.core.audit.events import AuditEvents
from authsvc.core.operators.accounts import AccountAdmin
from authsvc.core.operators.attributes import AttributeAdmin
from authsvc.core.operators.exports import Exports
from authsvc.core.operators.groups import Groups
from authsvc.core.operators.identity import Operator, Operators
from authsvc.core.operators.imports import Imports
from authsvc.core.operators.mail_queue import MailQueue
from authsvc.core.operators.passwords import PasswordAdmin
from authsvc.core.operators.user_list import UserList
from authsvc.rpc import admin_convert, convert, event_convert, transfer
from authsvc.rpc import admin_requests as requests
from authsvc.rpc.call import ADMIN_KEY, Context, certificate_names_of, current_call, request_id_of
from authsvc.rpc.hashing import waits_for_hash
from authsvc.rpc.pages import page_of
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.admin_service_pb2_grpc import AdminServiceServicer
from authsvc.v1.export_users_pb2 import ExportUsersRequest, ExportUsersResponse
from authsvc.v1.import_users_pb2 import ImportUsersRequest, ImportUsersResponse
from authsvc.v1.user_pb2 import User


@dataclass(frozen=True, slots=True)
class AdminFlows:
    """Hold what AdminService calls."""

    operators: Operators
    accounts: AccountAdmin
    passwords: PasswordAdmin
    attributes: AttributeAdmin
    users: UserList
    groups: Groups
    mail: MailQueue
    imports: Imports
    exports: Exports
    events: AuditEvents


class AdminServicer(AdminServiceServicer):
    """Serve the RPCs of `authsvc.v1.AdminService`; what each does stands in its proto."""

    def __init__(self, *, flows: AdminFlows) -> None:
        self._flows = flows

    async def authorise(self, context: Context, metadata: Mapping[str, str]) -> str:
        """Return the name of the operator who calls.

        Raises:
            PermissionDenied: whoever calls is none.
        """
        names, key = certificate_names_of(context), metadata.get(ADMIN_KEY, "")
        return await self._flows.operators.authorise(names, key, request_id_of(metadata))

    @waits_for_hash
    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.CreateUserResponse:
        user_id = await self._flows.passwords.create_user(requests.invitation(request), _operator())
        return pb.CreateUserResponse(user=await self._user(NamedUser(user_id=str(user_id))))

    @waits_for_hash
    async def ResendInvitation(
        self, request: pb.ResendInvitationRequest, context: Context
    ) -> pb.ResendInvitationResponse:
        delivery = await self._flows.passwords.resend_invitation(requests.user_of(request), _operator())
        return pb.ResendInvitationResponse(code_delivery=convert.code_delivery(delivery))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        return pb.GetUserResponse(user=await self._user(requests.user_of(request)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        found = await self._flows.users.list_matching(requests.user_query(request), page_of(request))
        return admin_convert.user_page(found)

    async def UpdateUserAttributes(
        self, request: pb.AdminServiceUpdateUserAttributesRequest, context: Context
    ) -> pb.AdminServiceUpdateUserAttributesResponse:
        named = requests.user_of(request)
        await self._flows.attributes.update(named, requests.attribute_change(request), _operator())
        return pb.AdminServiceUpdateUserAttributesResponse(user=await self._user(named))

    @waits_for_hash
    async def SetUserPassword(self, request: pb.SetUserPasswordRequest, context: Context) -> pb.SetUserPasswordResponse:
        await self._flows.passwords.set_password(
            requests.user_of(request), request.password, _operator(), temporary=request.temporary
        )
        return pb.SetUserPasswordResponse()

    async def ResetUserPassword(
        self, request: pb.ResetUserPasswordRequest, context: Context
    ) -> pb.ResetUserPasswordResponse:
        delivery = await self._flows.accounts.reset_password(requests.user_of(request), _operator())
        return pb.ResetUserPasswordResponse(code_delivery=convert.code_delivery(delivery) if delivery else None)

    async def ConfirmSignUp(
        self, request: pb.AdminServiceConfirmSignUpRequest, context: Context
    ) -> pb.AdminServiceConfirmSignUpResponse:
        await self._flows.accounts.confirm(requests.user_of(request), _operator())
        return pb.AdminServiceConfirmSignUpResponse()

    async def DisableUser(self, request: pb.DisableUserRequest, context: Context) -> pb.DisableUserResponse:
        await self._flows.accounts.disable(requests.user_of(request), _operator())
        return pb.DisableUserResponse()

    async def DeleteUser(
        self, request: pb.AdminServiceDeleteUserRequest, context: Context
    ) -> pb.AdminServiceDeleteUserResponse:
        await self._flows.accounts.delete(requests.user_of(request), _operator())
        return pb.AdminServiceDeleteUserResponse()

    async def EnableUser(self, request: pb.EnableUserRequest, context: Context) -> pb.EnableUserResponse:
        await self._flows.accounts.enable(requests.user_of(request), _operator())
        return pb.EnableUserResponse()

    async def SignOutUser(self, request: pb.SignOutUserRequest, context: Context) -> pb.SignOutUserResponse:
        await self._flows.accounts.sign_out(requests.user_of(request), _operator())
        return pb.SignOutUserResponse()

    async def ResetUserMfa(self, request: pb.ResetUserMfaRequest, context: Context) -> pb.ResetUserMfaResponse:
        await self._flows.accounts.reset_mfa(requests.user_of(request), _operator())
        return pb.ResetUserMfaResponse()

    async def UnlockUser(self, request: pb.UnlockUserRequest, context: Context) -> pb.UnlockUserResponse:
        await self._flows.accounts.unlock(requests.user_of(request), _operator())
        return pb.UnlockUserResponse()

    async def ListUserSessions(
        self, request: pb.ListUserSessionsRequest, context: Context
    ) -> pb.ListUserSessionsResponse:
        found = await self._flows.accounts.list_sessions(requests.user_of(request), page_of(request))
        return admin_convert.session_page(found)

    async def ListAuthEvents(
        self, request: pb.AdminServiceListAuthEventsRequest, context: Context
    ) -> pb.AdminServiceListAuthEventsResponse:
        found = await self._flows.events.list_matching(requests.user_or_all(request), page_of(request))
        return event_convert.all_events(found)

    async def CreateGroup(self, request: pb.CreateGroupRequest, context: Context) -> pb.CreateGroupResponse:
        made = await self._flows.groups.create(requests.new_group(request), _operator())
        return pb.CreateGroupResponse(group=admin_convert.group(made))

    async def GetGroup(self, request: pb.GetGroupRequest, context: Context) -> pb.GetGroupResponse:
        return pb.GetGroupResponse(group=admin_convert.group(await self._flows.groups.get(request.name)))

    async def ListGroups(self, request: pb.ListGroupsRequest, context: Context) -> pb.ListGroupsResponse:
        return admin_convert.group_page(await self._flows.groups.list_all(page_of(request)))

    async def DeleteGroup(self, request: pb.DeleteGroupRequest, context: Context) -> pb.DeleteGroupResponse:
        await self._flows.groups.delete(request.name, _operator())
        return pb.DeleteGroupResponse()

    async def AddUserToGroup(self, request: pb.AddUserToGroupRequest, context: Context) -> pb.AddUserToGroupResponse:
        await self._flows.groups.set_member(requests.user_of(request), request.group, _operator(), is_member=True)
        return pb.AddUserToGroupResponse()

    async def RemoveUserFromGroup(
        self, request: pb.RemoveUserFromGroupRequest, context: Context
    ) -> pb.RemoveUserFromGroupResponse:
        await self._flows.groups.set_member(requests.user_of(request), request.group, _operator(), is_member=False)
        return pb.RemoveUserFromGroupResponse()

    async def ListGroupsForUser(
        self, request: pb.ListGroupsForUserRequest, context: Context
    ) -> pb.ListGroupsForUserResponse:
        found = await self._flows.groups.list_of_user(requests.user_of(request))
        return pb.ListGroupsForUserResponse(groups=[admin_convert.group(each) for each in found])

    async def ListUsersInGroup(
        self, request: pb.ListUsersInGroupRequest, context: Context
    ) -> pb.ListUsersInGroupResponse:
        found = await self._flows.users.list_of_group(request.group, page_of(request))
        return admin_convert.member_page(found)

    async def ListMail(self, request: pb.ListMailRequest, context: Context) -> pb.ListMailResponse:
        found = await self._flows.mail.list_latest(requests.mail_state(request), page_of(request))
        return admin_convert.mail_page(found)

    async def RetryMail(self, request: pb.RetryMailRequest, context: Context) -> pb.RetryMailResponse:
        await self._flows.mail.retry(request.mail_id, _operator())
        return pb.RetryMailResponse()

    async def ImportUsers(
        self, request_iterator: AsyncIterator[ImportUsersRequest], context: Context
    ) -> ImportUsersResponse:
        return await transfer.import_users(self._flows.imports, request_iterator, _operator())

    async def ExportUsers(self, request: ExportUsersRequest, context: Context) -> AsyncIterator[ExportUsersResponse]:
        async for response in transfer.export_users(self._flows.exports, request, _operator()):
            yield response

    async def _user(self, named: NamedUser) -> User:
        return admin_convert.user(await self._flows.users.get(named))


def _operator() -> Operator:
    call = current_call.get()
    return Operator(call.operator, call.caller)
