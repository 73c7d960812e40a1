"""Password hashes that other systems made: read strictly, bounded against hash bombs, verified until the next sign-in.

Each kind has one text in which it is stored; what may be read beside it stands at the kind. A hash costs at most about
a second and 256 MiB, so that neither an import nor a row that somebody put into the table can stop the service.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import bcrypt
from argon2 import Type
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import verify_secret
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from authsvc.crypto.hash_fields import (
    Bounds,
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


class StoredHash(Protocol):
    """Verify one stored hash."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a hash of this kind.

        Raises:
            HashRefused: malformed or out of bounds.
        """
        ...

    @property
    def text(self) -> str:
        """Return the one text in which the hash is stored."""
        ...

    def verify(self, password: bytes) -> bool:
        """Tell whether the password has this hash; takes its time."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Argon2Hash:
    """Hold an Argon2 hash (RFC 9106) as a PHC string; without `v=19` it is of version 16."""

    FORM: ClassVar[str] = "$argon2id$v=19$m=…,t=…,p=…$salt$hash"
    _TYPES: ClassVar[dict[str, Type]] = {"argon2i": Type.I, "argon2d": Type.D, "argon2id": Type.ID}

    text: str
    type: Type

    @classmethod
    def parse(cls, text: str, most: HashParameters | None = None) -> Self:
        """Read a PHC string; `most` is a cost that is in bounds too."""
        kind, *rest = text.split("$")[1:]
        if rest and rest[0] in {"v=16", "v=19"}:
            rest = rest[1:]
        if kind not in cls._TYPES or len(rest) != 3:
            raise malformed(cls.FORM)
        memory, passes, lanes = (
            number(value, name, (1, 2**22))
            for name, value in zip(("m", "t", "p"), parameters(rest[0], ("m", "t", "p"), cls.FORM), strict=True)
        )
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
            raise malformed(cls.FORM)
        return cls(text, cls._TYPES[kind])

    def verify(self, password: bytes) -> bool:
        """Tell whether the password has this hash."""
        try:
            return verify_secret(self.text.encode(), password, self.type)
        except VerifyMismatchError:
            return False


@dataclass(frozen=True, slots=True, repr=False)
class BcryptHash:
    """Hold a bcrypt hash as every library writes it.

    `$2a$`, `$2b$` and `$2y$` name one algorithm here; `$2x$`, made by a broken one, is refused. bcrypt sees the first
    72 bytes of a password, and most libraries cut off the rest without a word: so does this. A NUL byte, where some
    stop and others don't, is never right; authsvc accepts none in passwords anyway.
    """

    FORM: ClassVar[str] = "$2b$cost$salt-and-hash"
    SEEN_BYTES: ClassVar[int] = 72
    # The last characters of salt and hash hold 2 and 4 bits that count.
    _SHAPE: ClassVar[re.Pattern[str]] = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the 60 characters."""
        match = cls._SHAPE.fullmatch(text)
        if match is None:
            raise malformed(cls.FORM)
        require(4 <= int(match[1]) <= MOST_BCRYPT_COST, f"must have a cost from 4 to {MOST_BCRYPT_COST}")
        return cls(text)

    def verify(self, password: bytes) -> bool:
        """Tell whether the password has this hash."""
        if b"\0" in password:
            return False
        return bcrypt.checkpw(password[: self.SEEN_BYTES], self.text.encode())


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """Fix the cost of scrypt (RFC 7914): the binary logarithm of N, r and p."""

    log_n: int
    r: int
    p: int

    @classmethod
    def parse(cls, log_n: str, r: str, p: str) -> Self:
        """Read the three.

        Raises:
            HashRefused: malformed or out of bounds.
        """
        cost = cls(number(log_n, "log2 N", (1, 20)), number(r, "r", (1, 32)), number(p, "p", (1, MOST_LANES)))
        n = 2**cost.log_n
        # RFC 7914 §2: no scrypt computes more.
        require(cost.log_n < 16 * cost.r, "must have log2 N below 16·r")
        require(n * cost.r // 8 <= MOST_MEMORY_KIB, f"must need at most {MOST_MEMORY_KIB} KiB")
        require(n * cost.r * cost.p <= MOST_SCRYPT_WORK, f"must have N·r·p of at most {MOST_SCRYPT_WORK}")
        return cost

    def derive(self, password: bytes, salt: bytes, *, length: int) -> bytes:
        """Derive a key; takes its time."""
        n, r, p = 2**self.log_n, self.r, self.p
        # What OpenSSL needs: N blocks, and some for each lane.
        memory = 128 * r * (n + p + 2)
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)


@dataclass(frozen=True, slots=True, repr=False)
class ScryptHash:
    """Hold an scrypt hash (RFC 7914) as a PHC string."""

    FORM: ClassVar[str] = "$scrypt$ln=…,r=…,p=…$salt$hash"

    cost: ScryptCost
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a PHC string, as passlib writes it too."""
        cost, salt, hash_ = _three_parts(text, cls.FORM)
        return cls(
            ScryptCost.parse(*parameters(cost, ("ln", "r", "p"), cls.FORM)),
            salt=raw_bytes(salt, "salt", (1, 64)),
            hash=raw_bytes(hash_, "hash", (16, 64)),
        )

    @property
    def text(self) -> str:
        """Return the PHC string."""
        cost = self.cost
        return f"$scrypt$ln={cost.log_n},r={cost.r},p={cost.p}${base64_text(self.salt)}${base64_text(self.hash)}"

    def verify(self, password: bytes) -> bool:
        """Tell whether the password has this hash."""
        return hmac.compare_digest(self.cost.derive(password, self.salt, length=len(self.hash)), self.hash)


