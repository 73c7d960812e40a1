"""Sign what goes to webhooks: HMAC-SHA-256 (RFC 2104) of time and body, so that a receiver knows who sent it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

# Before each signature in the header: another scheme would have another one beside it.
SCHEME = "v1"
_SIGNATURE = re.compile(rf"{SCHEME}=([0-9a-f]{{64}})")


def sign(keys: Sequence[str], timestamp: str, body: bytes) -> str:
    """Return the header with a signature under each key, `v1=HEX,v1=HEX`; a receiver needs one of the keys."""
    return ",".join(f"{SCHEME}={_digest(key, timestamp, body)}" for key in keys)


def is_signed(keys: Sequence[str], timestamp: str, body: bytes, *, header: str) -> bool:
    """Tell whether a header has a signature under one of the keys."""
    given = [match[1] for part in header.split(",") if (match := _SIGNATURE.fullmatch(part.strip()))]
    return any(hmac.compare_digest(signature, _digest(key, timestamp, body)) for key in keys for signature in given)


def _digest(key: str, timestamp: str, body: bytes) -> str:
    return hmac.digest(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hex()
