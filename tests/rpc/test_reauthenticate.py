"""A signed-in user proves themselves again."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.rpc.account_calls import add_authenticator, reauthenticate, recorded, recovery_codes_left
from tests.rpc.calls import fetch, is_live, recovery_codes, refresh, settle, sign_out, wrong_totp
from tests.rpc.conftest import Run
from tests.rpc.test_tokens import decode
from tests.service import PASSWORD, Account, Service, fails

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
WRONG = "Nobodys-password-9-lakes"


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with one authenticator."""
    return await service.enrolled("ada")


@pytest.mark.parametrize("kind", ["password", "totp_code", "recovery_code"])
async def test_each_proof_renews_the_session(service: Service, ada: Account, kind: str) -> None:
    """A right proof gives tokens of the same session with a fresh auth_time, for the calls that need a recent one."""
    code, *_ = await recovery_codes(service, ada.tokens)
    service.clock.advance(HOUR)
    tokens = await refresh(service, ada.tokens.refresh_token)
    async with fails("REAUTHENTICATION_REQUIRED"):
        await recovery_codes(service, tokens)
    proofs = {"password": PASSWORD, "totp_code": service.totp(ada.secret), "recovery_code": code.upper()}
    renewed = await reauthenticate(service, tokens, **{kind: proofs[kind]})
    before, after = await decode(service, tokens.access_token), await decode(service, renewed.access_token)
    assert after["auth_time"] == int(service.clock.now().timestamp()) == before["auth_time"] + 3600
    assert (after["sid"], after["origin_jti"]) == (before["sid"], before["origin_jti"])
    assert after["amr"] == ["pwd", "otp", *(["recovery"] if kind == "recovery_code" else []), "mfa"]
    assert after["jti"] != before["jti"]
    assert (await decode(service, renewed.id_token))["auth_time"] == after["auth_time"]
    # The former access token stands for the same session, but not for the fresh authentication.
    for each, claims in ((tokens, before), (renewed, after)):
        assert (await fetch(service, each)).auth_time.ToSeconds() == claims["auth_time"]
    async with fails("REAUTHENTICATION_REQUIRED"):
        await recovery_codes(service, tokens)
    assert await recovery_codes(service, renewed)


