"""Access and ID tokens, verified as a caller would: with PyJWT and the published keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import jwt
import pytest
from google.protobuf.json_format import MessageToDict

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.clock import TICK
from tests.rpc.calls import confirm, fetch, is_live, refresh, sign_out, step_of
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Account, Service, bearer, fails

ACCESS = "access_token"
IDENTITY = "id_token"
CLAIMS = {
    *("iss", "aud", "sub", "sid", "jti", "origin_jti", "auth_time"),
    *("amr", "iat", "exp", "token_use", "username", "groups"),
}


async def key_set(service: Service) -> dict[str, Any]:
    """Fetch the JWK Set, in the JSON form of the response."""
    return MessageToDict(await service.stub.GetSigningKeys(pb.GetSigningKeysRequest()))


async def decode(service: Service, token: str, *, audience: str = "authsvc", issuer: str = "authsvc") -> dict[str, Any]:
    """Verify a token with the published keys; return its claims. Its times are for the tests to compare."""
    keys = jwt.PyJWKSet.from_json(json.dumps(await key_set(service)))
    header = jwt.get_unverified_header(token)
    options = cast(Any, {"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub"]})
    key = keys[header["kid"]]
    claims = jwt.decode(
        token, key, algorithms=[header["alg"]], audience=audience, issuer=issuer, options=options, leeway=0
    )
    return dict(claims)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account that is signed in with two factors."""
    return await service.enrolled("Ada")


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [
        ("EdDSA", {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}),
        ("ES256", {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}),
    ],
)
async def test_published_keys_verify_both_tokens(run: Run, algorithm: str, members: dict[str, str]) -> None:
    """The JSON form of GetSigningKeys is a JWK Set whose keys verify access and ID tokens, of either algorithm."""
    async with run(tokens={"algorithm": algorithm}) as service:
        account = await service.enrolled("ada")
        (key,) = (await key_set(service))["keys"]
        coordinates = {"x", "y"} if algorithm == "ES256" else {"x"}
        assert key.items() >= members.items()
        assert set(key) == {*members, "kid", *coordinates}
        for token in (account.tokens.access_token, account.tokens.id_token):
            header = jwt.get_unverified_header(token)
            assert (header["alg"], header["kid"]) == (algorithm, key["kid"])
            assert (await decode(service, token))["sub"] == account.user_id
        assert await is_live(service, account.tokens)


async def test_claims_of_the_access_token(service: Service, account: Account) -> None:
    """The access token has the promised claims and no other, and says what FetchAuthSession says."""
    token = account.tokens.access_token
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    claims = await decode(service, token)
    seen = await fetch(service, account.tokens)
    now = int(service.clock.now().timestamp())
    assert set(claims) == CLAIMS | {"gen"}
    assert claims["token_use"] == "access"
    assert (claims["sub"], claims["username"], claims["groups"]) == (account.user_id, "Ada", [])
    assert claims["amr"] == ["pwd", "otp", "mfa"]
    assert (claims["iat"], claims["exp"], claims["auth_time"]) == (now, now + 15 * 60, now)
    assert claims["origin_jti"] == claims["jti"]
    assert str(UUID(claims["jti"])) == claims["jti"]
    assert (seen.user_id, seen.session_id, seen.username, list(seen.amr)) == (
        claims["sub"],
        claims["sid"],
        claims["username"],
        claims["amr"],
    )
    assert seen.expires_at == account.tokens.access_token_expires_at
    assert seen.expires_at.ToDatetime(UTC) == datetime.fromtimestamp(claims["exp"], UTC)
    assert seen.auth_time.ToDatetime(UTC) == service.clock.now()


async def test_claims_of_the_id_token(service: Service) -> None:
    """The ID token says who the user is: the same claims, the account's attributes, and an id of its own."""
    attributes = {"email": "Ada@example.com", "name": "Ada Lovelace", "locale": "en-GB", "website": "https://a.example"}
    await service.stub.SignUp(pb.SignUpRequest(username="ada", password=PASSWORD, attributes=attributes))
    await confirm(service, "ada", await service.code("Ada@example.com"))
    started = await service.sign_in("ada")
    done = await service.stub.ConfirmSignIn(
        pb.ConfirmSignInRequest(
            session=started.session, totp_code=service.totp(started.next_step.totp_setup.shared_secret)
        )
    )
    assert jwt.get_unverified_header(done.tokens.id_token)["typ"] == "JWT"
    identity, access = [await decode(service, token) for token in (done.tokens.id_token, done.tokens.access_token)]
    assert identity.pop("token_use") == "id"
    assert identity.pop("jti") != access.pop("jti")
    assert access.pop("token_use") == "access"
    assert access.pop("gen") == 0
    assert identity == {**access, **attributes, "email_verified": True}


async def test_issuer_and_audience_are_settings(run: Run) -> None:
    """Both tokens name the issuer and audience of the settings, and only those of the same settings are believed."""
    async with run(tokens={"issuer": "https://auth.example", "audience": "shop"}) as service:
        account = await service.enrolled("ada")
        for token in (account.tokens.access_token, account.tokens.id_token):
            await decode(service, token, issuer="https://auth.example", audience="shop")
    for other in ({"issuer": "https://auth.example"}, {"audience": "shop"}):
        async with run(tokens=other) as service:
            assert not await is_live(service, account.tokens)


