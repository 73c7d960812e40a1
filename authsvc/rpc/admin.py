"""AdminService: validate, call the flow, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from authsvc.core.accounts.lookup import NamedUser
from authsvc.core.audit.events import AuditEvents
from authsvc.core.operators.accounts import AccountAdmin
from authsvc.core.operators.attributes import AttributeAdmin
from authsvc.core.operators.exports import Exports
from authsvc.core.operators.groups import Groups
from authsvc.core.operators.identity import Identity, Operator, Operators
from authsvc.core.operators.imports import Imports
from authsvc.core.operators.mail_queue import MailQueue
from authsvc.core.operators.passwords import PasswordAdmin
from authsvc.core.operators.user_list import UserList
from authsvc.domain import AdminScope
from authsvc.rpc import admin_convert, convert, transfer
from authsvc.rpc.admin_scopes import SCOPES
from authsvc.rpc.call import ADMIN_KEY, Context, certificate_names_of, current_call, request_id_of
from authsvc.rpc.hashing import waits_for_hash
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.admin_service_pb2_grpc import AdminServiceServicer
from authsvc.v1.export_users_pb2 import ExportUsersRequest, ExportUsersResponse
from authsvc.v1.import_users_pb2 import ImportUsersRequest, ImportUsersResponse
from authsvc.v1.user_pb2 import User

_Request = TypeVar("_Request", bound=admin_convert.NamesUser)
_Response = TypeVar("_Response")


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


def _of_user(
    request: type[_Request],
    response: type[_Response],
    act: Callable[[AccountAdmin, NamedUser, Operator], Awaitable[None]],
) -> Callable[..., Awaitable[_Response]]:
    """Make the method of what an operator does to one account, and is told nothing of but that it is done."""

    async def method(self: AdminServicer, sent: _Request, _: Context) -> _Response:
        await act(self.flows.accounts, admin_convert.user_of(sent), _operator())
        return response()

    return method


class AdminServicer(AdminServiceServicer):
    """Serve the RPCs of `authsvc.v1.AdminService`; what each does stands in its proto."""

    def __init__(self, *, flows: AdminFlows) -> None:
        self.flows = flows

    async def authorise(self, context: Context, metadata: Mapping[str, str], method: str) -> Identity:
        """Return the operator who calls, and may call the method.

        Raises:
            PermissionDenied: whoever calls is none, or may not.
        """
        names, key = certificate_names_of(context), metadata.get(ADMIN_KEY, "")
        request_id = request_id_of(metadata)
        identity = await self.flows.operators.identify(names, key, request_id)
        return await self.flows.operators.require(identity, SCOPES[method], request_id)

    async def _trusted_with_secrets(self) -> Operator:
        """Return the operator who calls, and may set or see what users sign in with.

        Raises:
            PermissionDenied: the operator may not.
        """
        call = current_call.get()
        identity = await self.flows.operators.require(_identity(), AdminScope.SECRETS, call.request_id)
        return Operator(identity.name, call.caller, identity.scope)

    @waits_for_hash
    async def CreateUser(self, request: pb.CreateUserRequest, _: Context) -> pb.CreateUserResponse:
        operator = await self._trusted_with_secrets() if request.temporary_password else _operator()
        user_id = await self.flows.passwords.create_user(admin_convert.invitation(request), operator)
        return pb.CreateUserResponse(user=await self._user(NamedUser(user_id=str(user_id))))

    @waits_for_hash
    async def ResendInvitation(self, request: pb.ResendInvitationRequest, _: Context) -> pb.ResendInvitationResponse:
        delivery = await self.flows.passwords.resend_invitation(admin_convert.user_of(request), _operator())
        return pb.ResendInvitationResponse(code_delivery=convert.code_delivery(delivery))

    async def GetUser(self, request: pb.GetUserRequest, _: Context) -> pb.GetUserResponse:
        return pb.GetUserResponse(user=await self._user(admin_convert.user_of(request)))

    async def ListUsers(self, request: pb.ListUsersRequest, _: Context) -> pb.ListUsersResponse:
        found = await self.flows.users.list_matching(admin_convert.user_query(request), convert.page_of(request))
        users = map(admin_convert.user, found.entries)
        return pb.ListUsersResponse(users=users, next_page_token=found.next_page_token)

    async def UpdateUserAttributes(
        self, request: pb.AdminServiceUpdateUserAttributesRequest, _: Context
    ) -> pb.AdminServiceUpdateUserAttributesResponse:
        named = admin_convert.user_of(request)
        await self.flows.attributes.update(named, admin_convert.attribute_change(request), _operator())
        return pb.AdminServiceUpdateUserAttributesResponse(user=await self._user(named))

    @waits_for_hash
    async def SetUserPassword(self, request: pb.SetUserPasswordRequest, _: Context) -> pb.SetUserPasswordResponse:
        await self.flows.passwords.set_password(
            admin_convert.user_of(request), request.password, _operator(), temporary=request.temporary
        )
        return pb.SetUserPasswordResponse()

    async def ResetUserPassword(self, request: pb.ResetUserPasswordRequest, _: Context) -> pb.ResetUserPasswordResponse:
        delivery = await self.flows.accounts.reset_password(admin_convert.user_of(request), _operator())
        return pb.ResetUserPasswordResponse(code_delivery=convert.code_delivery(delivery) if delivery else None)

    ConfirmSignUp = _of_user(
        pb.AdminServiceConfirmSignUpRequest, pb.AdminServiceConfirmSignUpResponse, AccountAdmin.confirm
    )
    DisableUser = _of_user(pb.DisableUserRequest, pb.DisableUserResponse, AccountAdmin.disable)
    DeleteUser = _of_user(pb.AdminServiceDeleteUserRequest, pb.AdminServiceDeleteUserResponse, AccountAdmin.delete)
    EnableUser = _of_user(pb.EnableUserRequest, pb.EnableUserResponse, AccountAdmin.enable)
    SignOutUser = _of_user(pb.SignOutUserRequest, pb.SignOutUserResponse, AccountAdmin.sign_out)
    ResetUserMfa = _of_user(pb.ResetUserMfaRequest, pb.ResetUserMfaResponse, AccountAdmin.reset_mfa)
    UnlockUser = _of_user(pb.UnlockUserRequest, pb.UnlockUserResponse, AccountAdmin.unlock)

    async def ListUserSessions(self, request: pb.ListUserSessionsRequest, _: Context) -> pb.ListUserSessionsResponse:
        found = await self.flows.accounts.list_sessions(admin_convert.user_of(request), convert.page_of(request))
        return convert.session_page(pb.ListUserSessionsResponse, found)

    async def ListAuthEvents(
        self, request: pb.AdminServiceListAuthEventsRequest, _: Context
    ) -> pb.AdminServiceListAuthEventsResponse:
        # Of everybody, if nobody is named.
        named = admin_convert.user_of(request) if request.WhichOneof("user") else None
        found = await self.flows.events.list_matching(named, convert.page_of(request))
        return pb.AdminServiceListAuthEventsResponse(
            events=map(convert.auth_event, found.entries), next_page_token=found.next_page_token
        )

    async def CreateGroup(self, request: pb.CreateGroupRequest, _: Context) -> pb.CreateGroupResponse:
        made = await self.flows.groups.create(admin_convert.new_group(request), _operator())
        return pb.CreateGroupResponse(group=admin_convert.group(made))

    async def GetGroup(self, request: pb.GetGroupRequest, _: Context) -> pb.GetGroupResponse:
        return pb.GetGroupResponse(group=admin_convert.group(await self.flows.groups.get(request.name)))

    async def ListGroups(self, request: pb.ListGroupsRequest, _: Context) -> pb.ListGroupsResponse:
        found = await self.flows.groups.list_all(convert.page_of(request))
        return pb.ListGroupsResponse(
            groups=map(admin_convert.group, found.entries), next_page_token=found.next_page_token
        )

    async def DeleteGroup(self, request: pb.DeleteGroupRequest, _: Context) -> pb.DeleteGroupResponse:
        await self.flows.groups.delete(request.name, _operator())
        return pb.DeleteGroupResponse()

    async def AddUserToGroup(self, request: pb.AddUserToGroupRequest, _: Context) -> pb.AddUserToGroupResponse:
        await self.flows.groups.set_member(admin_convert.user_of(request), request.group, _operator(), is_member=True)
        return pb.AddUserToGroupResponse()

    async def RemoveUserFromGroup(
        self, request: pb.RemoveUserFromGroupRequest, _: Context
    ) -> pb.RemoveUserFromGroupResponse:
        await self.flows.groups.set_member(admin_convert.user_of(request), request.group, _operator(), is_member=False)
        return pb.RemoveUserFromGroupResponse()

    async def ListGroupsForUser(self, request: pb.ListGroupsForUserRequest, _: Context) -> pb.ListGroupsForUserResponse:
        found = await self.flows.groups.list_of_user(admin_convert.user_of(request))
        return pb.ListGroupsForUserResponse(groups=map(admin_convert.group, found))

    async def ListUsersInGroup(self, request: pb.ListUsersInGroupRequest, _: Context) -> pb.ListUsersInGroupResponse:
        found = await self.flows.users.list_of_group(request.group, convert.page_of(request))
        return pb.ListUsersInGroupResponse(
            users=map(admin_convert.user, found.entries), next_page_token=found.next_page_token
        )

    async def ListMail(self, request: pb.ListMailRequest, _: Context) -> pb.ListMailResponse:
        found = await self.flows.mail.list_latest(admin_convert.mail_state(request), convert.page_of(request))
        mail = map(admin_convert.mail, found.entries)
        return pb.ListMailResponse(mail=mail, next_page_token=found.next_page_token)

    async def RetryMail(self, request: pb.RetryMailRequest, _: Context) -> pb.RetryMailResponse:
        await self.flows.mail.retry(request.mail_id, _operator())
        return pb.RetryMailResponse()

    async def ImportUsers(self, request_iterator: AsyncIterator[ImportUsersRequest], _: Context) -> ImportUsersResponse:
        return await transfer.import_users(self.flows.imports, request_iterator, _operator())

    async def ExportUsers(self, request: ExportUsersRequest, _: Context) -> AsyncIterator[ExportUsersResponse]:
        operator = await self._trusted_with_secrets() if request.include_secrets else _operator()
        async for response in transfer.export_users(self.flows.exports, request, operator):
            yield response

    async def _user(self, named: NamedUser) -> User:
        return admin_convert.user(await self.flows.users.get(named))


def _operator() -> Operator:
    identity = _identity()
    return Operator(identity.name, current_call.get().caller, identity.scope)


def _identity() -> Identity:
    identity = current_call.get().operator
    assert identity is not None  # noqa: S101 - for mypy: the guard lets nobody else in
    return identity
