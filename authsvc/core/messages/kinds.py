"""What is said to whom: a class for each kind of message, by mail or SMS; what says mail means mail alone.

A new kind is a class here and its words in `delivery/mail/templates`; one with fields of its own has samples too.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar, dataclass_transform

from authsvc.domain import Medium, UserId

# Every kind by its stored name, in the order in which operators are shown them: that of the classes below.
KINDS: dict[str, type[Message]] = {}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Recipient:
    """Hold whom a message is for: an address or number, and the account that it is about.

    `locale` is a BCP 47 tag, empty for the default.
    """

    to: str
    username: str
    user_id: UserId | None = None
    locale: str = ""

    def __repr__(self) -> str:
        return "Recipient(…)"


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """Hold what a message says: its fields are what its words may show.

    They wait sealed in the outbox, between releases: a field that a kind gets later has a default.
    """

    # Stored, and told to operators.
    kind: ClassVar[str]
    media: ClassVar[frozenset[Medium]] = frozenset({Medium.EMAIL})
    # Whether its words tell an end, after which it is of no use.
    expires: ClassVar[bool] = False
    # Names the field that the words must show, and HTML puts weight on.
    highlighted: ClassVar[str] = ""

    @property
    def highlight(self) -> str:
        """Return what the words must show, and HTML puts weight on; empty if there is nothing like that."""
        return str(getattr(self, self.highlighted)) if self.highlighted else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


_Kind = TypeVar("_Kind", bound=Message)


@dataclass_transform(frozen_default=True)
def _stored_as(kind: str) -> Callable[[type[_Kind]], type[_Kind]]:
    """Make a class the frozen dataclass of a kind of message, and enter it into the registry."""

    def enter(cls: type[_Kind]) -> type[_Kind]:
        made = dataclass(frozen=True, slots=True, repr=False)(cls)
        made.kind = kind
        KINDS[kind] = made
        return made

    return enter


@dataclass(frozen=True, slots=True, repr=False)
class CodeMessage(Message):
    """Bring a code to whom it is for; over any medium, since a code is all that it has to say."""

    media = frozenset(Medium)
    expires = True
    highlighted = "code"

    code: str


@dataclass(frozen=True, slots=True, repr=False)
class Notice(Message):
    """Tell a user what became of the account; over every medium whose address is verified."""

    media = frozenset(Medium)


class MfaChange(enum.StrEnum):
    """Name what MfaChanged tells; the values wait in the outbox."""

    AUTHENTICATOR_ADDED = "AUTHENTICATOR_ADDED"
    AUTHENTICATOR_REMOVED = "AUTHENTICATOR_REMOVED"
    PREFERENCE_CHANGED = "PREFERENCE_CHANGED"
    RECOVERY_CODES_MADE = "RECOVERY_CODES_MADE"
    RESET = "RESET"


@_stored_as("SIGN_UP_CODE")
class SignUpCode(CodeMessage):
    """Confirm a new account."""


@_stored_as("RESET_PASSWORD_CODE")
class ResetPasswordCode(CodeMessage):
    """Let the user choose a new password."""


@_stored_as("PASSWORD_CHANGED")
class PasswordChanged(Notice):
    """Tell of a new password, however it was set."""


@_stored_as("MFA_CHANGED")
class MfaChanged(Notice):
    """Tell what became of the second factors: an `MfaChange`, or one that a later release knows."""

    change: str = ""


@_stored_as("REFRESH_TOKEN_REUSED")
class RefreshTokenReused(Notice):
    """Tell that a session was ended, because its refresh token came twice."""


@_stored_as("EMAIL_TAKEN")
class EmailTaken(Message):
    """Tell an address's owner that somebody tried to use it."""


@_stored_as("ATTRIBUTE_CODE")
class AttributeCode(CodeMessage):
    """Verify a new address or phone number."""


@_stored_as("SIGN_IN_CODE")
class SignInCode(CodeMessage):
    """Prove a second factor."""


@_stored_as("RECOVERY_CODE_USED")
class RecoveryCodeUsed(Notice):
    """Tell that a recovery code stood in the place of the second factor."""

    recovery_codes_left: int | None = None


@_stored_as("EMAIL_CHANGED")
class EmailChanged(Notice):
    """Tell the former address which one took its place, masked; empty: none, it was removed."""

    new_email: str = ""


@_stored_as("INVITATION")
class Invitation(Message):
    """Bring the user of an account made by an operator its temporary password."""

    expires = True
    highlighted = "temporary_password"

    temporary_password: str


@_stored_as("NEW_SIGN_IN")
class NewSignIn(Notice):
    """Tell of a sign-in from where its user, who was known already, had not been."""


@_stored_as("ACCOUNT_LOCKED")
class AccountLocked(Notice):
    """Tell that so many wrong passwords or codes were tried that a lane is locked for long, or closed."""