async def test_user_may_not_say_what_the_service_says(service: Service) -> None:
    """Attributes are those of OpenID Connect alone, so none takes the place of a claim."""
    for name in ("sub", "amr", "groups", "email_verified", "token_use", "username", "Email"):
        async with fails("INVALID_FIELDS") as failures:
            await service.stub.SignUp(
                pb.SignUpRequest(username="eve", password=PASSWORD, attributes={"email": "e@e.example", name: "x"})
            )
        assert failures[0].violations == [("attributes", "UNKNOWN")]


async def test_tokens_without_mfa_say_so(run: Run) -> None:
    """Tokens of a sign-in by password alone have `amr` = pwd."""
    async with run(accounts={"mfa": "OFF", "confirm_sign_up": False}) as service:
        await service.sign_up("ada")
        done = await service.sign_in("ada")
        assert (await decode(service, done.tokens.access_token))["amr"] == ["pwd"]
        identity = await decode(service, done.tokens.id_token)
        assert (identity["amr"], identity["email_verified"]) == (["pwd"], False)


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_end_of_an_access_token(service: Service, account: Account, early: timedelta) -> None:
    """An access token ends at the time that it names, to the tick; the session goes on."""
    end = account.tokens.access_token_expires_at.ToDatetime(UTC)
    service.clock.advance(end - service.clock.now() - early)
    assert await is_live(service, account.tokens) is (early > timedelta())
    if early <= timedelta():
        async with fails("TOKEN_EXPIRED"):
            await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=account.bearer)
    assert await is_live(service, await refresh(service, account.tokens.refresh_token))


async def test_life_of_access_tokens_is_a_setting(run: Run) -> None:
    """Access tokens live for as long as the settings say."""
    async with run(tokens={"access_ttl": 300}) as service:
        account = await service.enrolled("ada")
        for token in (account.tokens.access_token, account.tokens.id_token):
            claims = await decode(service, token)
            assert claims["exp"] - claims["iat"] == 300


async def test_tokens_of_one_session(service: Service, account: Account) -> None:
    """Refreshed tokens keep user, session, origin and time of the sign-in, and have ids and times of their own."""
    service.clock.advance(timedelta(minutes=7))
    fresh = await refresh(service, account.tokens.refresh_token)
    for kind in (ACCESS, IDENTITY):
        before = await decode(service, getattr(account.tokens, kind))
        after = await decode(service, getattr(fresh, kind))
        for claim in ("sub", "sid", "origin_jti", "auth_time", "amr", "username", "token_use"):
            assert before[claim] == after[claim]
        assert before["jti"] != after["jti"]
        assert after["iat"] - before["iat"] == after["exp"] - before["exp"] == 7 * 60
    assert (await decode(service, account.tokens.access_token))["jti"] == before["origin_jti"]


async def test_sign_ins_have_sessions_of_their_own(service: Service, account: Account) -> None:
    """Another sign-in of the same user has another session and origin."""
    other = await service.sign_in_fully(account)
    first, second = [await decode(service, tokens.access_token) for tokens in (account.tokens, other)]
    assert first["sub"] == second["sub"]
    assert first["sid"] != second["sid"]
    assert first["origin_jti"] != second["origin_jti"]
    assert second["auth_time"] - first["auth_time"] == 30


async def test_signature_outlives_the_session(service: Service, account: Account) -> None:
    """After sign-out a caller that only verifies still believes the token; FetchAuthSession does not."""
    await sign_out(service, account.tokens)
    assert (await decode(service, account.tokens.access_token))["sub"] == account.user_id
    assert not await is_live(service, account.tokens)


@pytest.mark.parametrize("which", ["id token", "refresh token", "altered", "none", "of a removed session"])
async def test_tokens_that_are_no_bearer(service: Service, account: Account, database: Database, which: str) -> None:
    """What is not a whole access token of a session signs nobody in."""
    head, body, signature = account.tokens.access_token.split(".")
    texts = {
        "id token": account.tokens.id_token,
        "refresh token": account.tokens.refresh_token,
        "altered": f"{head}.{body}.{signature[:-4]}AAAA",
        "none": "",
        "of a removed session": account.tokens.access_token,
    }
    if which == "of a removed session":
        await database.execute("delete from sessions")
    async with fails("TOKEN_REVOKED" if which == "of a removed session" else "TOKEN_INVALID"):
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=bearer(texts[which]))
    assert await fetch(service, texts[which]) == pb.FetchAuthSessionResponse()


async def test_no_tokens_on_the_way(service: Service, account: Account) -> None:
    """A step on the way to DONE gives no tokens, whoever is signed in elsewhere."""
    service.next_totp_step()
    started = await service.sign_in("ada")
    assert step_of(started) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    assert started.tokens == Tokens()
    assert (await fetch(service, account.tokens)).is_signed_in
