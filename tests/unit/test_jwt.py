"""Signed tokens: only ours, of the right kind, under the key they name, are believed."""

import base64
import hashlib
import hmac
import json
from typing import Any, cast

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authsvc.crypto.jwt import (
    ACCESS_TOKEN_TYPE,
    ID_TOKEN_TYPE,
    Algorithm,
    InvalidToken,
    PublicKey,
    SigningKey,
    _thumbprint,
    key_id_of,
)
from tests.ids import short

ALGORITHMS: tuple[Algorithm, ...] = ("EdDSA", "ES256")
CLAIMS = {
    "iss": "issuer",
    "aud": "audience",
    "sub": "user",
    "sid": "session",
    "amr": ["pwd"],
    "auth_time": 1_000,
    "iat": 1_000,
    "exp": 2_000,
}


@pytest.fixture(params=ALGORITHMS)
def key(request: pytest.FixtureRequest) -> SigningKey:
    """Make a key of each algorithm."""
    return SigningKey.generate(cast(Algorithm, request.param))


@pytest.fixture
def public(key: SigningKey) -> PublicKey:
    """Load what others see of the key."""
    return PublicKey.from_jwk(key.public_jwk())


def verify(public: PublicKey, token: str) -> dict[str, Any]:
    """Verify an access token."""
    return public.verify(token, typ=ACCESS_TOKEN_TYPE, issuer="issuer", audience="audience")


def refuses(public: PublicKey, token: str) -> bool:
    """Tell whether a token is refused as an access token."""
    try:
        verify(public, token)
    except InvalidToken:
        return True
    return False


def base64url(content: bytes) -> str:
    """Encode as JSON Web Signatures do."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def with_header(token: str, **changes: object) -> str:
    """Return a token with some fields of its header changed, and the signature that it had."""
    header, rest = token.split(".", 1)
    fields = json.loads(base64.urlsafe_b64decode(header + "=="))
    return f"{base64url(json.dumps({**fields, **changes}).encode())}.{rest}"


def test_signed_claims_are_verified_whatever_their_times(key: SigningKey, public: PublicKey) -> None:
    """A token is read with the public key that its `kid` names; when it ends is the caller's question."""
    token = key.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE)
    assert key_id_of(token) == public.kid == key.kid
    assert jwt.get_unverified_header(token) == {"alg": key.algorithm, "kid": key.kid, "typ": "at+jwt"}
    assert verify(public, token) == CLAIMS


def test_token_is_read_by_others_with_the_published_key(key: SigningKey) -> None:
    """A verifier that knows nothing but the JSON Web Key reads the token."""
    token = key.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE)
    options: Any = {"verify_exp": False}
    published = jwt.PyJWK(key.public_jwk())
    assert jwt.decode(token, published, audience="audience", issuer="issuer", options=options) == CLAIMS


def test_published_key_has_no_private_part(key: SigningKey) -> None:
    """The public key has the members of RFC 8037 or RFC 7518, and `kid`, `use` and `alg`, no others."""
    jwk = key.public_jwk()
    curve = {"EdDSA": ("OKP", "Ed25519"), "ES256": ("EC", "P-256")}[key.algorithm]
    assert (jwk["kty"], jwk["crv"], jwk["use"], jwk["alg"], jwk["kid"]) == (*curve, "sig", key.algorithm, key.kid)
    coordinates = {"EdDSA": {"x"}, "ES256": {"x", "y"}}[key.algorithm]
    assert jwk.keys() == {"kty", "crv", "use", "alg", "kid"} | coordinates


def test_stored_key_signs_like_the_one_that_was_made(key: SigningKey, public: PublicKey) -> None:
    """A key read back from its stored form has the same public key, and its signature verifies."""
    again = SigningKey.from_der(kid=key.kid, algorithm=key.algorithm, der=key.to_der())
    assert again.public_jwk() == key.public_jwk()
    assert verify(public, again.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE)) == CLAIMS


def test_key_of_a_foreign_kind_is_not_loaded() -> None:
    """A stored key that is no signing key of ours is refused."""
    der = generate_private_key(65537, 2048).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(TypeError):
        SigningKey.from_der(kid="kid", algorithm="ES256", der=der)


def test_unsigned_token_is_refused(key: SigningKey, public: PublicKey) -> None:
    """`alg` none is refused, with an empty signature and with the one the token had (RFC 8725 §3.1)."""
    token = key.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE)
    for algorithm in ("none", "None", "NONE", ""):
        forged = with_header(token, alg=algorithm)
        assert refuses(public, forged)
        assert refuses(public, forged.rpartition(".")[0] + ".")
    assert refuses(public, jwt.encode(CLAIMS, "", algorithm="none", headers={"kid": key.kid, "typ": "at+jwt"}))


