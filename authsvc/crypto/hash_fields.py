"""What texts of password hashes are made of, read strictly: numbers, bytes in base64, parameters."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")

# The least and the most.
Bounds = tuple[int, int]


@dataclass(frozen=True, slots=True)
class HashParameters:
    """Fix the cost of an Argon2 hash; OWASP's first choice is t=2, m=19 MiB, p=1."""

    time_cost: int
    memory_kib: int
    parallelism: int


class HashRefused(ValueError):
    """Say which rule the text of a hash breaks, without repeating it."""

    def __init__(self, description: str, *, rule: str) -> None:
        super().__init__(description)
        self.rule = rule
        self.description = description


def malformed(form: str) -> HashRefused:
    """Make the refusal of a text that is not of the form it begins as."""
    return HashRefused(f"must be a hash of the form {form}", rule="MALFORMED")


def number(text: str, name: str, bounds: Bounds) -> int:
    """Read a decimal number without sign and leading zeros.

    Raises:
        HashRefused: it is none, or out of bounds.
    """
    if not _NUMBER.fullmatch(text):
        raise HashRefused(f"must have a decimal number as {name}", rule="MALFORMED")
    least, most = bounds
    require(least <= int(text) <= most, f"must have {name} from {least} to {most}")
    return int(text)


def require(holds: bool, description: str) -> None:
    """Refuse parameters out of bounds.

    Raises:
        HashRefused: the bound doesn't hold.
    """
    if not holds:
        raise HashRefused(description, rule="COST")


def raw_bytes(text: str, name: str, bounds: Bounds) -> bytes:
    """Read standard base64, with or without padding.

    Raises:
        HashRefused: it is none, is not the shortest text of its bytes, or has too few or too many of them.
    """
    bare = text.rstrip("=")
    try:
        value = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        value = b""
    # Bits that no byte has could tell two texts of one hash apart.
    if base64_text(value) != bare or len(text) - len(bare) > 2:
        raise HashRefused(f"must have base64 as {name}", rule="MALFORMED")
    require_length(value, name, bounds)
    return value


def require_length(value: bytes, name: str, bounds: Bounds) -> None:
    """Refuse too few or too many bytes.

    Raises:
        HashRefused: they are.
    """
    least, most = bounds
    if not least <= len(value) <= most:
        raise HashRefused(f"must have {name} of {least} to {most} bytes", rule="LENGTH")


def base64_text(value: bytes) -> str:
    """Write standard base64 without padding, as PHC strings have it."""
    return base64.b64encode(value).decode().rstrip("=")


def parameters(text: str, names: tuple[str, ...], form: str) -> list[str]:
    """Read `a=1,b=2`: exactly these names in this order.

    Raises:
        HashRefused: it has others.
    """
    pairs = [pair.partition("=") for pair in text.split(",")]
    if tuple(name for name, _, _ in pairs) != names:
        raise malformed(form)
    return [value for _, _, value in pairs]
