"""Replies of ConfirmSignIn that are asked for again: by whoever lost them, and by those who would like to have them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from authsvc.core.janitor import Janitor
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_TOTP
from tests.clock import TICK
from tests.rpc.account_calls import reauthenticate
from tests.rpc.calls import is_live, recovery_codes, refresh, sign_out, step_of
from tests.rpc.conftest import Run, run
from tests.service import PASSWORD, Account, Service, fails

__all__ = ["run"]

ID = "0b1f6a52-one-answer"
GRACE = timedelta(seconds=30)
WAYS = 25


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account with an authenticator, signed in a step ago."""
    made = await service.enrolled("ada")
    service.next_totp_step()
    return made


async def asked(service: Service, account: Account) -> pb.ConfirmSignInRequest:
    """Start a sign-in; return the right answer to its step."""
    session = (await service.sign_in(account.username)).session
    return pb.ConfirmSignInRequest(session=session, totp_code=service.totp(account.secret), request_id=ID)


async def confirm(
    service: Service, request: pb.ConfirmSignInRequest, metadata: Sequence[tuple[str, str]] = ()
) -> pb.ConfirmSignInResponse:
    """Give an answer."""
    return await service.stub.ConfirmSignIn(request, metadata=tuple(metadata))


async def sessions_of(database: Database) -> int:
    """Count the sessions that there are."""
    return int(await database.fetchval("select count(*) from sessions"))


@pytest.mark.parametrize("late", [timedelta(), GRACE - TICK], ids=["at once", "a tick before the end"])
async def test_lost_reply(service: Service, ada: Account, database: Database, late: timedelta) -> None:
    """ASVS 5 V2.3.1: the same call gets the same reply, tokens and all, and there is one session."""
    request = await asked(service, ada)
    first = await confirm(service, request)
    service.clock.advance(late)
    for _ in range(2):
        assert await confirm(service, request) == first
    assert await sessions_of(database) == 2
    assert await is_live(service, await refresh(service, first.tokens.refresh_token))


@pytest.mark.parametrize("late", [GRACE, GRACE + TICK], ids=["at", "a tick after"])
async def test_too_late(service: Service, ada: Account, late: timedelta) -> None:
    """NIST SP 800-63B-4 section 3.1.4: after half a minute an answer that was used is used, whoever gives it."""
    request = await asked(service, ada)
    await confirm(service, request)
    service.clock.advance(late)
    async with fails("SESSION_EXPIRED"):
        await confirm(service, request)


@pytest.mark.parametrize("change", ["request_id", "no request_id", "answer", "kind", "session"])
async def test_another_call(service: Service, ada: Account, change: str) -> None:
    """ASVS 5 V7.2.1: nobody gets the reply by another answer, under another id or none, or for another session."""
    recovery, *_ = await recovery_codes(service, ada.tokens)
    request = await asked(service, ada)
    await confirm(service, request)
    code = request.totp_code
    match change:
        case "request_id":
            request.request_id = f"{ID}-2"
        case "no request_id":
            request.request_id = ""
        case "answer":
            request.totp_code = f"{(int(code) + 1) % 1_000_000:06d}"
        case "kind":
            request.recovery_code = recovery
        case _:
            request.session = "A" * 43
    async with fails("SESSION_EXPIRED"):
        await confirm(service, request)


async def test_another_caller(run: Run) -> None:
    """ASVS 5 V7.2.1: whoever reads the call on its way gets nothing from another address, or as another agent."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}) as service:
        ada = await service.enrolled("ada")
        service.next_totp_step()
        request = await asked(service, ada)
        own = [("authsvc-client-ip", "192.0.2.1"), ("authsvc-client-user-agent", "one")]
        first = await confirm(service, request, own)
        for other in ([("authsvc-client-ip", "192.0.2.2"), own[1]], [own[0], ("authsvc-client-user-agent", "two")]):
            async with fails("SESSION_EXPIRED"):
                await confirm(service, request, other)
        assert await confirm(service, request, own) == first


@pytest.mark.parametrize("end", ["signed out", "proved again", "disabled"])
async def test_session_that_has_gone_on(service: Service, ada: Account, database: Database, end: str) -> None:
    """ASVS 5 V7.4.1: a reply is not told again once its session has ended, or has other tokens."""
    request = await asked(service, ada)
    done = await confirm(service, request)
    match end:
        case "signed out":
            await sign_out(service, done.tokens)
        case "proved again":
            await reauthenticate(service, done.tokens, password=PASSWORD)
        case _:
            await database.execute("update users set disabled_at = created_at")
    async with fails("SESSION_EXPIRED"):
        await confirm(service, request)


async def test_same_call_many_times_at_once(service: Service, ada: Account, database: Database) -> None:
    """ASVS 5 V2.3.4: of the same call many times at once one is answered, and the others are told what it was."""
    request = await asked(service, ada)
    replies = await asyncio.gather(*(confirm(service, request) for _ in range(WAYS)))
    assert all(reply == replies[0] for reply in replies)
    assert await sessions_of(database) == 2


async def test_step_on_the_way(run: Run) -> None:
    """A reply that is no session yet, but the next step, is told again as well, what it shows included."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as service:
        await service.confirmed("ada")
        started = await service.sign_in()
        request = pb.ConfirmSignInRequest(session=started.session, mfa_type=MFA_TYPE_TOTP, request_id=ID)
        first = await confirm(service, request)
        assert step_of(first) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
        assert await confirm(service, request) == first
        secret = first.next_step.totp_setup.shared_secret
        done = pb.ConfirmSignInRequest(session=first.session, totp_code=service.totp(secret), request_id=ID)
        assert (await confirm(service, done)).is_signed_in


async def test_wrong_answers_are_no_cheaper(service: Service, ada: Account) -> None:
    """NIST SP 800-63B-4 section 3.2.2: a wrong answer has no reply to be told again; each is counted."""
    request = await asked(service, ada)
    right, request.totp_code = request.totp_code, f"{(int(request.totp_code) + 7) % 1_000_000:06d}"
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await confirm(service, request)
    request.totp_code = right
    async with fails("SESSION_EXPIRED"):
        await confirm(service, request)


async def test_what_is_kept(service: Service, ada: Account, database: Database, ring: KeyRing) -> None:
    """ASVS 5 V14.2.4: a reply is sealed, bound to its call, and gone once it can't be asked for."""
    request = await asked(service, ada)
    done = await confirm(service, request)
    (row,) = await database.fetch("select digest, sealed_reply, sign_in_replies::text as all from sign_in_replies")
    for secret in (request.session, request.totp_code, ID, done.tokens.refresh_token):
        assert secret.encode() not in bytes(row["sealed_reply"])
        assert secret not in row["all"]
    await database.execute("update sign_in_replies set digest = sha256(digest)")
    async with fails("SESSION_EXPIRED"):
        await confirm(service, request)
    janitor = Janitor(database=database, ring=ring, settings=service.settings, clock=service.clock)
    for late, left in ((GRACE - TICK, 1), (TICK, 0)):
        service.clock.advance(late)
        await janitor.run_once()
        assert await database.fetchval("select count(*) from sign_in_replies") == left


@pytest.mark.parametrize("request_id", ["short", "x" * 65, "with spaces in between"])
async def test_what_is_no_request_id(service: Service, request_id: str) -> None:
    """A request id has the form that those of SignUp have."""
    request = pb.ConfirmSignInRequest(session="A" * 43, totp_code="123456", request_id=request_id)
    async with fails("INVALID_FIELDS") as failures:
        await confirm(service, request)
    assert failures[0].violations == [("request_id", "REQUEST_ID")]
