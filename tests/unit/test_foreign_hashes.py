"""Hashes of other systems: verified as those systems do, read strictly, bounded."""

import base64
import hashlib

import bcrypt
import pytest
from argon2 import Type, low_level
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given
from hypothesis import strategies as st

from authsvc.crypto.foreign_hashes import parse_hash
from authsvc.crypto.hash_fields import HashParameters, HashRefused
from authsvc.crypto.password_hash import PasswordHasher

SIGNER_KEY = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
FIREBASE_HASH = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="
FIREBASE = f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={SIGNER_KEY}$42xEC+ixf3L2lw==${FIREBASE_HASH}"
SALT = b"sixteen bytes of"


def b64(value: bytes) -> str:
    """Write base64 without padding."""
    return base64.b64encode(value).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "password"),
    [
        # The example of github.com/firebase/scrypt.
        (FIREBASE, "user1password"),
        # Examples of passlib's documentation.
        (
            "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44",
            "password",
        ),
        (
            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
            "password",
        ),
        ("$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "password"),
        # RFC 7914 §12.
        (
            "$scrypt$ln=10,r=8,p=16$TmFDbA$"
            + b64(
                bytes.fromhex(
                    "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                    "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
                )
            ),
            "password",
        ),
        # RFC 6070 §2.
        (
            "$pbkdf2-sha1$i=4096,l=20$c2FsdA$" + b64(bytes.fromhex("4b007901b765489abead49d926f721d065a429c1")),
            "password",
        ),
    ],
)
def test_published_hash_is_verified(text: str, password: str) -> None:
    """The password that a published hash is told to be of has it; no other has."""
    stored = parse_hash(text)
    assert stored.verify(password.encode())
    assert not stored.verify(password.upper().encode())
    assert parse_hash(stored.text) == stored


@given(password=st.text(max_size=30), salt=st.binary(min_size=8, max_size=16))
def test_hashes_of_other_implementations_are_verified(password: str, salt: bytes) -> None:
    """PBKDF2 and scrypt agree with the implementations of cryptography, for any password and salt."""
    secret = password.encode()
    for algorithm in (SHA1(), SHA256(), SHA512()):  # noqa: S303  # as other systems have it
        name = algorithm.name
        made = PBKDF2HMAC(algorithm, algorithm.digest_size, salt, 3).derive(secret)
        assert parse_hash(f"$pbkdf2-{name}$i=3${b64(salt)}${b64(made)}").verify(secret)
        assert not parse_hash(f"$pbkdf2-{name}$i=4${b64(salt)}${b64(made)}").verify(secret)
    made = Scrypt(salt, 32, 2**4, 8, 2).derive(secret)
    assert parse_hash(f"$scrypt$ln=4,r=8,p=2${b64(salt)}${b64(made)}").verify(secret)
    assert not parse_hash(f"$scrypt$ln=4,r=8,p=1${b64(salt)}${b64(made)}").verify(secret)


@pytest.mark.parametrize("type_", list(Type))
@pytest.mark.parametrize("version", [16, 19])
def test_every_kind_of_argon2_is_verified(type_: Type, version: int) -> None:
    """argon2i, argon2d and argon2id, of both versions and any parameters, are verified and kept as they are."""
    encoded = low_level.hash_secret(
        b"right", SALT, time_cost=2, memory_cost=64, parallelism=3, hash_len=24, type=type_, version=version
    ).decode()
    stored = parse_hash(encoded)
    assert stored.text == encoded
    assert stored.verify(b"right")
    assert not stored.verify(b"wrong")
    if version == 16:
        # As it was written before there were versions.
        assert parse_hash(encoded.replace("v=16$", "")).verify(b"right")


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_every_name_of_bcrypt_is_verified(prefix: str) -> None:
    """`$2a$`, `$2b$` and `$2y$` are one algorithm."""
    made = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    stored = parse_hash(made.replace("$2b$", prefix))
    assert stored.verify(b"right")
    assert not stored.verify(b"wrong")


def test_bcrypt_sees_72_bytes_and_no_nul() -> None:
    """What other libraries cut off makes no difference; a password with a NUL byte is never right."""
    stored = parse_hash(bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode())
    assert stored.verify(b"x" * 72)
    assert stored.verify(b"x" * 100)
    assert not stored.verify(b"x" * 71)
    with_nul = parse_hash(bcrypt.hashpw(b"a\0b", bcrypt.gensalt(4)).decode())
    assert not with_nul.verify(b"a\0b")
    assert not with_nul.verify(b"a")


