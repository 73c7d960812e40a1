"""What each method of AdminService needs: the one table of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from authsvc.domain import AdminScope

_METHODS = {
    AdminScope.READ: (
        "GetUser",
        "ListUsers",
        "ListUserSessions",
        "ListAuthEvents",
        "GetGroup",
        "ListGroups",
        "ListGroupsForUser",
        "ListUsersInGroup",
        "ListMail",
        # Without secrets.
        "ExportUsers",
    ),
    AdminScope.SUPPORT: (
        "ResendInvitation",
        "ResetUserPassword",
        "ConfirmSignUp",
        "SignOutUser",
        "ResetUserMfa",
        "UnlockUser",
        "RetryMail",
    ),
    AdminScope.USERS: (
        # With a password made by chance.
        "CreateUser",
        "UpdateUserAttributes",
        "DisableUser",
        "EnableUser",
        "DeleteUser",
        "CreateGroup",
        "DeleteGroup",
        "AddUserToGroup",
        "RemoveUserFromGroup",
    ),
    AdminScope.SECRETS: ("SetUserPassword", "ImportUsers"),
}
SCOPES: Final[Mapping[str, AdminScope]] = MappingProxyType(
    {method: scope for scope, methods in _METHODS.items() for method in methods}
)