async def test_gained_factor_is_in_the_tokens(run: Run) -> None:
    """A session of a password alone has two factors once a code of an authenticator is given, and keeps them."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        tokens = (await service.sign_in("ada")).tokens
        secret = await add_authenticator(service, tokens)
        service.next_totp_step()
        renewed = await reauthenticate(service, tokens, totp_code=service.totp(secret))
        assert (await decode(service, renewed.access_token))["amr"] == ["pwd", "otp", "mfa"]
        again = await reauthenticate(service, renewed, password=PASSWORD)
        assert (await decode(service, again.access_token))["amr"] == ["pwd", "otp", "mfa"]
        assert (await decode(service, (await refresh(service, again.refresh_token)).access_token))["amr"] == [
            "pwd",
            "otp",
            "mfa",
        ]


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["before", "at", "after"])
async def test_refresh_that_was_on_its_way(service: Service, ada: Account, late: timedelta) -> None:
    """The former refresh token gets nothing: for 30 seconds it is refused, then it counts as stolen."""
    renewed = await reauthenticate(service, ada.tokens, password=PASSWORD)
    service.clock.advance(30 * SECOND + late)
    if late < timedelta():
        async with fails("TOKEN_REVOKED"):
            await refresh(service, ada.tokens.refresh_token)
        assert (await refresh(service, renewed.refresh_token)).refresh_token != renewed.refresh_token
        return
    async with fails("REFRESH_TOKEN_REUSED"):
        await refresh(service, ada.tokens.refresh_token)
    assert not await is_live(service, renewed)


async def test_lost_answer_can_be_asked_for_again(service: Service, ada: Account) -> None:
    """Whoever lost the new tokens is proved again with the former access token, which goes on elsewhere."""
    await reauthenticate(service, ada.tokens, password=PASSWORD)
    again = await reauthenticate(service, ada.tokens, password=PASSWORD)
    assert await recovery_codes(service, again)
    assert await is_live(service, await refresh(service, again.refresh_token))


async def test_session_does_not_end_later(service: Service, ada: Account) -> None:
    """The session still ends 30 days after its sign-in, however often its user is proved again."""
    service.clock.advance(timedelta(days=29))
    tokens = await refresh(service, ada.tokens.refresh_token)
    renewed = await reauthenticate(service, tokens, password=PASSWORD)
    service.clock.advance(timedelta(days=1))
    async with fails("TOKEN_EXPIRED"):
        await refresh(service, renewed.refresh_token)


async def test_other_sessions_stay_as_they_are(service: Service, ada: Account) -> None:
    """A proof is of one session: the user's others have the auth_time and the tokens that they had."""
    other = await service.sign_in_fully(ada)
    before = (await fetch(service, other)).auth_time
    service.clock.advance(MINUTE)
    await reauthenticate(service, ada.tokens, password=PASSWORD)
    assert (await fetch(service, other)).auth_time == before
    await refresh(service, other.refresh_token)


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("password", WRONG, "NOT_AUTHORIZED"),
        ("totp_code", "", "CODE_MISMATCH"),
        ("recovery_code", "aaaa-aaaa-aaaa-aaaa", "CODE_MISMATCH"),
    ],
)
async def test_wrong_proofs_lock_the_factor(service: Service, ada: Account, kind: str, value: str, reason: str) -> None:
    """The fifth wrong proof locks the factor, for the right one too, and for a second at first; nothing was renewed."""
    code, *_ = await recovery_codes(service, ada.tokens)
    service.clock.advance(MINUTE)
    auth_time = (await fetch(service, ada.tokens)).auth_time
    wrong = value or wrong_totp(service, ada.secret)
    right = {"password": PASSWORD, "totp_code": service.totp(ada.secret), "recovery_code": code}[kind]
    for _ in range(5):
        async with fails(reason):
            await reauthenticate(service, ada.tokens, **{kind: wrong})
    async with fails("LIMIT_EXCEEDED"):
        await reauthenticate(service, ada.tokens, **{kind: right})
    assert (await fetch(service, ada.tokens)).auth_time == auth_time
    service.clock.advance(SECOND)
    await reauthenticate(service, ada.tokens, **{kind: right})


async def test_right_proof_forgets_the_wrong_ones(service: Service, ada: Account, database: Database) -> None:
    """After a right proof failures of its factor are counted anew."""
    for _ in range(4):
        async with fails("NOT_AUTHORIZED"):
            await reauthenticate(service, ada.tokens, password=WRONG)
    await reauthenticate(service, ada.tokens, password=PASSWORD)
    assert await database.fetchval("select count(*) from failures where username_key = 'ada'") == 0


async def test_totp_code_is_good_once(service: Service, ada: Account) -> None:
    """A TOTP code that was accepted before, at sign-in too, proves nothing."""
    async with fails("CODE_ALREADY_USED"):
        await reauthenticate(service, ada.tokens, totp_code=service.totp(ada.secret))
    service.next_totp_step()
    code = service.totp(ada.secret)
    await reauthenticate(service, ada.tokens, totp_code=f"{code[:3]} {code[3:]}")
    async with fails("CODE_ALREADY_USED"):
        await reauthenticate(service, ada.tokens, totp_code=code)


async def test_recovery_code_is_good_once(service: Service, ada: Account, database: Database) -> None:
    """A recovery code is used up by its use, which is told by mail."""
    code, *_ = await recovery_codes(service, ada.tokens)
    mails = await settle(service, database)
    await reauthenticate(service, ada.tokens, recovery_code=code)
    assert await recovery_codes_left(service, ada.tokens) == 9
    told = (await settle(service, database))[len(mails) :]
    assert [mail["Subject"] for mail in told] == ["A recovery code was used"]
    async with fails("CODE_MISMATCH"):
        await reauthenticate(service, ada.tokens, recovery_code=code)


