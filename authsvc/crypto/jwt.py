"""Signed tokens: JSON Web Tokens (RFC 7519, RFC 8725, RFC 9068) and their keys (RFC 7517)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

Algorithm = Literal["EdDSA", "ES256"]
ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105  # RFC 9068 §2.1 media type
ID_TOKEN_TYPE = "JWT"  # noqa: S105  # RFC 7519 §5.1 media type


class InvalidToken(Exception):
    """Tell that a token is not one of ours: malformed, badly signed, of an unknown key, type, issuer or audience."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Verify tokens under one key id."""

    kid: str
    algorithm: Algorithm
    jwk: Mapping[str, str]
    _key: Ed25519PublicKey | ec.EllipticCurvePublicKey = field(repr=False)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, str]) -> PublicKey:
        """Load a key as `SigningKey.public_jwk` gave it."""
        loader: Any = OKPAlgorithm if jwk["kty"] == "OKP" else ECAlgorithm
        return cls(jwk["kid"], cast(Algorithm, jwk["alg"]), jwk, loader.from_jwk(dict(jwk)))

    def verify(self, token: str, *, typ: str, issuer: str, audience: str) -> dict[str, Any]:
        """Return the claims of a token whose signature, type, issuer and audience are right, whatever its times.

        Raises:
            InvalidToken: anything is off.
        """
        try:
            decoded = jwt.decode_complete(
                token,
                self._key,
                algorithms=[self.algorithm],
                issuer=issuer,
                audience=audience,
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "require": ["exp", "sub", "sid", "auth_time", "amr"],
                },
            )
        except jwt.InvalidTokenError as error:
            raise InvalidToken from error
        if decoded["header"].get("typ") != typ:
            raise InvalidToken
        return cast(dict[str, Any], decoded["payload"])


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Sign tokens under one key id."""

    kid: str
    algorithm: Algorithm
    _key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, algorithm: Algorithm) -> SigningKey:
        """Make a new key; its id is its RFC 7638 thumbprint."""
        key = Ed25519PrivateKey.generate() if algorithm == "EdDSA" else ec.generate_private_key(ec.SECP256R1())
        return cls(_thumbprint(_bare_jwk(key)), algorithm, key)

    @classmethod
    def from_der(cls, *, kid: str, algorithm: Algorithm, der: bytes) -> SigningKey:
        """Load a key as `to_der` gave it."""
        key = load_der_private_key(der, password=None)
        if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise TypeError("not a signing key of ours")
        return cls(kid, algorithm, key)

    def to_der(self) -> bytes:
        """Return the private key as PKCS #8 DER, to be sealed."""
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def public_jwk(self) -> dict[str, str]:
        """Return the public JSON Web Key."""
        return {**_bare_jwk(self._key), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Return the compact serialization of `claims` with the header `typ`, `alg` and `kid`."""
        return jwt.encode(dict(claims), self._key, algorithm=self.algorithm, headers={"kid": self.kid, "typ": typ})


def key_id_of(token: str) -> str:
    """Return the `kid` of a token's header, which nothing vouches for yet.

    Raises:
        InvalidToken: the token has no readable header with a `kid`.
    """
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.InvalidTokenError as error:
        raise InvalidToken from error
    if not isinstance(kid, str):
        raise InvalidToken
    return kid


def _bare_jwk(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, str]:
    algorithm: Any = OKPAlgorithm if isinstance(key, Ed25519PrivateKey) else ECAlgorithm
    jwk = algorithm.to_jwk(key.public_key(), as_dict=True)
    return {name: jwk[name] for name in ("kty", "crv", "x", "y") if name in jwk}


def _thumbprint(jwk: Mapping[str, str]) -> str:
    canonical = json.dumps(dict(sorted(jwk.items())), separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).decode().rstrip("=")