def test_public_key_is_no_shared_secret(key: SigningKey, public: PublicKey) -> None:
    """A token signed by HMAC with what is published is refused, whatever form of the key was used as the secret."""
    jwk = key.public_jwk()
    secrets = [json.dumps(jwk).encode(), jwk["x"].encode(), base64.urlsafe_b64decode(jwk["x"] + "==")]
    for secret in secrets:
        for algorithm in ("HS256", "HS512"):
            message = ".".join(
                base64url(json.dumps(part).encode())
                for part in ({"alg": algorithm, "kid": key.kid, "typ": ACCESS_TOKEN_TYPE}, CLAIMS)
            )
            hash_ = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[algorithm]
            signature = hmac.digest(secret, message.encode(), hash_)
            assert refuses(public, f"{message}.{base64url(signature)}")


def test_key_of_one_algorithm_does_not_verify_the_other(key: SigningKey, public: PublicKey) -> None:
    """A token of the other algorithm under the same `kid` is refused, also when its header lies about the algorithm."""
    (other,) = set(ALGORITHMS) - {key.algorithm}
    forger = SigningKey.generate(other)
    forged = with_header(forger.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE), kid=key.kid)
    assert refuses(public, forged)
    assert refuses(public, with_header(forged, alg=key.algorithm))


def test_key_brought_along_in_the_header_is_not_used(key: SigningKey, public: PublicKey) -> None:
    """A token signed by a stranger who puts the own public key into the header is refused."""
    stranger = SigningKey.generate(key.algorithm)
    token = stranger.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE)
    for changes in ({"jwk": stranger.public_jwk()}, {"jku": "https://example.com/keys"}, {}):
        assert refuses(public, with_header(token, kid=key.kid, **changes))


def test_tampered_token_is_refused(key: SigningKey, public: PublicKey) -> None:
    """Other claims, another header or a cut signature make a token worthless."""
    token = key.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE)
    header, _, signature = token.split(".")
    promoted = base64url(json.dumps({**CLAIMS, "sub": "admin"}).encode())
    assert refuses(public, f"{header}.{promoted}.{signature}")
    assert refuses(public, with_header(token, extra=1))
    assert refuses(public, token[:-4])
    assert refuses(public, f"{token}.{signature}")


@pytest.mark.parametrize("typ", [ID_TOKEN_TYPE, "at+JWT+x", "", None])
def test_token_of_another_type_is_refused(key: SigningKey, public: PublicKey, typ: str | None) -> None:
    """An ID token, or one without the type of an access token, is no access token (RFC 8725 §3.11)."""
    assert refuses(public, key.sign(CLAIMS, typ=cast(str, typ)))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another"},
        {"iss": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"sub": None},
        {"sid": None},
        {"exp": None},
        {"sub": 7},
    ],
)
def test_token_with_other_or_missing_claims_is_refused(
    key: SigningKey, public: PublicKey, changes: dict[str, object]
) -> None:
    """Issuer and audience must be ours, and subject, session and end must be there."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    assert refuses(public, key.sign(claims, typ=ACCESS_TOKEN_TYPE))


# A header of so many brackets is deeper than Python's JSON reader goes.
DEEP = base64url(b"[" * 100_000)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "é.é.é",
        "\0",
        DEEP,
        f"{DEEP}.e30.",
        f"{base64url(b'[]')}.e30.",
        f"{base64url(b'7')}.e30.",
    ],
    ids=short,
)
def test_garbage_is_an_invalid_token_and_no_other_error(public: PublicKey, token: str) -> None:
    """Whatever a stranger sends in place of a token is refused as one."""
    with pytest.raises(InvalidToken):
        key_id_of(token)
    assert refuses(public, token)


@pytest.mark.parametrize("kid", [7, None, ["a"], {}])
def test_key_id_that_is_no_text_is_refused(key: SigningKey, kid: object) -> None:
    """A header without a readable `kid` names no key."""
    with pytest.raises(InvalidToken):
        key_id_of(with_header(key.sign(CLAIMS, typ=ACCESS_TOKEN_TYPE), kid=kid))


def test_key_id_is_the_thumbprint_of_the_rfcs() -> None:
    """The examples of RFC 7638 §3.1 and RFC 8037 appendix A.3 have the thumbprints that stand there."""
    rsa = {
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9"
        "c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1"
        "jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
    }
    assert _thumbprint(rsa) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    der = Ed25519PrivateKey.from_private_bytes(private).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    jwk = SigningKey.from_der(kid="any", algorithm="EdDSA", der=der).public_jwk()
    assert jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    bare = {name: jwk[name] for name in ("kty", "crv", "x")}
    assert _thumbprint(bare) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_generated_key_is_named_by_its_thumbprint(key: SigningKey) -> None:
    """A new key's id is the thumbprint of its required members, and no two keys share one."""
    required = {name: key.public_jwk()[name] for name in ("crv", "kty", "x", "y") if name in key.public_jwk()}
    digest = hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()
    assert key.kid == base64url(digest)
    assert SigningKey.generate(key.algorithm).kid != key.kid


def test_private_key_is_not_in_its_repr(key: SigningKey) -> None:
    """A key that gets into a log by its repr is its id and algorithm alone."""
    assert repr(key) == f"SigningKey(kid={key.kid!r}, algorithm={key.algorithm!r})"
