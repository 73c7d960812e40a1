"""Challenge sessions: the handles of half-done sign-ins."""

from __future__ import annotations

import base64
from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_TOTP
from tests.clock import TICK
from tests.rpc.calls import (
    answer,
    associate,
    confirm_reset,
    reset_code,
    sign_out,
    step_of,
    update,
    verify,
    wrong_totp,
)
from tests.service import PASSWORD, Account, Service, bearer, fails

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account whose authenticator has a fresh code."""
    account = await service.enrolled("ada")
    service.next_totp_step()
    return account


async def test_handle_is_opaque(service: Service, account: Account, database: Database) -> None:
    """A handle is 256 random bits, a new one for every sign-in, and the database has only its digest."""
    handles = {(await service.sign_in("ada")).session for _ in range(3)}
    assert len(handles) == 3
    stored = {bytes(row["digest"]) for row in await database.fetch("select digest from challenge_sessions")}
    assert len(stored) == 3
    for handle in handles:
        raw = base64.urlsafe_b64decode(handle + "=")
        assert len(raw) == 32
        assert raw not in stored


async def test_alive_after_wrong_answers(service: Service, account: Account) -> None:
    """After four wrong answers the same session takes the right one."""
    session = (await service.sign_in("ada")).session
    for _ in range(4):
        async with fails("CODE_MISMATCH") as failures:
            await answer(service, session, wrong_totp(service, account.secret))
        assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
    assert step_of(await answer(service, session, service.totp(account.secret))) == "DONE"


async def test_dead_after_five_wrong_answers(service: Service, account: Account) -> None:
    """After five wrong answers the session takes no right one; a new session does."""
    session = (await service.sign_in("ada")).session
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await answer(service, session, wrong_totp(service, account.secret))
    service.clock.advance(timedelta(seconds=1))
    async with fails("SESSION_EXPIRED") as failures:
        await answer(service, session, service.totp(account.secret))
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    again = await service.sign_in("ada")
    assert step_of(await answer(service, again.session, service.totp(account.secret))) == "DONE"


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_life_of_a_code_step(service: Service, account: Account, early: timedelta) -> None:
    """A step that asks for a code can be answered for 3 minutes."""
    session = (await service.sign_in("ada")).session
    service.clock.advance(3 * MINUTE - early)
    if early > timedelta():
        assert step_of(await answer(service, session, service.totp(account.secret))) == "DONE"
        return
    async with fails("SESSION_EXPIRED"):
        await answer(service, session, service.totp(account.secret))


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_life_of_a_setup_step(service: Service, early: timedelta) -> None:
    """A step in which an authenticator is set up can be answered for 15 minutes."""
    await service.confirmed("ada")
    started = await service.sign_in("ada")
    secret = started.next_step.totp_setup.shared_secret
    service.clock.advance(15 * MINUTE - early)
    if early > timedelta():
        assert step_of(await answer(service, started.session, service.totp(secret))) == "DONE"
        return
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(secret))


async def test_wrong_answers_do_not_prolong_it(service: Service, account: Account) -> None:
    """A session ends 3 minutes after it began, whatever was answered meanwhile."""
    session = (await service.sign_in("ada")).session
    service.clock.advance(2 * MINUTE)
    async with fails("CODE_MISMATCH"):
        await answer(service, session, wrong_totp(service, account.secret))
    service.clock.advance(MINUTE)
    async with fails("SESSION_EXPIRED"):
        await answer(service, session, service.totp(account.secret))


async def test_single_use(service: Service, account: Account) -> None:
    """A session that was answered rightly can't be answered again, with a fresh code neither."""
    session = (await service.sign_in("ada")).session
    await answer(service, session, service.totp(account.secret))
    service.next_totp_step()
    async with fails("SESSION_EXPIRED"):
        await answer(service, session, service.totp(account.secret))


async def test_sign_ins_side_by_side(service: Service, account: Account) -> None:
    """A sign-in doesn't end another one of the same user that is half done."""
    first, second = await service.sign_in("ada"), await service.sign_in("ada")
    assert step_of(await answer(service, second.session, service.totp(account.secret))) == "DONE"
    service.next_totp_step()
    assert step_of(await answer(service, first.session, service.totp(account.secret))) == "DONE"


