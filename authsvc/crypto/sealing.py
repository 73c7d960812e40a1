"""Seal what is stored and digest what is only compared, under master keys that live outside the database.

Sealing is AES-256-GCM (NIST SP 800-38D), bound to the row that holds it; digests are HMAC-SHA-256 (RFC 2104). Each
purpose has keys of its own, derived by HKDF (RFC 5869), so that nothing sealed or digested for one purpose passes for
another.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
# Ids of keys that `authsvc dev` makes; `serve` refuses them.
DEV_KEY_PREFIX = "dev-"
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Purpose(enum.StrEnum):
    """Name what a derived key is for; the values are part of stored data and never change."""

    TOTP_SECRET = "totp-secret"  # noqa: S105  # the name of a purpose
    SIGNING_KEY = "signing-key"
    MAIL = "mail"
    REFRESH_SUCCESSOR = "refresh-successor"
    CODE = "code"
    CHALLENGE = "challenge"
    REFRESH_TOKEN = "refresh-token"  # noqa: S105  # the name of a purpose
    PAGE = "page"
    MASK = "mask"
    ADDRESS = "address"
    SIGN_UP_REQUEST = "sign-up-request"
    CHALLENGE_STATE = "challenge-state"
    RECOVERY_CODE = "recovery-code"
    AUDIT = "audit"
    AUDIT_PERSONAL = "audit-personal"
    AUDIT_HEAD = "audit-head"
    AUDIT_PRUNED = "audit-pruned"
    ADMIN_KEY = "admin-key"
    SIGN_IN_REPLY = "sign-in-reply"
    SIGN_IN_RETRY = "sign-in-retry"
    DEVICE = "device"
    SOURCE = "source"
    RESET = "reset"


class MasterKeyError(ValueError):
    """Say what is wrong with the text of the master keys, without repeating it."""


class UnsealError(Exception):
    """Tell that sealed bytes are damaged, moved to another row, or sealed under a key that is not here."""


@dataclass(frozen=True, slots=True)
class MasterKey:
    """Hold 256 bits of key material and its public id."""

    key_id: str
    material: bytes

    def __repr__(self) -> str:
        return f"MasterKey({self.key_id!r})"

    @classmethod
    def generate(cls, prefix: str = "") -> MasterKey:
        """Make a new key with a random id that begins with `prefix`."""
        return cls(f"{prefix}{secrets.token_hex(4)}", secrets.token_bytes(KEY_BYTES))

    def line(self) -> str:
        """Return the key as `id:base64url`, one line of the setting `AUTHSVC_KEYS_MASTER`."""
        return f"{self.key_id}:{base64.urlsafe_b64encode(self.material).decode().rstrip('=')}"


def parse_master_keys(text: str) -> tuple[MasterKey, ...]:
    """Read lines of `id:base64url`; empty lines and lines that begin with `#` don't count.

    Raises:
        MasterKeyError: no key, a malformed line, or an id given twice.
    """
    keys: list[MasterKey] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key_id, _, encoded = stripped.partition(":")
        try:
            material = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            material = b""
        if not _KEY_ID.fullmatch(key_id) or len(material) != KEY_BYTES:
            raise MasterKeyError(f"line {number} is not `id:base64url of {KEY_BYTES} bytes`")
        if any(key.key_id == key_id for key in keys):
            raise MasterKeyError(f"line {number} repeats the id {key_id!r}")
        keys.append(MasterKey(key_id, material))
    if not keys:
        raise MasterKeyError("there is no master key")
    return tuple(keys)


class KeyRing:
    """Seal, open and digest under the first master key; open and match under all of them."""

    __slots__ = ("_derived", "keys")

    def __init__(self, *, keys: tuple[MasterKey, ...]) -> None:
        self.keys = keys
        self._derived = {
            (key.key_id, purpose): HKDF(SHA256(), KEY_BYTES, salt=None, info=f"authsvc/1/{purpose}".encode()).derive(
                key.material
            )
            for key in keys
            for purpose in Purpose
        }

    @property
    def marker(self) -> bytes:
        """Return what everything begins with that is sealed under the first master key."""
        key_id = self.keys[0].key_id.encode()
        return bytes([len(key_id)]) + key_id

    def seal(self, purpose: Purpose, plaintext: bytes, *, bound_to: str) -> bytes:
        """Encrypt `plaintext` so that it opens only for the same `purpose` and `bound_to`, the identity of its row."""
        key_id = self.keys[0].key_id
        # Random nonces are safe for 2^32 messages under one key (SP 800-38D §8.3).
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self._derived[key_id, purpose]).encrypt(nonce, plaintext, bound_to.encode())
        return self.marker + nonce + sealed

    def reseal(self, purpose: Purpose, sealed: bytes, *, bound_to: str) -> bytes:
        """Seal under the first master key what any of them sealed.

        Raises:
            UnsealError: see `open`.
        """
        return self.seal(purpose, self.open(purpose, sealed, bound_to=bound_to), bound_to=bound_to)

    def open(self, purpose: Purpose, sealed: bytes, *, bound_to: str) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            UnsealError: damaged, bound to something else, or sealed under an unknown master key.
        """
        key_id_end = 1 + sealed[0] if sealed else 0
        key = self._derived.get((sealed[1:key_id_end].decode(errors="replace"), purpose))
        if key is None:
            raise UnsealError("sealed under a master key that is not here")
        nonce = sealed[key_id_end : key_id_end + NONCE_BYTES]
        try:
            return AESGCM(key).decrypt(nonce, sealed[key_id_end + NONCE_BYTES :], bound_to.encode())
        except (InvalidTag, ValueError) as error:
            raise UnsealError("damaged, or moved from the row that it was sealed for") from error

    def digest(self, purpose: Purpose, *parts: str) -> bytes:
        """Return the 32-byte keyed digest to store for a secret, under the first master key."""
        return self._digest(self.keys[0].key_id, purpose, parts)

    def digests(self, purpose: Purpose, *parts: str) -> list[bytes]:
        """Return the digests to look a secret up by: the stored one may be of any master key."""
        return [self._digest(key.key_id, purpose, parts) for key in self.keys]

    def digest_under(self, key_id: str, purpose: Purpose, *parts: str) -> bytes | None:
        """Return the digest under one master key by its id; None if that key is not here."""
        return self._digest(key_id, purpose, parts) if (key_id, purpose) in self._derived else None

    def _digest(self, key_id: str, purpose: Purpose, parts: tuple[str, ...]) -> bytes:
        # Lengths first: no two lists of parts have the same bytes.
        message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
        return hmac.digest(self._derived[key_id, purpose], message, hashlib.sha256)
