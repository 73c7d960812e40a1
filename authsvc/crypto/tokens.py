"""Random values: handles, codes and ids from the operating system's generator."""

from __future__ import annotations

import base64
import secrets
from uuid import UUID, uuid4


def new_handle() -> str:
    """Return an opaque handle of 256 bits, base64url without padding: a challenge session or a refresh token."""
    return secrets.token_urlsafe(32)


def new_code(digits: int) -> str:
    """Return a decimal code of `digits` digits, each value as likely as any other."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def new_recovery_code() -> str:
    """Return 80 random bits in base32 (RFC 4648 §6), 16 characters in lower case: no 0, 1, 8 or 9 to be misread."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()


def new_id() -> UUID:
    """Return a random UUID (RFC 9562 version 4)."""
    return uuid4()


def jitter() -> float:
    """Return a random number in [0, 1), to spread retries and polls of many replicas."""
    return secrets.randbelow(1 << 30) / (1 << 30)


# Without letters and digits that are taken for each other.
_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"
_SHORTEST = 27


def new_temporary_password(least_characters: int) -> str:
    """Return a random password of at least so many characters, of 99 bits or more, fit to be typed from paper.

    It has a capital, a small letter, a digit and hyphens: whatever rules of composition there are, it keeps them.
    """
    length = max(_SHORTEST, least_characters)
    head = secrets.choice(_READABLE[:23].upper()) + secrets.choice(_READABLE[:23]) + secrets.choice(_READABLE[23:])
    words = ["".join(secrets.choice(_READABLE) for _ in range(5)) for _ in range(length // 6 + 1)]
    text = "-".join([head, *words])[:length]
    # A hyphen at the end would be overlooked.
    return text.removesuffix("-") + ("" if text[-1] != "-" else secrets.choice(_READABLE))