async def test_what_is_not_there_proves_nothing(run: Run, database: Database) -> None:
    """Without an authenticator or recovery codes such a proof is refused as not enrolled, and is not counted."""
    async with run(accounts={"mfa": "OPTIONAL"}) as service:
        await service.confirmed("ada")
        tokens = (await service.sign_in("ada")).tokens
        for proof in ({"totp_code": "123456"}, {"recovery_code": "aaaa-aaaa-aaaa-aaaa"}):
            async with fails("MFA_NOT_ENROLLED") as failures:
                await reauthenticate(service, tokens, **proof)
            assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
        assert await database.fetchval("select count(*) from failures") == 0


@pytest.mark.parametrize(
    ("proof", "violations"),
    [
        ({}, [("proof", "REQUIRED")]),
        ({"password": ""}, [("password", "REQUIRED")]),
        ({"totp_code": "x"}, [("totp_code", "DIGITS")]),
        ({"recovery_code": "x"}, [("recovery_code", "RECOVERY_CODE")]),
    ],
)
async def test_what_is_no_proof(
    service: Service, ada: Account, proof: dict[str, str], violations: list[tuple[str, str]]
) -> None:
    """A call without a proof, or with one that can't be any, breaks a rule of its field."""
    async with fails("INVALID_FIELDS") as failures:
        await reauthenticate(service, ada.tokens, **proof)
    assert failures[0].violations == violations


async def test_password_is_hashed_anew(run: Run, database: Database) -> None:
    """A password whose hash is older than the settings gets a new one, and is still right."""
    async with run() as service:
        ada = await service.enrolled("ada")
    before = await database.fetchval("select hash from passwords")
    async with run(passwords={"argon2_time_cost": 2}) as service:
        await reauthenticate(service, ada.tokens, password=PASSWORD)
        after = await database.fetchval("select hash from passwords")
        assert "t=1" in before
        assert "t=2" in after
        await reauthenticate(service, ada.tokens, password=PASSWORD)


@pytest.mark.parametrize(("kind", "kept"), [("password", "EMAIL"), ("totp_code", None), ("recovery_code", None)])
async def test_second_factor_settles_a_recovered_password(
    service: Service, ada: Account, database: Database, kind: str, kept: str | None
) -> None:
    """A password that was recovered by mail stands for the mailbox until another factor is proved."""
    code, *_ = await recovery_codes(service, ada.tokens)
    await database.execute("update passwords set recovered_by = 'EMAIL'")
    service.next_totp_step()
    proofs = {"password": PASSWORD, "totp_code": service.totp(ada.secret), "recovery_code": code}
    await reauthenticate(service, ada.tokens, **{kind: proofs[kind]})
    assert await database.fetchval("select recovered_by from passwords") == kept


async def test_source_limit(run: Run) -> None:
    """Proofs count against the limit of answers to sign-ins for their source."""
    async with run(limits={"sign_in_confirm_per_source": 2}) as service:
        ada = await service.enrolled("ada")
        await reauthenticate(service, ada.tokens, password=PASSWORD)
        async with fails("LIMIT_EXCEEDED"):
            await reauthenticate(service, ada.tokens, password=PASSWORD)


async def test_tries_are_recorded(service: Service, ada: Account, database: Database) -> None:
    """Proofs are in the audit trail, wrong ones and the use of a recovery code too."""
    code, *_ = await recovery_codes(service, ada.tokens)
    async with fails("NOT_AUTHORIZED"):
        await reauthenticate(service, ada.tokens, password=WRONG)
    await reauthenticate(service, ada.tokens, recovery_code=code)
    assert await recorded(database, "REAUTHENTICATE", "USE_RECOVERY_CODE") == [
        ("REAUTHENTICATE", "NOT_AUTHORIZED", {"proof": "password"}),
        ("USE_RECOVERY_CODE", "SUCCESS", {}),
        ("REAUTHENTICATE", "SUCCESS", {"proof": "recovery_code"}),
    ]


async def test_needs_a_living_session(service: Service, ada: Account) -> None:
    """An ended session is not brought back by a proof."""
    async with fails("TOKEN_INVALID"):
        await service.stub.Reauthenticate(pb.ReauthenticateRequest(password=PASSWORD))
    await sign_out(service, ada.tokens)
    async with fails("TOKEN_REVOKED"):
        await reauthenticate(service, ada.tokens, password=PASSWORD)
