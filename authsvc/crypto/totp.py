"""Time-based one-time passwords (RFC 6238) as every authenticator app has them: SHA-1, 6 digits, 30 seconds."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

import pyotp

# What apps of others may have: 80 bits, as the oldest made, to 512.
FEWEST_BYTES, MOST_BYTES = 10, 64
# 160 bits, the length that RFC 4226 §4 R6 recommends; 32 characters of base32.
SECRET_CHARACTERS = 32
DIGITS = 6
PERIOD_SECONDS = 30
# Steps accepted on each side of the present one, for clocks that are off (RFC 6238 §5.2).
WINDOW_STEPS = 1


@dataclass(frozen=True, slots=True)
class TotpSecret:
    """Hold the shared secret of one authenticator, base32 without padding."""

    base32: str = field(repr=False)

    @classmethod
    def generate(cls) -> TotpSecret:
        """Make a random secret of 160 bits."""
        return cls(pyotp.random_base32(SECRET_CHARACTERS))

    @classmethod
    def parse(cls, text: str) -> TotpSecret | None:
        """Read a secret of another system, as apps show it: in groups, in either case, padded or not; None if none."""
        bare = text.replace(" ", "").rstrip("=").upper()
        try:
            length = len(base64.b32decode(bare + "=" * (-len(bare) % 8)))
        except (binascii.Error, ValueError):
            return None
        return cls(bare) if FEWEST_BYTES <= length <= MOST_BYTES else None

    @property
    def bits(self) -> int:
        """Return how long it is."""
        return len(base64.b32decode(self.base32 + "=" * (-len(self.base32) % 8))) * 8

    def setup_uri(self, *, issuer: str, username: str) -> str:
        """Return the key URI that authenticator apps read from a QR code, every part percent-encoded."""
        # pyotp leaves out the parameters that have default values; some apps want them.
        label = f"{quote(issuer, safe='')}:{quote(username, safe='')}"
        return (
            f"otpauth://totp/{label}?secret={self.base32}&issuer={quote(issuer, safe='')}"
            f"&algorithm=SHA1&digits={DIGITS}&period={PERIOD_SECONDS}"
        )

    def code(self, step: int) -> str:
        """Return the code that an authenticator shows during a time step, counted from 1970 in periods."""
        return pyotp.TOTP(self.base32, digits=DIGITS, interval=PERIOD_SECONDS).generate_otp(step)

    def matching_step(self, code: str, *, at: datetime) -> int | None:
        """Return the time step that `code` belongs to, within one step of `at`, or None.

        Every candidate is compared in constant time. Whether the step was used before is the store's to say.
        """
        present = int(at.timestamp()) // PERIOD_SECONDS
        steps = range(present - WINDOW_STEPS, present + WINDOW_STEPS + 1)
        matches = [step for step in steps if hmac.compare_digest(self.code(step).encode(), code.encode())]
        return matches[-1] if matches else None