@pytest.mark.parametrize("session", ["nonsense", "A" * 43, "\u00e9" * 20])
async def test_handle_that_was_never_given(service: Service, account: Account, session: str) -> None:
    """A made-up handle is answered like one that is over."""
    async with fails("SESSION_EXPIRED"):
        await answer(service, session, service.totp(account.secret))


FOREIGN = {
    "sms_code": pb.ConfirmSignInRequest(sms_code="123456"),
    "email_code": pb.ConfirmSignInRequest(email_code="123456"),
    "new_password": pb.ConfirmSignInRequest(new_password="Ferry-4-marmalade-skies"),
    "mfa_type": pb.ConfirmSignInRequest(mfa_type=MFA_TYPE_TOTP),
    "custom_answer": pb.ConfirmSignInRequest(custom_answer="42"),
    "no digits": pb.ConfirmSignInRequest(totp_code="abcdef"),
    "empty": pb.ConfirmSignInRequest(totp_code=""),
    "none": pb.ConfirmSignInRequest(),
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_foreign_answers_cost_nothing(service: Service, account: Account, database: Database, kind: str) -> None:
    """An answer of a kind that the step doesn't ask for is a fault of the field and costs no try."""
    session = (await service.sign_in("ada")).session
    request = pb.ConfirmSignInRequest(session=session)
    request.MergeFrom(FOREIGN[kind])
    for _ in range(6):
        async with fails("INVALID_FIELDS") as failures:
            await service.stub.ConfirmSignIn(request)
        assert len(failures[0].violations) == 1
    assert await database.fetchval("select count(*) from failures") == 0
    assert step_of(await answer(service, session, service.totp(account.secret))) == "DONE"


async def test_password_reset_ends_it(service: Service, account: Account) -> None:
    """A password reset ends half-done sign-ins."""
    code = await reset_code(service, account)
    started = await service.sign_in("ada")
    await confirm_reset(service, "ada", code)
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(account.secret))


async def test_global_sign_out_ends_it(service: Service, account: Account) -> None:
    """Sign-out everywhere ends half-done sign-ins; sign-out of one session does not."""
    started, other = await service.sign_in("ada"), await service.sign_in("ada")
    done = await answer(service, other.session, service.totp(account.secret))
    await sign_out(service, done.tokens)
    service.next_totp_step()
    third = await service.sign_in("ada")
    assert step_of(await answer(service, third.session, service.totp(account.secret))) == "DONE"
    await sign_out(service, account.tokens, everywhere=True)
    service.next_totp_step()
    async with fails("SESSION_EXPIRED"):
        await answer(service, started.session, service.totp(account.secret))


async def test_nothing_of_others_ends_it(service: Service, account: Account) -> None:
    """What another user does to passwords and sessions leaves a half-done sign-in alone."""
    bob = await service.enrolled("bob")
    started = await service.sign_in("ada")
    await update(service, bob.tokens, PASSWORD)
    await sign_out(service, bob.tokens, everywhere=True)
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_handles_are_of_one_use(service: Service, account: Account) -> None:
    """A handle of AssociateTotp finishes no sign-in, and a sign-in's verifies no authenticator."""
    added = await associate(service, account.tokens)
    started = await service.sign_in("ada")
    async with fails("SESSION_EXPIRED"):
        await answer(service, added.session, service.totp(added.shared_secret))
    async with fails("SESSION_EXPIRED"):
        await verify(service, account.tokens, started.session, service.totp(account.secret))
    await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_handle_is_no_token(service: Service, account: Account) -> None:
    """A handle is worth nothing as a bearer or refresh token."""
    session = (await service.sign_in("ada")).session
    async with fails("TOKEN_INVALID"):
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=bearer(session))
    async with fails("TOKEN_INVALID"):
        await service.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=session))


async def test_hundred_half_done_sign_ins_are_kept(service: Service, account: Account, database: Database) -> None:
    """Whoever starts sign-ins without end fills no table: with the hundred and first the first one is over."""
    sessions = []
    for _ in range(101):
        sessions.append((await service.sign_in()).session)
        service.clock.advance(TICK)
    assert await database.fetchval("select count(*) from challenge_sessions") == 100
    async with fails("SESSION_EXPIRED"):
        await answer(service, sessions[0], service.totp(account.secret))
    assert step_of(await answer(service, sessions[1], service.totp(account.secret))) == "DONE"