def test_django_and_passlib_forms_become_one() -> None:
    """One hash in the forms of Django, passlib and PHC is stored as one text."""
    made = hashlib.pbkdf2_hmac("sha256", b"right", b"saltSALT", 260)
    padded = base64.b64encode(made).decode()
    forms = [
        f"pbkdf2_sha256$260$saltSALT${padded}",
        f"$pbkdf2-sha256$260${b64(b'saltSALT')}${b64(made).replace('+', '.')}",
        f"$pbkdf2-sha256$i=260,l=32${b64(b'saltSALT')}${b64(made)}",
        f"$pbkdf2-sha256$i=260${b64(b'saltSALT')}${padded}",
    ]
    texts = {parse_hash(form).text for form in forms}
    assert texts == {f"$pbkdf2-sha256$i=260${b64(b'saltSALT')}${b64(made)}"}
    assert parse_hash(texts.pop()).verify(b"right")
    sha1 = b64(hashlib.pbkdf2_hmac("sha1", b"right", SALT, 5))
    assert parse_hash(f"$pbkdf2$5${b64(SALT)}${sha1}").text == f"$pbkdf2-sha1$i=5${b64(SALT)}${sha1}"


def test_firebase_alphabets_become_one() -> None:
    """The command line of Firebase and its Admin SDK write one hash in two alphabets; both are stored as one text."""
    url_safe = FIREBASE.replace("+", "-").replace("/", "_")
    assert url_safe != FIREBASE
    assert parse_hash(url_safe).text == parse_hash(FIREBASE).text
    assert parse_hash(url_safe).text.startswith("$fbscrypt$")


