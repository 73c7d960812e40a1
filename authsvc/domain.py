"""The values that every layer names: ids and keys that must not be mixed up, closed sets that are stored, accounts.

A leaf: nothing here knows how a value is stored, told or come by.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)
DeviceId = NewType("DeviceId", UUID)
MailId = NewType("MailId", UUID)
# A username in the form in which names are told apart (RFC 8265 UsernameCaseMapped); for what is kept by name, whether
# an account has it or not, also an address that stands for nobody.
UsernameKey = NewType("UsernameKey", str)
# An e-mail address in the form in which addresses are told apart.
EmailKey = NewType("EmailKey", str)
# Where guesses at an account come from, as far as they are counted apart; see `core.access.lanes`. Stored.
Lane = NewType("Lane", str)
STRANGERS = Lane("")


class UserStatus(enum.StrEnum):
    """Name what an account waits for: the values of the proto enum `UserStatus` without their prefix. Stored."""

    UNCONFIRMED = "UNCONFIRMED"
    CONFIRMED = "CONFIRMED"
    FORCE_CHANGE_PASSWORD = "FORCE_CHANGE_PASSWORD"  # noqa: S105  # the name of a status
    RESET_REQUIRED = "RESET_REQUIRED"


class AdminScope(enum.StrEnum):
    """Name what an operator may do by AdminService; whoever may do anything of it may read. Stored."""

    READ = "read"
    SUPPORT = "support"
    USERS = "users"
    SECRETS = "secrets"
    ALL = "all"


class Step(enum.StrEnum):
    """Name what a sign-in waits for: the values of the proto enum `SignInStep` without their prefix. Stored."""

    DONE = "DONE"
    CONFIRM_SIGN_UP = "CONFIRM_SIGN_UP"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105  # the name of a step
    CONFIRM_SIGN_IN_WITH_NEW_PASSWORD = "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"  # noqa: S105  # the name of a step
    CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION"
    CONTINUE_SIGN_IN_WITH_TOTP_SETUP = "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    CONTINUE_SIGN_IN_WITH_MFA_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"
    CONFIRM_SIGN_IN_WITH_TOTP_CODE = "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    CONFIRM_SIGN_IN_WITH_SMS_CODE = "CONFIRM_SIGN_IN_WITH_SMS_CODE"
    CONFIRM_SIGN_IN_WITH_EMAIL_CODE = "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"
    CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE = "CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE"


class FactorKind(enum.StrEnum):
    """Name every kind of factor; what each is and does is in `core.factors`. Stored."""

    PASSWORD = "PASSWORD"  # noqa: S105  # the name of a factor
    TOTP = "TOTP"
    SMS = "SMS"
    EMAIL = "EMAIL"
    RECOVERY_CODE = "RECOVERY_CODE"
    CUSTOM_CHALLENGE = "CUSTOM_CHALLENGE"


# What users may be asked for beside a password, and set up; `core.factors.kinds` says what each is.
SECOND_FACTORS = (FactorKind.TOTP, FactorKind.SMS, FactorKind.EMAIL)


class Medium(enum.StrEnum):
    """Name what carries a message to its reader. Stored."""

    EMAIL = "EMAIL"
    SMS = "SMS"


class LaneKind(enum.StrEnum):
    """Name by what a place is known to an account. Stored."""

    DEVICE = "DEVICE"
    SOURCE = "SOURCE"  # a network from which a sign-in was finished
    RECOVERED = "RECOVERED"  # a network from which the password was recovered, and no sign-in finished yet


class MailState(enum.StrEnum):
    """Say where a mail stands; all but the first are final. Stored."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    DROPPED = "DROPPED"  # nobody wants it: replaced by a later one, or owed to a name that doesn't exist
    DEAD = "DEAD"  # refused for good, expired, or tried too often


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Hold one account, without its password and its factors."""

    user_id: UserId
    username: str
    username_key: UsernameKey
    status: UserStatus
    email: str | None = None
    email_key: EmailKey | None = None
    email_verified_at: datetime | None = None
    # Those other than the address.
    attributes: dict[str, str] = field(default_factory=dict)
    phone_verified_at: datetime | None = None
    pending_email: str | None = None
    pending_email_key: EmailKey | None = None
    pending_phone_number: str | None = None
    created_at: datetime
    updated_at: datetime | None = None
    reserved_until: datetime | None = None
    disabled_at: datetime | None = None

    @property
    def login(self) -> str:
        """Return the name that its user knows: the address, for an account that was signed up by it."""
        return self.email if self.email and self.username == str(self.user_id) else self.username

    @property
    def names(self) -> list[UsernameKey]:
        """Return the names that stand for this account where it is signed in, in one order."""
        address = {UsernameKey(self.email_key)} if self.email_key and self.email_verified_at else set()
        return sorted({self.username_key} | address)

    @property
    def phone_number(self) -> str | None:
        """Return the phone number, which is one of the attributes."""
        return self.attributes.get("phone_number")

    def address(self, medium: Medium) -> str | None:
        """Return where messages to this account go over a medium."""
        return self.email if medium is Medium.EMAIL else self.phone_number

    def address_key(self, medium: Medium) -> str | None:
        """Return the form in which that address, or number, is told apart."""
        return self.email_key if medium is Medium.EMAIL else self.phone_number

    def is_verified(self, medium: Medium) -> bool:
        """Tell whether that address, or number, is the user's for sure."""
        return (self.email_verified_at if medium is Medium.EMAIL else self.phone_verified_at) is not None

    @property
    def claims(self) -> dict[str, str]:
        """Return all attributes, the address among them, by the names of OpenID Connect."""
        return {**self.attributes, **({} if self.email is None else {"email": self.email})}

    @property
    def verified(self) -> dict[str, bool]:
        """Tell of the address and of the number, if they are there, whether they are the user's for sure."""
        marks = {} if self.email is None else {"email_verified": self.email_verified_at is not None}
        if self.phone_number is not None:
            marks["phone_number_verified"] = self.phone_verified_at is not None
        return marks


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorState:
    """Hold what the rules of second factors ask of an account, beside its row.

    `authenticators` counts the active ones, `recovered_by` is the medium whose code set the password. `enabled` and
    `disabled` are the kinds that something was chosen about: of the others the default of their kind holds.
    """

    authenticators: int = 0
    recovered_by: Medium | None = None
    enabled: frozenset[FactorKind] = frozenset()
    disabled: frozenset[FactorKind] = frozenset()
    preferred: FactorKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFilter:
    """Hold what accounts of a list have in common; None: whatever it is."""

    username_prefix: str | None = None
    email_key: EmailKey | None = None
    email_prefix: str | None = None
    status: UserStatus | None = None
    enabled: bool | None = None
    group: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    attributes: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Hold one group."""

    name: str
    description: str
    precedence: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TotpDevice:
    """Hold one authenticator; its secret is sealed. It is active once verified."""

    device_id: DeviceId
    user_id: UserId
    friendly_name: str
    sealed_secret: bytes
    verified_at: datetime | None
    last_used_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Return whether its first code has been given."""
        return self.verified_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Hold one session."""

    session_id: SessionId
    user_id: UserId
    origin_jti: UUID
    amr: list[str]
    auth_time: datetime
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    client_ip: str
    client_user_agent: str
    # How often its user was proved again.
    generation: int = 0


@dataclass(frozen=True, slots=True)
class MailEntry:
    """Hold where one mail stands: never what it says, nor to whom."""

    mail_id: MailId
    kind: str
    medium: Medium
    state: MailState
    created_at: datetime
    not_before: datetime
    expires_at: datetime | None
    finished_at: datetime | None
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one event of the audit trail; the four personal columns are None once they were erased."""

    chain: int
    sequence: int
    created_at: datetime
    kind: str
    result: str
    reason: str
    user_id: UserId | None
    actor: str
    session_id: SessionId | None
    request_id: str
    details: dict[str, str]
    username: str | None
    client_ip: str | None
    client_user_agent: str | None
    personal_salt: str | None
    personal_digest: bytes
    key_id: str
    digest: bytes
