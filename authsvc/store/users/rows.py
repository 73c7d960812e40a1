"""What an account is in the database: the one list of its columns, and what makes accounts of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from authsvc.domain import DeviceId, EmailKey, FactorKind, FactorState, Medium, User, UserStatus

COLUMNS = """u.user_id, u.username, u.username_key, u.status, u.email, u.email_key, u.email_verified_at, u.attributes,
       u.phone_verified_at, u.pending_email, u.pending_email_key, u.pending_phone_number, u.created_at, u.updated_at,
       u.reserved_until, u.disabled_at"""

_NAMES = [field.name for field in fields(User)]


def user_from(**columns: Any) -> User:
    """Make an account of its columns."""
    return User(**(columns | {"status": UserStatus(columns["status"])}))


def user_of(row: Any) -> User:
    """Make an account of a row that has its columns among others."""
    return user_from(**{name: row[name] for name in _NAMES})


@dataclass(frozen=True, slots=True)
class Password:
    """Hold a password as it moves with its account; without a hash the account has none, or it is not told."""

    hash: str | None = field(repr=False)
    expires_at: datetime | None
    recovered_by: Medium | None


@dataclass(frozen=True, slots=True)
class Device:
    """Hold one active authenticator as it moves with its account; its secret is sealed."""

    device_id: DeviceId
    friendly_name: str
    sealed_secret: bytes
    verified_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeUser:
    """Hold an account with all that moves with it.

    `factors` are the kinds that something was chosen about, the preferred one among them.
    """

    user: User
    factors: Mapping[FactorKind, bool]
    preferred: FactorKind | None
    password: Password
    devices: tuple[Device, ...]
    groups: tuple[str, ...]

    @property
    def verified_key(self) -> EmailKey | None:
        """Return the key of the address if it is verified: no other account may have verified it."""
        return self.user.email_key if self.user.email_verified_at else None


@dataclass(frozen=True, slots=True)
class UserEntry:
    """Hold an account as operators' lists have it: with its factors, and its groups in the order of tokens."""

    user: User
    factors: FactorState
    groups: list[str]
