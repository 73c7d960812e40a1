"""The closed set of domain errors.

A rule that says no raises one of these classes, with a fixed text; moving parts travel in `metadata`, broken fields in
`violations`, waits in `retry_after`. `authsvc.rpc.status` alone turns them into gRPC statuses, so nothing here knows of
the wire. Steps of a sign-in are outcomes, not errors.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class Reason(enum.StrEnum):
    """Name every cause of failure: the values of the proto enum `ErrorReason` without their prefix."""

    INVALID_FIELDS = "INVALID_FIELDS"
    USERNAME_EXISTS = "USERNAME_EXISTS"
    INVALID_PASSWORD = "INVALID_PASSWORD"
    CODE_MISMATCH = "CODE_MISMATCH"
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_ALREADY_USED = "CODE_ALREADY_USED"
    NOT_AUTHORIZED = "NOT_AUTHORIZED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    TOKEN_REVOKED = "TOKEN_REVOKED"
    TOKEN_INVALID = "TOKEN_INVALID"
    USER_NOT_FOUND = "USER_NOT_FOUND"
    USER_DISABLED = "USER_DISABLED"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED"
    REAUTHENTICATION_REQUIRED = "REAUTHENTICATION_REQUIRED"
    MFA_REQUIRED = "MFA_REQUIRED"
    MFA_NOT_ENROLLED = "MFA_NOT_ENROLLED"
    TOTP_DEVICE_LIMIT = "TOTP_DEVICE_LIMIT"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    OVERLOADED = "OVERLOADED"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    CONFLICT = "CONFLICT"
    INTERNAL = "INTERNAL"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    HOOK_UNAVAILABLE = "HOOK_UNAVAILABLE"
    EMAIL_EXISTS = "EMAIL_EXISTS"
    GROUP_EXISTS = "GROUP_EXISTS"
    GROUP_NOT_FOUND = "GROUP_NOT_FOUND"
    MAIL_NOT_FOUND = "MAIL_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Violation:
    """Say what is wrong with one field, for `google.rpc.BadRequest`.

    `field` is the path of the proto field (`attributes["email"]`); `rule` is a stable UPPER_SNAKE_CASE name of the
    broken rule; `description` is a sentence for a person, without the submitted value.
    """

    field: str
    rule: str
    description: str


class DomainError(Exception):
    """Carry one reason to the caller; each subclass fixes its reason and its text."""

    reason: ClassVar[Reason]
    text: ClassVar[str]

    def __init_subclass__(cls, *, reason: Reason, text: str) -> None:
        super().__init_subclass__()
        cls.reason, cls.text = reason, text

    def __init__(
        self,
        *,
        metadata: dict[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(self.text)
        self.metadata = metadata or {}
        self.violations = violations
        self.retry_after = retry_after


class InvalidFields(DomainError, reason=Reason.INVALID_FIELDS, text="the request has invalid fields"):
    """Refuse a request whose fields break their rules."""


class UsernameExists(DomainError, reason=Reason.USERNAME_EXISTS, text="the username is taken"):
    """Refuse a sign-up under a name that is taken."""


class InvalidPassword(DomainError, reason=Reason.INVALID_PASSWORD, text="the password breaks the password policy"):
    """Refuse a new password that breaks the policy."""


class CodeMismatch(DomainError, reason=Reason.CODE_MISMATCH, text="the code is wrong"):
    """Refuse a wrong code of any kind."""


class CodeExpired(DomainError, reason=Reason.CODE_EXPIRED, text="the code is not valid any more"):
    """Refuse a code that is expired, superseded, burned, used or was never issued."""


class CodeAlreadyUsed(DomainError, reason=Reason.CODE_ALREADY_USED, text="the code was used already"):
    """Refuse a TOTP code at or before the last accepted step (RFC 6238 §5.2)."""


class NotAuthorized(DomainError, reason=Reason.NOT_AUTHORIZED, text="username or password is wrong"):
    """Refuse a wrong username or password, without telling which."""


class TokenExpired(DomainError, reason=Reason.TOKEN_EXPIRED, text="the token has expired"):
    """Refuse a bearer or refresh token past its end."""


class TokenRevoked(DomainError, reason=Reason.TOKEN_REVOKED, text="the token has been revoked"):
    """Refuse a token whose session was ended."""


class TokenInvalid(DomainError, reason=Reason.TOKEN_INVALID, text="the token is missing or not valid"):
    """Refuse a missing token, or one not issued here for this purpose."""


class UserNotFound(DomainError, reason=Reason.USER_NOT_FOUND, text="there is no such user"):
    """Tell operators, or sign-in by setting, that there is no such user."""


class UserDisabled(DomainError, reason=Reason.USER_DISABLED, text="the account is disabled"):
    """Refuse a disabled account whose password proved right."""


class SessionExpired(DomainError, reason=Reason.SESSION_EXPIRED, text="the session is not valid any more"):
    """Refuse a challenge session that is unknown, expired, used or dead."""


class RefreshTokenReused(
    DomainError,
    reason=Reason.REFRESH_TOKEN_REUSED,
    text="the refresh token was used before; the session has been revoked",
):
    """Refuse a refresh token used again after its grace; its session is revoked (RFC 9700 §4.14.2)."""


class ReauthenticationRequired(
    DomainError, reason=Reason.REAUTHENTICATION_REQUIRED, text="the authentication is too old for this call"
):
    """Refuse a sensitive call on an authentication that is too old."""


class MfaRequired(DomainError, reason=Reason.MFA_REQUIRED, text="a second factor is required"):
    """Refuse what would leave an account without a required second factor."""


class MfaNotEnrolled(DomainError, reason=Reason.MFA_NOT_ENROLLED, text="the factor is not enrolled"):
    """Refuse a factor that the account has not enrolled."""


class TotpDeviceLimit(
    DomainError, reason=Reason.TOTP_DEVICE_LIMIT, text="the account has as many authenticators as it may have"
):
    """Refuse an authenticator beyond the limit."""


class LimitExceeded(DomainError, reason=Reason.LIMIT_EXCEEDED, text="too many tries"):
    """Refuse a try while a limit holds; it was neither evaluated nor counted."""


class Overloaded(DomainError, reason=Reason.OVERLOADED, text="the service is overloaded"):
    """Refuse work that there is no room for, or no time before the server stops."""


class DatabaseUnavailable(DomainError, reason=Reason.DATABASE_UNAVAILABLE, text="the database is not available"):
    """Refuse work while Postgres cannot be reached."""


class PermissionDenied(DomainError, reason=Reason.PERMISSION_DENIED, text="the caller may not use this method"):
    """Refuse a caller who may not use this RPC."""


class Conflict(DomainError, reason=Reason.CONFLICT, text="the state was changed at the same time"):
    """Refuse a change that lost a race with another one."""


class Internal(DomainError, reason=Reason.INTERNAL, text="internal error"):
    """Stand for any fault; says nothing of its cause."""


class DeadlineExceeded(DomainError, reason=Reason.DEADLINE_EXCEEDED, text="the call cannot finish within its deadline"):
    """Refuse work that cannot finish in time."""


class HookUnavailable(
    DomainError, reason=Reason.HOOK_UNAVAILABLE, text="the challenge hook did not answer as it should"
):
    """Refuse a sign-in whose challenge hook is away, slow, or answers what it must not."""


class EmailExists(DomainError, reason=Reason.EMAIL_EXISTS, text="another account has this e-mail address"):
    """Tell operators that another account has verified the address."""


class GroupExists(DomainError, reason=Reason.GROUP_EXISTS, text="there is a group of this name"):
    """Refuse a group under a name that is taken."""


class GroupNotFound(DomainError, reason=Reason.GROUP_NOT_FOUND, text="there is no such group"):
    """Tell operators that there is no such group."""


class MailNotFound(DomainError, reason=Reason.MAIL_NOT_FOUND, text="there is no such mail to be sent"):
    """Tell operators that there is no such mail, or none that can be sent again."""
