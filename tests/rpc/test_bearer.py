"""Every method for signed-in users refuses whatever is not a living access token of this service."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest

from authsvc.crypto.jwt import ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE, SigningKey
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.store import signing_keys
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import FakeClock
from tests.rpc.every_method import ENDING, Metadata, bearer_methods, methods
from tests.service import PASSWORD, Service, bearer, fails

NEED_A_USER = {
    "AssociateTotp",
    "GetCurrentUser",
    "ListSessions",
    "RevokeSession",
    "SignOut",
    "UpdatePassword",
    "VerifyTotp",
}


async def outcomes(service: Service, metadata: Metadata) -> dict[str, str]:
    """Call every method for signed-in users with an empty message; return the outcomes."""
    return {str(method): await method.call(service.channel, b"", metadata) for method in bearer_methods()}


async def is_refused_everywhere(service: Service, metadata: Metadata, reason: str) -> bool:
    """Tell whether all methods refuse a token for a reason, and FetchAuthSession knows nobody by it."""
    nobody = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=tuple(metadata))
    return nobody == pb.FetchAuthSessionResponse() and set((await outcomes(service, metadata)).values()) == {reason}


def claims_of(token: str) -> dict[str, Any]:
    """Read a token's claims without a look at its signature."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


@pytest.fixture
async def key(service: Service, database: Database, ring: KeyRing, clock: FakeClock) -> SigningKey:
    """Take the service's own signing key out of its database."""
    (row,) = await signing_keys.list_published(database, now=clock.now())
    der = ring.open(Purpose.SIGNING_KEY, row.sealed_private, bound_to=row.kid)
    return SigningKey.from_der(kid=row.kid, algorithm="EdDSA", der=der)


def test_methods_that_need_a_user_say_so() -> None:
    """The comments in the proto name the methods for signed-in users, and none is forgotten here."""
    assert {str(method) for method in bearer_methods()} >= NEED_A_USER


async def test_only_methods_that_say_so_need_a_user(service: Service) -> None:
    """Without a token the methods for signed-in users, and no others, answer TOKEN_INVALID to an empty message."""
    answers = {str(method): await method.call(service.channel, b"") for method in methods()}
    for_users = {str(method) for method in bearer_methods()}
    assert {method for method, reason in answers.items() if reason == "TOKEN_INVALID"} == for_users


async def test_token_of_this_service_is_let_in(service: Service) -> None:
    """With a living access token no method finds fault with the token, however the scheme is written."""
    ada = await service.enrolled()
    for scheme in ("Bearer ", "bearer ", "BEARER  "):
        metadata = [("authorization", f"{scheme}{ada.tokens.access_token}")]
        answers = {
            str(method): await method.call(service.channel, b"", metadata)
            for method in bearer_methods()
            if str(method) not in ENDING
        }
        assert not set(answers.values()) & {"TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED"}


async def test_absent_and_malformed_tokens_are_invalid(service: Service) -> None:
    """No token, another scheme, several words, or something that is no token is TOKEN_INVALID."""
    ada = await service.enrolled()
    token = ada.tokens.access_token
    for value in ("", token, f"Basic {token}", "Bearer", "Bearer ", f"Bearer {token} {token}", f"Bearer{token}"):
        assert await is_refused_everywhere(service, [("authorization", value)], "TOKEN_INVALID")
    for garbage in ("x", "a.b.c", "..", token[:-1], f"{token}A", "null", "é".encode().hex(), "[" * 4_000):
        assert await is_refused_everywhere(service, bearer(garbage), "TOKEN_INVALID")
    assert await is_refused_everywhere(service, [], "TOKEN_INVALID")


async def test_tokens_for_other_purposes_are_invalid(service: Service) -> None:
    """An ID token, a refresh token and a challenge session are no access tokens."""
    ada = await service.enrolled()
    service.next_totp_step()
    started = await service.sign_in("ada")
    for token in (ada.tokens.id_token, ada.tokens.refresh_token, started.session):
        assert await is_refused_everywhere(service, bearer(token), "TOKEN_INVALID")


async def test_forged_tokens_are_invalid(service: Service, key: SigningKey) -> None:
    """Tokens without a signature, signed by HMAC with the public key, or under a stranger's key are refused."""
    ada = await service.enrolled()
    claims = claims_of(ada.tokens.access_token)
    stranger = SigningKey.generate("EdDSA")
    posing = SigningKey(key.kid, "EdDSA", stranger._key)
    forged = [stranger.sign(claims, typ=ACCESS_TOKEN_TYPE), posing.sign(claims, typ=ACCESS_TOKEN_TYPE)]
    public = json.dumps(key.public_jwk()).encode()
    for algorithm, secret in (("none", None), ("HS256", public), ("HS256", key.public_jwk()["x"].encode())):
        message = ".".join(
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": algorithm, "kid": key.kid, "typ": ACCESS_TOKEN_TYPE}, claims)
        )
        signature = b"" if secret is None else hmac.digest(secret, message.encode(), hashlib.sha256)
        forged.append(f"{message}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}")
    for token in forged:
        assert await is_refused_everywhere(service, bearer(token), "TOKEN_INVALID")


