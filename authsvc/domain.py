"""The values that every layer names: ids and keys that must not be mixed up, and closed sets that are stored.

A leaf: nothing here knows how a value is stored, told or come by.
"""

from __future__ import annotations

import enum
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


class UserStatus(enum.StrEnum):
    """Name what an account waits for: the values of the proto enum `UserStatus` without their prefix. Stored."""

    UNCONFIRMED = "UNCONFIRMED"
    CONFIRMED = "CONFIRMED"
    FORCE_CHANGE_PASSWORD = "FORCE_CHANGE_PASSWORD"  # noqa: S105  # the name of a status
    RESET_REQUIRED = "RESET_REQUIRED"


class FactorKind(enum.StrEnum):
    """Name every kind of factor; what each is and does is in `core.factors`. Stored."""

    PASSWORD = "PASSWORD"  # noqa: S105  # the name of a factor
    TOTP = "TOTP"
    SMS = "SMS"
    EMAIL = "EMAIL"
    RECOVERY_CODE = "RECOVERY_CODE"
    CUSTOM_CHALLENGE = "CUSTOM_CHALLENGE"


class Medium(enum.StrEnum):
    """Name what carries a message to its reader. Stored."""

    EMAIL = "EMAIL"
    SMS = "SMS"