@dataclass(frozen=True, slots=True, repr=False)
class FirebaseHash:
    """Hold a hash of Firebase's own scrypt, with the parameters of its project.

    scrypt makes an AES-256 key of the password, and the hash is the project's signer key encrypted under it in counter
    mode. The signer key stands with each hash: see decision 7.
    """

    FORM: ClassVar[str] = "$fbscrypt$v=1,n=…,r=…,p=1,ss=…,sk=…$salt$hash"

    cost: ScryptCost
    salt_separator: bytes
    signer_key: bytes
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the form, in base64 of either alphabet: Firebase's command line and its Admin SDK differ."""
        costs, salt, hash_ = _three_parts(text.replace("-", "+").replace("_", "/"), cls.FORM)
        version, *cost, separator, key = parameters(costs, ("v", "n", "r", "p", "ss", "sk"), cls.FORM)
        if version != "1":
            raise malformed(cls.FORM)
        signer_key = raw_bytes(key, "signer key", (16, 128))
        made = cls(
            ScryptCost.parse(*cost),
            salt_separator=raw_bytes(separator, "salt separator", (0, 16)),
            signer_key=signer_key,
            salt=raw_bytes(salt, "salt", (1, 64)),
            hash=raw_bytes(hash_, "hash", (16, 128)),
        )
        if len(made.hash) != len(signer_key):
            raise HashRefused("must have a hash as long as the signer key", rule="LENGTH")
        return made

    @property
    def text(self) -> str:
        """Return the form with all parameters."""
        separator, key, salt, hash_ = map(base64_text, (self.salt_separator, self.signer_key, self.salt, self.hash))
        cost = self.cost
        return f"$fbscrypt$v=1,n={cost.log_n},r={cost.r},p={cost.p},ss={separator},sk={key}${salt}${hash_}"

    def verify(self, password: bytes) -> bool:
        """Tell whether the password has this hash."""
        key = self.cost.derive(password, self.salt + self.salt_separator, length=32)
        encryptor = Cipher(AES256(key), CTR(bytes(16))).encryptor()
        return hmac.compare_digest(encryptor.update(self.signer_key) + encryptor.finalize(), self.hash)