async def test_tokens_of_another_issuer_audience_or_type_are_invalid(service: Service, key: SigningKey) -> None:
    """Even under the right key a token must be of this service, for this service, and of the right type."""
    ada = await service.enrolled()
    claims = claims_of(ada.tokens.access_token)
    assert (await outcomes(service, bearer(key.sign(claims, typ=ACCESS_TOKEN_TYPE))))["GetCurrentUser"] == "OK"
    bob = await service.enrolled("bob")
    claims = claims_of(bob.tokens.access_token)
    changed: list[dict[str, Any]] = [{"iss": "another"}, {"iss": ""}, {"aud": "another"}, {"aud": []}]
    for changes in changed:
        token = key.sign({**claims, **changes}, typ=ACCESS_TOKEN_TYPE)
        assert await is_refused_everywhere(service, bearer(token), "TOKEN_INVALID")
    assert await is_refused_everywhere(service, bearer(key.sign(claims, typ=ID_TOKEN_TYPE)), "TOKEN_INVALID")


async def test_expired_token_is_told_as_such(service: Service) -> None:
    """From the end of its life on a token is TOKEN_EXPIRED everywhere."""
    ada = await service.enrolled()
    service.clock.advance(service.settings.tokens.access_ttl)
    assert await is_refused_everywhere(service, ada.bearer, "TOKEN_EXPIRED")


async def test_token_of_an_ended_session_is_told_as_such(service: Service) -> None:
    """After sign-out a token is TOKEN_REVOKED everywhere, at once."""
    ada = await service.enrolled()
    await service.stub.SignOut(pb.SignOutRequest(), metadata=ada.bearer)
    assert await is_refused_everywhere(service, ada.bearer, "TOKEN_REVOKED")


@pytest.mark.parametrize(
    "end", ["update users set disabled_at = timestamptz 'epoch'", "delete from sessions", "delete from users"]
)
async def test_token_of_an_account_or_session_that_is_gone_is_revoked(
    service: Service, database: Database, end: str
) -> None:
    """A disabled or deleted account, and a deleted session, end every token at once."""
    ada = await service.enrolled()
    await database.execute(end)
    assert await is_refused_everywhere(service, ada.bearer, "TOKEN_REVOKED")


async def test_long_lived_token_does_not_outlive_its_session(service: Service, key: SigningKey) -> None:
    """A token that says it is good for a year is TOKEN_EXPIRED once its session has ended by itself."""
    ada = await service.enrolled()
    claims = claims_of(ada.tokens.access_token)
    year = claims["exp"] + int(timedelta(days=365).total_seconds())
    token = key.sign({**claims, "exp": year}, typ=ACCESS_TOKEN_TYPE)
    service.clock.advance(service.settings.tokens.refresh_ttl)
    assert await is_refused_everywhere(service, bearer(token), "TOKEN_EXPIRED")


async def test_token_is_looked_at_before_the_request(service: Service) -> None:
    """Who is nobody is told nothing about the fields of a request."""
    async with fails("TOKEN_INVALID") as failures:
        await service.stub.RevokeSession(pb.RevokeSessionRequest(session_id="nonsense"))
    assert failures[0].violations == []


async def test_token_of_the_former_release(service: Service, key: SigningKey) -> None:
    """A token that counts no proofs is one of a session without any: good for sensitive calls until the first."""
    ada = await service.enrolled()
    claims = claims_of(ada.tokens.access_token)
    assert claims.pop("gen") == 0
    former = key.sign(claims, typ=ACCESS_TOKEN_TYPE)
    request = pb.GenerateRecoveryCodesRequest()
    assert (await service.stub.GenerateRecoveryCodes(request, metadata=bearer(former))).recovery_codes
    proof = pb.ReauthenticateRequest(password=PASSWORD)
    assert (
        claims_of((await service.stub.Reauthenticate(proof, metadata=bearer(former))).tokens.access_token)["gen"] == 1
    )
    async with fails("REAUTHENTICATION_REQUIRED"):
        await service.stub.GenerateRecoveryCodes(request, metadata=bearer(former))