H16, H32, S = b64(bytes(16)), b64(bytes(32)), b64(SALT)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "UNKNOWN"),
        ("plain text", "UNKNOWN"),
        ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", "UNKNOWN"),
        ("$" * 2000, "LENGTH"),
        ("$2x$04$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "MALFORMED"),
        ("$2b$4$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "MALFORMED"),
        ("$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m\n", "MALFORMED"),
        ("$2b$12$GhvMmNVjRW29ulnudl.LbvAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "MALFORMED"),
        ("$2b$03$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "COST"),
        ("$2b$15$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "COST"),
        ("$2b$31$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m", "COST"),
        (f"$argon2x$v=19$m=64,t=1,p=1${S}${H32}", "MALFORMED"),
        (f"$argon2id$v=20$m=64,t=1,p=1${S}${H32}", "MALFORMED"),
        (f"$argon2id$v=19$t=1,m=64,p=1${S}${H32}", "MALFORMED"),
        (f"$argon2id$v=19$m=064,t=1,p=1${S}${H32}", "MALFORMED"),
        (f"$argon2id$v=19$m=64,t=1,p=1,data=AA${S}${H32}", "MALFORMED"),
        (f"$argon2id$v=19$m=64,t=1,p=1${S}=${H32}", "MALFORMED"),
        (f"$argon2id$v=19$m=64,t=1,p=1${S}${H32}$", "MALFORMED"),
        (f"$argon2id$v=19$m=64,t=1,p=1${S}", "MALFORMED"),
        (f"$argon2id$v=19$m=262145,t=1,p=1${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=262144,t=5,p=1${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=64,t=100000,p=1${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=1024,t=1,p=17${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=128,t=65,p=16${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=15,t=1,p=2${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=64,t=0,p=1${S}${H32}", "COST"),
        (f"$argon2id$v=19$m=64,t=1,p=1${b64(b'short')}${H32}", "LENGTH"),
        (f"$argon2id$v=19$m=64,t=1,p=1${S}${b64(bytes(65))}", "LENGTH"),
        (f"$scrypt$ln=14,r=8${S}${H32}", "MALFORMED"),
        (f"$scrypt$ln=0,r=8,p=1${S}${H32}", "COST"),
        (f"$scrypt$ln=21,r=1,p=1${S}${H32}", "COST"),
        (f"$scrypt$ln=16,r=1,p=1${S}${H32}", "COST"),
        (f"$scrypt$ln=18,r=9,p=1${S}${H32}", "COST"),
        (f"$scrypt$ln=17,r=8,p=3${S}${H32}", "COST"),
        (f"$scrypt$ln=1,r=33,p=1${S}${H32}", "COST"),
        (f"$scrypt$ln=14,r=8,p=1${S}${b64(bytes(65))}", "LENGTH"),
        (f"$scrypt$ln=14,r=8,p=1${S}${b64(bytes(15))}", "LENGTH"),
        (f"$scrypt$ln=14,r=8,p=1${S[:-1]}B${H32}", "MALFORMED"),
        (f"$scrypt$ln=14,r=8,p=1$not base64!${H32}", "MALFORMED"),
        (FIREBASE.replace("v=1", "v=2"), "MALFORMED"),
        (FIREBASE.replace("n=14", "n=30"), "COST"),
        (FIREBASE.replace("n=14,r=8", "n=16,r=1"), "COST"),
        (FIREBASE.replace(FIREBASE_HASH, H32), "LENGTH"),
        (FIREBASE.replace("ss=Bw==,", ""), "MALFORMED"),
        (f"$pbkdf2-md5$i=1${S}${H16}", "MALFORMED"),
        (f"$pbkdf2-sha256$i=0${S}${H32}", "COST"),
        (f"$pbkdf2-sha256$i=2500001${S}${H32}", "COST"),
        (f"$pbkdf2-sha256$i=99999999999999${S}${H32}", "MALFORMED"),
        (f"$pbkdf2-sha1$i=700000${S}${b64(bytes(64))}", "COST"),
        (f"$pbkdf2-sha256$i=1,l=31${S}${H32}", "MALFORMED"),
        (f"$pbkdf2-sha256$i=1${S}${b64(bytes(65))}", "LENGTH"),
        (f"$pbkdf2-sha256$i=1$${H32}", "LENGTH"),
        (f"pbkdf2_sha256$1$sa$lt${H32}", "MALFORMED"),
        (f"pbkdf2_sha512$1$salt${H32}", "MALFORMED"),
        (f"pbkdf2_sha256$1${'s' * 65}${H32}", "LENGTH"),
    ],
)
def test_hash_out_of_form_or_bounds_is_refused(text: str, rule: str) -> None:
    """What is malformed, of an unknown kind or too dear is refused with the rule, and is not repeated."""
    with pytest.raises(HashRefused) as refused:
        parse_hash(text)
    assert refused.value.rule == rule
    assert not text or text not in refused.value.description


@pytest.mark.parametrize(
    "text",
    [
        f"$argon2id$v=19$m=128,t=64,p=16${S}${H32}",
        f"$argon2id$v=19$m=262144,t=4,p=16${S}${H32}",
        "$2b$14$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m",
        f"$scrypt$ln=15,r=1,p=1${S}${H32}",
        f"$scrypt$ln=18,r=8,p=1${S}${H32}",
        f"$scrypt$ln=1,r=32,p=16${S}${H32}",
        FIREBASE.replace("n=14,r=8", "n=15,r=1"),
        f"$pbkdf2-sha512$i=2500000${S}${b64(bytes(64))}",
        f"pbkdf2_sha256$1${'s' * 64}${H32}",
    ],
)
def test_hash_at_the_bounds_is_verified(text: str) -> None:
    """What is let in can be verified later, from the text in which it is stored."""
    assert not parse_hash(parse_hash(text).text).verify(b"wrong")


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(alphabet="$=,.0129abimnrpstlvAZ+/", max_size=60).map(lambda text: f"$scrypt${text}"),
        st.text(alphabet="$=,.0129abimnrpstlvAZ+/", max_size=60).map(lambda text: f"$argon2id${text}"),
        st.text(alphabet="$=,.0129abimnrpstlvAZ+/", max_size=60).map(lambda text: f"$pbkdf2-sha256${text}"),
        st.text(alphabet="$=,.0129abimnrpstlvAZ+/", max_size=60).map(lambda text: f"$fbscrypt${text}"),
    )
)
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parser fail in another way, and what is read is stored as a text that reads alike."""
    try:
        stored = parse_hash(text)
    except HashRefused:
        return
    assert parse_hash(stored.text) == stored


def test_own_settings_raise_the_bounds_of_argon2() -> None:
    """A cost that this service pays for its own hashes is in bounds, and nothing beyond it."""
    dear = f"$argon2id$v=19$m=524288,t=3,p=1${S}${H32}"
    with pytest.raises(HashRefused):
        parse_hash(dear)
    assert parse_hash(dear, HashParameters(3, 524_288, 1)).text == dear
    with pytest.raises(HashRefused):
        parse_hash(dear, HashParameters(2, 524_288, 1))


async def test_foreign_hash_is_verified_until_it_is_made_anew() -> None:
    """A hash of another system is verified where passwords are, and asks to be rehashed."""
    hasher = PasswordHasher(parameters=HashParameters(1, 8, 1), threads=1, queue=1)
    foreign = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    async with hasher.place() as place:
        assert await place.verify(foreign, "right")
    async with hasher.place() as place:
        assert not await place.verify(foreign, "wrong")
    assert hasher.needs_rehash(foreign)
    assert hasher.needs_rehash(FIREBASE)
    assert hasher.stored_form(foreign) == foreign
    hasher.close()


async def test_foreign_hash_may_be_of_the_password_as_it_was_typed() -> None:
    """Other systems don't normalise: the password as typed counts for their hashes, and for ours it doesn't."""
    hasher = PasswordHasher(parameters=HashParameters(1, 8, 1), threads=1, queue=1)
    typed, normal = "cafe\u0301", "caf\u00e9"
    foreign = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
    async with hasher.place() as place:
        assert not await place.verify(foreign, normal)
        assert await place.verify(foreign, normal, typed=typed)
        assert not await place.verify(foreign, normal, typed="other")
        own = await place.hash(typed)
        assert not await place.verify(own, normal, typed=typed)
    hasher.close()
