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
    """Carry one reason to the caller; subclasses fix the reason and the text."""

    reason: ClassVar[Reason]
    text: ClassVar[str]

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


class InvalidFields(DomainError):
    """Refuse a request whose fields break their rules."""

    reason = Reason.INVALID_FIELDS
    text = "the request has invalid fields"


class UsernameExists(DomainError):
    """Refuse a sign-up under a name that is taken."""

    reason = Reason.USERNAME_EXISTS
    text = "the username is taken"


class InvalidPassword(DomainError):
    """Refuse a new password that breaks the policy."""

    reason = Reason.INVALID_PASSWORD
    text = "the password breaks the password policy"


class CodeMismatch(DomainError):
    """Refuse a wrong code of any kind."""

    reason = Reason.CODE_MISMATCH
    text = "the code is wrong"


class CodeExpired(DomainError):
    """Refuse a code that is expired, superseded, burned, used or was never issued."""

    reason = Reason.CODE_EXPIRED
    text = "the code is not valid any more"


class CodeAlreadyUsed(DomainError):
    """Refuse a TOTP code at or before the last accepted step (RFC 6238 §5.2)."""

    reason = Reason.CODE_ALREADY_USED
    text = "the code was used already"


class NotAuthorized(DomainError):
    """Refuse a wrong username or password, without telling which."""

    reason = Reason.NOT_AUTHORIZED
    text = "username or password is wrong"


class TokenExpired(DomainError):
    """Refuse a bearer or refresh token past its end."""

    reason = Reason.TOKEN_EXPIRED
    text = "the token has expired"


class TokenRevoked(DomainError):
    """Refuse a token whose session was ended."""

    reason = Reason.TOKEN_REVOKED
    text = "the token has been revoked"


class TokenInvalid(DomainError):
    """Refuse a missing token, or one not issued here for this purpose."""

    reason = Reason.TOKEN_INVALID
    text = "the token is missing or not valid"


class UserNotFound(DomainError):
    """Tell operators, or sign-in by setting, that there is no such user."""

    reason = Reason.USER_NOT_FOUND
    text = "there is no such user"


class UserDisabled(DomainError):
    """Refuse a disabled account whose password proved right."""

    reason = Reason.USER_DISABLED
    text = "the account is disabled"


class SessionExpired(DomainError):
    """Refuse a challenge session that is unknown, expired, used or dead."""

    reason = Reason.SESSION_EXPIRED
    text = "the session is not valid any more"


class RefreshTokenReused(DomainError):
    """Refuse a refresh token used again after its grace; its session is revoked (RFC 9700 §4.14.2)."""

    reason = Reason.REFRESH_TOKEN_REUSED
    text = "the refresh token was used before; the session has been revoked"


class ReauthenticationRequired(DomainError):
    """Refuse a sensitive call on an authentication that is too old."""

    reason = Reason.REAUTHENTICATION_REQUIRED
    text = "the authentication is too old for this call"


class MfaRequired(DomainError):
    """Refuse what would leave an account without a required second factor."""

    reason = Reason.MFA_REQUIRED
    text = "a second factor is required"


class MfaNotEnrolled(DomainError):
    """Refuse a factor that the account has not enrolled."""

    reason = Reason.MFA_NOT_ENROLLED
    text = "the factor is not enrolled"


class TotpDeviceLimit(DomainError):
    """Refuse an authenticator beyond the limit."""

    reason = Reason.TOTP_DEVICE_LIMIT
    text = "the account has as many authenticators as it may have"


class LimitExceeded(DomainError):
    """Refuse a try while a limit holds; it was neither evaluated nor counted."""

    reason = Reason.LIMIT_EXCEEDED
    text = "too many tries"


class Overloaded(DomainError):
    """Refuse work that the hash queue has no room for."""

    reason = Reason.OVERLOADED
    text = "the service is overloaded"


class DatabaseUnavailable(DomainError):
    """Refuse work while Postgres cannot be reached."""

    reason = Reason.DATABASE_UNAVAILABLE
    text = "the database is not available"


class PermissionDenied(DomainError):
    """Refuse a caller who may not use this RPC."""

    reason = Reason.PERMISSION_DENIED
    text = "the caller may not use this method"


class Conflict(DomainError):
    """Refuse a change that lost a race with another one."""

    reason = Reason.CONFLICT
    text = "the state was changed at the same time"


class Internal(DomainError):
    """Stand for any fault; says nothing of its cause."""

    reason = Reason.INTERNAL
    text = "internal error"


class DeadlineExceeded(DomainError):
    """Refuse work that cannot finish in time."""

    reason = Reason.DEADLINE_EXCEEDED
    text = "the call cannot finish within its deadline"


class HookUnavailable(DomainError):
    """Refuse a sign-in whose challenge hook is away, slow, or answers what it must not."""

    reason = Reason.HOOK_UNAVAILABLE
    text = "the challenge hook did not answer as it should"


class EmailExists(DomainError):
    """Tell operators that another account has verified the address."""

    reason = Reason.EMAIL_EXISTS
    text = "another account has this e-mail address"


class GroupExists(DomainError):
    """Refuse a group under a name that is taken."""

    reason = Reason.GROUP_EXISTS
    text = "there is a group of this name"


class GroupNotFound(DomainError):
    """Tell operators that there is no such group."""

    reason = Reason.GROUP_NOT_FOUND
    text = "there is no such group"


class MailNotFound(DomainError):
    """Tell operators that there is no such mail, or none that can be sent again."""

    reason = Reason.MAIL_NOT_FOUND
    text = "there is no such mail to be sent"
