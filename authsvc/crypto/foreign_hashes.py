"""Password hashes that other systems made: read strictly, bounded against hash bombs, verified until the next sign-in.

Each kind has one text in which it is stored; what may be read beside it stands at its reader. A hash costs at most
about a second and 256 MiB, so that neither an import nor a row that somebody put into the table can stop the service.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import bcrypt
from argon2 import Type
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import verify_secret
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from authsvc.crypto.hash_fields import (
    HashParameters,
    HashRefused,
    base64_text,
    malformed,
    number,
    parameters,
    raw_bytes,
    require,
    require_length,
)

# Longer than any hash within the bounds below.
TEXT_CHARACTERS = 1024
MOST_MEMORY_KIB = 256 * 1024
# Argon2: memory times passes. scrypt: N times r times p.
MOST_ARGON2_WORK = 1024 * 1024
# Argon2: passes times lanes. Each pass has every lane's thread started four times, whatever little memory it fills.
MOST_ARGON2_STARTS = 1024
MOST_SCRYPT_WORK = 2**21
MOST_BCRYPT_COST = 14
MOST_ITERATIONS = 2_500_000
MOST_LANES = 16

_ARGON2_TYPES = {"argon2i": Type.I, "argon2d": Type.D, "argon2id": Type.ID}
# The last characters of salt and hash hold 2 and 4 bits that count.
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_BCRYPT_SEEN_BYTES = 72
_PBKDF2_DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}
_PBKDF2_SALT_BYTES = (1, 64)
_DJANGO = re.compile(r"pbkdf2_(sha1|sha256)\$([0-9]+)\$([!-#%-~]+)\$([^$]+)")


@dataclass(frozen=True, slots=True, repr=False)
class StoredHash:
    """Hold the one text in which a hash is stored, and what tells, in its time, whether a password has the hash."""

    text: str
    verify: Callable[[bytes], bool] = field(compare=False)


def parse_hash(text: str, most: HashParameters | None = None) -> StoredHash:
    """Read any kind of hash; `most` is a cost of Argon2 that is in bounds too.

    Raises:
        HashRefused: it is none of the kinds, malformed, or out of bounds.
    """
    if len(text) > TEXT_CHARACTERS:
        raise HashRefused(f"must have at most {TEXT_CHARACTERS} characters", rule="LENGTH")
    if text.startswith("$argon2"):
        return _argon2(text, most)
    if text.startswith("$2"):
        return _bcrypt(text)
    if text.startswith("$scrypt$"):
        return _scrypt(text)
    if text.startswith("$fbscrypt$"):
        return _firebase(text)
    if text.startswith(("$pbkdf2", "pbkdf2_")):
        return _pbkdf2(text)
    raise HashRefused("must be a hash of argon2, bcrypt, scrypt, Firebase's scrypt or PBKDF2", rule="UNKNOWN")


def _argon2(text: str, most: HashParameters | None) -> StoredHash:
    """Read an Argon2 hash (RFC 9106), a PHC string; without `v=19` it is of version 16."""
    form = "$argon2id$v=19$m=…,t=…,p=…$salt$hash"
    kind, *rest = text.split("$")[1:]
    if rest and rest[0] in {"v=16", "v=19"}:
        rest = rest[1:]
    if kind not in _ARGON2_TYPES or len(rest) != 3:
        raise malformed(form)
    names = ("m", "t", "p")
    memory, passes, lanes = map(number, parameters(rest[0], names, form), names, [(1, 2**22)] * 3)
    is_usual = most and passes <= most.time_cost and memory <= most.memory_kib and lanes <= most.parallelism
    if not is_usual:
        require(memory <= MOST_MEMORY_KIB, f"must have m of at most {MOST_MEMORY_KIB}")
        require(memory * passes <= MOST_ARGON2_WORK, f"must have m·t of at most {MOST_ARGON2_WORK}")
        require(lanes <= MOST_LANES, f"must have p of at most {MOST_LANES}")
        require(passes * lanes <= MOST_ARGON2_STARTS, f"must have t·p of at most {MOST_ARGON2_STARTS}")
    # RFC 9106 §3.1: the reference code refuses less.
    require(memory >= 8 * lanes, "must have m of at least 8·p")
    raw_bytes(rest[1], "salt", (8, 64))
    raw_bytes(rest[2], "hash", (12, 64))
    if "=" in rest[1] + rest[2]:
        raise malformed(form)

    def verify(password: bytes) -> bool:
        try:
            return verify_secret(text.encode(), password, _ARGON2_TYPES[kind])
        except VerifyMismatchError:
            return False

    return StoredHash(text, verify)


def _bcrypt(text: str) -> StoredHash:
    """Read the 60 characters of a bcrypt hash, as every library writes it.

    `$2a$`, `$2b$` and `$2y$` name one algorithm here; `$2x$`, made by a broken one, is refused. bcrypt sees the first
    72 bytes of a password, and most libraries cut off the rest without a word: so does this. A NUL byte, where some
    stop and others don't, is never right; authsvc accepts none in passwords anyway.
    """
    match = _BCRYPT.fullmatch(text)
    if match is None:
        raise malformed("$2b$cost$salt-and-hash")
    require(4 <= int(match[1]) <= MOST_BCRYPT_COST, f"must have a cost from 4 to {MOST_BCRYPT_COST}")

    def verify(password: bytes) -> bool:
        return b"\0" not in password and bcrypt.checkpw(password[:_BCRYPT_SEEN_BYTES], text.encode())

    return StoredHash(text, verify)


@dataclass(frozen=True, slots=True)
class _ScryptCost:
    """Fix the cost of scrypt (RFC 7914): the binary logarithm of N, r and p."""

    log_n: int
    r: int
    p: int

    @classmethod
    def parse(cls, log_n: str, r: str, p: str) -> Self:
        cost = cls(number(log_n, "log2 N", (1, 20)), number(r, "r", (1, 32)), number(p, "p", (1, MOST_LANES)))
        n = 2**cost.log_n
        # RFC 7914 §2: no scrypt computes more.
        require(cost.log_n < 16 * cost.r, "must have log2 N below 16·r")
        require(n * cost.r // 8 <= MOST_MEMORY_KIB, f"must need at most {MOST_MEMORY_KIB} KiB")
        require(n * cost.r * cost.p <= MOST_SCRYPT_WORK, f"must have N·r·p of at most {MOST_SCRYPT_WORK}")
        return cost

    def derive(self, password: bytes, salt: bytes, *, length: int) -> bytes:
        n, r, p = 2**self.log_n, self.r, self.p
        # What OpenSSL needs: N blocks, and some for each lane.
        memory = 128 * r * (n + p + 2)
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)


def _scrypt(text: str) -> StoredHash:
    """Read an scrypt hash (RFC 7914), a PHC string, as passlib writes it too."""
    form = "$scrypt$ln=…,r=…,p=…$salt$hash"
    _, costs, salt_text, hash_text = _parts(text, form)
    cost = _ScryptCost.parse(*parameters(costs, ("ln", "r", "p"), form))
    salt = raw_bytes(salt_text, "salt", (1, 64))
    hash_ = raw_bytes(hash_text, "hash", (16, 64))
    return StoredHash(
        f"$scrypt$ln={cost.log_n},r={cost.r},p={cost.p}${base64_text(salt)}${base64_text(hash_)}",
        lambda password: hmac.compare_digest(cost.derive(password, salt, length=len(hash_)), hash_),
    )


def _firebase(text: str) -> StoredHash:
    """Read a hash of Firebase's own scrypt, with the parameters of its project.

    scrypt makes an AES-256 key of the password, and the hash is the project's signer key encrypted under it in counter
    mode. The signer key stands with each hash: see decision 7. base64 may be of either alphabet: Firebase's command
    line and its Admin SDK differ.
    """
    form = "$fbscrypt$v=1,n=…,r=…,p=1,ss=…,sk=…$salt$hash"
    _, costs, salt_text, hash_text = _parts(text.replace("-", "+").replace("_", "/"), form)
    version, *scrypt, separator_text, key_text = parameters(costs, ("v", "n", "r", "p", "ss", "sk"), form)
    if version != "1":
        raise malformed(form)
    signer_key = raw_bytes(key_text, "signer key", (16, 128))
    cost = _ScryptCost.parse(*scrypt)
    separator = raw_bytes(separator_text, "salt separator", (0, 16))
    salt = raw_bytes(salt_text, "salt", (1, 64))
    hash_ = raw_bytes(hash_text, "hash", (16, 128))
    if len(hash_) != len(signer_key):
        raise HashRefused("must have a hash as long as the signer key", rule="LENGTH")

    def verify(password: bytes) -> bool:
        encryptor = Cipher(AES256(cost.derive(password, salt + separator, length=32)), CTR(bytes(16))).encryptor()
        return hmac.compare_digest(encryptor.update(signer_key) + encryptor.finalize(), hash_)

    encoded = f"ss={base64_text(separator)},sk={base64_text(signer_key)}${base64_text(salt)}${base64_text(hash_)}"
    return StoredHash(f"$fbscrypt$v=1,n={cost.log_n},r={cost.r},p={cost.p},{encoded}", verify)


def _pbkdf2(text: str) -> StoredHash:
    """Read a PBKDF2 hash (RFC 8018): PHC, passlib's `$pbkdf2-sha256$29000$…$…`, Django's `pbkdf2_sha256$600000$…$…`."""
    if django := _DJANGO.fullmatch(text):
        digest, cost, salt_text, hash_text = django.groups()
        salt = salt_text.encode()
        require_length(salt, "salt", _PBKDF2_SALT_BYTES)
    else:
        digest, cost, salt_text, hash_text = _pbkdf2_parts(text)
        salt = raw_bytes(salt_text, "salt", _PBKDF2_SALT_BYTES)
    iterations = number(cost, "iterations", (1, MOST_ITERATIONS))
    hash_ = raw_bytes(hash_text, "hash", (16, 64))
    # Each block as long as the digest costs all iterations again.
    blocks = -(-len(hash_) // _PBKDF2_DIGEST_BYTES[digest])
    require(iterations * blocks <= MOST_ITERATIONS, f"must have at most {MOST_ITERATIONS} iterations in all")
    return StoredHash(
        f"$pbkdf2-{digest}$i={iterations}${base64_text(salt)}${base64_text(hash_)}",
        lambda password: hmac.compare_digest(
            hashlib.pbkdf2_hmac(digest, password, salt, iterations, len(hash_)), hash_
        ),
    )


def _pbkdf2_parts(text: str) -> tuple[str, str, str, str]:
    """Return digest, iterations, salt and hash of a PHC string, or of passlib's."""
    form = "$pbkdf2-sha256$i=…$salt$hash"
    kind, cost, salt, hash_ = _parts(text, form)
    # passlib leaves the name of SHA-1 out.
    digest = "sha1" if kind == "pbkdf2" else kind.removeprefix("pbkdf2-")
    if digest not in _PBKDF2_DIGEST_BYTES:
        raise malformed(form)
    if cost.isdecimal():
        # passlib writes `.` where base64 has `+`.
        return digest, cost, salt.replace(".", "+"), hash_.replace(".", "+")
    iterations, *length = parameters(cost, ("i", "l") if ",l=" in cost else ("i",), form)
    if length and length != [str(len(raw_bytes(hash_, "hash", (16, 64))))]:
        raise malformed(form)
    return digest, iterations, salt, hash_


def _parts(text: str, form: str) -> list[str]:
    """Return the parts of a PHC string: name, parameters, salt and hash."""
    parts = text.split("$")[1:]
    if len(parts) != 4:
        raise malformed(form)
    return parts