@dataclass(frozen=True, slots=True, repr=False)
class Pbkdf2Hash:
    """Hold a PBKDF2 hash (RFC 8018) as a PHC string."""

    FORM: ClassVar[str] = "$pbkdf2-sha256$i=…$salt$hash"
    _DIGESTS: ClassVar[dict[str, int]] = {"sha1": 20, "sha256": 32, "sha512": 64}
    _SALT_BYTES: ClassVar[Bounds] = (1, 64)
    _DJANGO: ClassVar[re.Pattern[str]] = re.compile(r"pbkdf2_(sha1|sha256)\$([0-9]+)\$([!-#%-~]+)\$([^$]+)")

    digest: str
    iterations: int
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a PHC string, passlib's `$pbkdf2-sha256$29000$…$…`, or Django's `pbkdf2_sha256$600000$salt$hash`."""
        if django := cls._DJANGO.fullmatch(text):
            digest, iterations, salt, hash_ = django.groups()
            require_length(salt.encode(), "salt", cls._SALT_BYTES)
            return cls._bounded(digest, iterations=iterations, salt=salt.encode(), hash_=hash_)
        kind, *rest = text.split("$")[1:]
        # passlib leaves the name of SHA-1 out.
        digest = "sha1" if kind == "pbkdf2" else kind.removeprefix("pbkdf2-")
        if digest not in cls._DIGESTS or len(rest) != 3:
            raise malformed(cls.FORM)
        cost, salt, hash_ = rest
        if cost.isdecimal():
            # passlib writes `.` where base64 has `+`.
            salt, hash_ = salt.replace(".", "+"), hash_.replace(".", "+")
        else:
            names = ("i", "l") if ",l=" in cost else ("i",)
            cost, *length = parameters(cost, names, cls.FORM)
            if length and length != [str(len(raw_bytes(hash_, "hash", (16, 64))))]:
                raise malformed(cls.FORM)
        return cls._bounded(digest, iterations=cost, salt=raw_bytes(salt, "salt", cls._SALT_BYTES), hash_=hash_)

    @classmethod
    def _bounded(cls, digest: str, *, iterations: str, salt: bytes, hash_: str) -> Self:
        made = cls(
            digest, number(iterations, "iterations", (1, MOST_ITERATIONS)), salt, raw_bytes(hash_, "hash", (16, 64))
        )
        # Each block as long as the digest costs all iterations again.
        blocks = -(-len(made.hash) // cls._DIGESTS[digest])
        require(made.iterations * blocks <= MOST_ITERATIONS, f"must have at most {MOST_ITERATIONS} iterations in all")
        return made

    @property
    def text(self) -> str:
        """Return the PHC string."""
        return f"$pbkdf2-{self.digest}$i={self.iterations}${base64_text(self.salt)}${base64_text(self.hash)}"

    def verify(self, password: bytes) -> bool:
        """Tell whether the password has this hash."""
        made = hashlib.pbkdf2_hmac(self.digest, password, self.salt, self.iterations, len(self.hash))
        return hmac.compare_digest(made, self.hash)


def parse_hash(text: str, most: HashParameters | None = None) -> StoredHash:
    """Read any kind of hash; `most` is a cost of Argon2 that is in bounds too.

    Raises:
        HashRefused: it is none of the kinds, malformed, or out of bounds.
    """
    if len(text) > TEXT_CHARACTERS:
        raise HashRefused(f"must have at most {TEXT_CHARACTERS} characters", rule="LENGTH")
    if text.startswith("$argon2"):
        return Argon2Hash.parse(text, most)
    if text.startswith("$2"):
        return BcryptHash.parse(text)
    if text.startswith("$scrypt$"):
        return ScryptHash.parse(text)
    if text.startswith("$fbscrypt$"):
        return FirebaseHash.parse(text)
    if text.startswith(("$pbkdf2", "pbkdf2_")):
        return Pbkdf2Hash.parse(text)
    raise HashRefused("must be a hash of argon2, bcrypt, scrypt, Firebase's scrypt or PBKDF2", rule="UNKNOWN")


def _three_parts(text: str, form: str) -> list[str]:
    """Return what stands behind the name of a PHC string: parameters, salt and hash."""
    parts = text.split("$")[2:]
    if len(parts) != 3:
        raise malformed(form)
    return parts
