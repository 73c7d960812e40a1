"""What is good for one use, used fifty ways at once on two servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.client import Client, reasons, succeeded
from tests.races.conftest import LOOSE, Arena
from tests.races.gate import USER, gate
from tests.service import PASSWORD, Failure, fails

pytestmark = pytest.mark.asyncio(loop_scope="session")

_T = TypeVar("_T")
WAYS = 50
# So many tries at one code, and answers to one session, are compared at all.
COMPARED = int(LOOSE["CODES_MAX_WRONG"])


async def race_through(
    arena: Arena, lock: str, key: str, waiting: int, call: Callable[[Client, int], Awaitable[_T]]
) -> list[_T | Failure]:
    """Make `call` fifty times at once; `waiting` of them stand before what `lock` holds, and go on together."""
    async with gate(arena.dsn, lock, key) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(WAYS, call))
        await closed.open_for(waiting)
    return racing.result()


async def test_totp_code(arena: Arena, name: str) -> None:
    """One TOTP code answers fifty sign-ins at once: one is let in, the others hear that the code was used."""
    user = await arena.client.enrolled(name)
    sessions = [(await arena.client.sign_in(name)).session for _ in range(WAYS)]
    code = await user.authenticator.code()
    outcomes = await race_through(arena, USER, name, WAYS, lambda client, number: client.answer(sessions[number], code))
    (winner,) = succeeded(outcomes)
    assert await arena.client.is_signed_in(winner.tokens)
    assert Counter(reasons(outcomes)) == {"CODE_ALREADY_USED": WAYS - 1}


async def test_challenge_session(arena: Arena, name: str) -> None:
    """One challenge session is answered fifty ways at once with good codes of two devices: it ends in one sign-in."""
    user = await arena.client.enrolled(name)
    other = await arena.client.add_authenticator(user.tokens)
    session = (await arena.client.sign_in(name)).session
    codes = [await user.authenticator.code(), await other.code()]
    outcomes = await race_through(
        arena, USER, name, COMPARED, lambda client, number: client.answer(session, codes[number // 2 % 2])
    )
    (winner,) = succeeded(outcomes)
    assert await arena.client.is_signed_in(winner.tokens)
    assert set(reasons(outcomes)) <= {"SESSION_EXPIRED", "CODE_ALREADY_USED"}
    listed = await arena.client.stub.ListSessions(pb.ListSessionsRequest(), metadata=user.bearer)
    assert len(listed.sessions) == 2, "the one of the set-up and the one of the race"


async def test_confirmation_code(arena: Arena, name: str) -> None:
    """One confirmation code is sent fifty times at once: one confirms, the others hear that the code is over."""
    await arena.client.sign_up(name)
    code = await arena.client.code(name)
    outcomes = await race_through(arena, USER, name, COMPARED, lambda client, _number: client.confirm(name, code))
    assert len(succeeded(outcomes)) == 1
    assert Counter(reasons(outcomes)) == {"CODE_EXPIRED": WAYS - 1}


async def test_reset_code(arena: Arena, name: str) -> None:
    """One reset code comes with fifty new passwords at once: one of them is the password now, and no other."""
    await arena.client.confirmed(name)
    before = arena.mailbox.last_number()
    await arena.client.stub.ResetPassword(pb.ResetPasswordRequest(username=name))
    code = await arena.client.code(name, after=before)

    async def reset(client: Client, number: int) -> int:
        request = pb.ConfirmResetPasswordRequest(
            username=name, confirmation_code=code, new_password=f"{PASSWORD}-{number}"
        )
        await client.stub.ConfirmResetPassword(request)
        return number

    outcomes = await race_through(arena, USER, name, COMPARED, reset)
    (winner,) = succeeded(outcomes)
    assert Counter(reasons(outcomes)) == {"CODE_EXPIRED": WAYS - 1}
    assert (await arena.client.sign_in(name, f"{PASSWORD}-{winner}")).session
    for password in (PASSWORD, f"{PASSWORD}-{winner ^ 1}"):
        async with fails("NOT_AUTHORIZED"):
            await arena.client.sign_in(name, password)


async def test_refresh_token(arena: Arena, name: str) -> None:
    """One refresh token is used fifty times at once: all get the same successor, which works; the session lives."""
    user = await arena.client.enrolled(name)
    outcomes = await race_through(
        arena, USER, name, WAYS, lambda client, _number: client.refresh(user.tokens.refresh_token)
    )
    tokens = succeeded(outcomes)
    assert len(tokens) == WAYS
    (successor,) = {issued.refresh_token for issued in tokens}
    assert successor != user.tokens.refresh_token
    assert all([await arena.client.is_signed_in(issued) for issued in tokens])
    assert (await arena.client.refresh(successor)).refresh_token != successor


async def test_refresh_token_stolen(arena: Arena, name: str) -> None:
    """A token used an hour ago comes back fifty times at once: all are refused, the session ends, one mail tells it."""
    user = await arena.client.enrolled(name)
    fresh = await arena.client.refresh(user.tokens.refresh_token)
    async with arena.database() as connection:
        await connection.execute(
            "update refresh_tokens set used_at = used_at - interval '1 hour'"
            " where session_id in (select session_id from sessions where user_id = $1::uuid)",
            user.user_id,
        )
    outcomes = await race_through(
        arena, USER, name, WAYS, lambda client, _number: client.refresh(user.tokens.refresh_token)
    )
    assert not succeeded(outcomes)
    assert set(reasons(outcomes)) <= {"REFRESH_TOKEN_REUSED", "TOKEN_REVOKED"}
    assert "REFRESH_TOKEN_REUSED" in reasons(outcomes)
    assert not await arena.client.is_signed_in(fresh)
    async with fails("TOKEN_REVOKED"):
        await arena.client.refresh(fresh.refresh_token)
    assert (await arena.subjects(name)).count("You were signed out for safety") == 1
