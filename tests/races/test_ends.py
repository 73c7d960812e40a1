"""What ends sessions, against what begins or prolongs them, at once on two servers."""

from __future__ import annotations

import asyncio

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2 import DeleteUserRequest, SignOutRequest
from tests.client import Client, User, at_once, reasons, succeeded
from tests.races.conftest import Arena
from tests.races.gate import SESSIONS, USER, gate
from tests.service import PASSWORD, fails

pytestmark = pytest.mark.asyncio(loop_scope="session")

NEW_PASSWORD = f"{PASSWORD}-new"


async def sign_out(client: Client, user: User, *, everywhere: bool) -> None:
    """End a user's first session, or all sessions."""
    await client.stub.SignOut(SignOutRequest(**{"global": everywhere}), metadata=user.bearer)


@pytest.mark.parametrize("everywhere", [False, True])
async def test_sign_out_against_refresh(arena: Arena, name: str, everywhere: bool) -> None:
    """A session is refreshed while it is signed out: whatever tokens come of it are dead, as is the session."""
    user = await arena.client.enrolled(name)
    async with gate(arena.dsn, SESSIONS, user.user_id) as closed, asyncio.TaskGroup() as tasks:
        refreshing, leaving = arena.clients
        refreshed = tasks.create_task(at_once([refreshing.refresh(user.tokens.refresh_token)]))
        tasks.create_task(sign_out(leaving, user, everywhere=everywhere))
        await closed.open_for(2)
    assert set(reasons(refreshed.result())) <= {"TOKEN_REVOKED"}
    for tokens in [user.tokens, *succeeded(refreshed.result())]:
        assert not await arena.client.is_signed_in(tokens)
        async with fails("TOKEN_REVOKED"):
            await arena.client.refresh(tokens.refresh_token)


async def test_sign_out_everywhere_against_sign_ins(arena: Arena, name: str) -> None:
    """Half-done sign-ins are finished while their user signs out everywhere: none of them leaves a live session."""
    user = await arena.client.enrolled(name)
    devices = [user.authenticator, *[await arena.client.add_authenticator(user.tokens) for _ in range(4)]]
    started = [(await arena.client.sign_in(name)).session for _ in devices]
    codes = [await device.code() for device in devices]
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(
            arena.race(len(devices), lambda client, number: client.answer(started[number], codes[number]))
        )
        tasks.create_task(sign_out(arena.client, user, everywhere=True))
        await closed.open_for(len(devices) + 1)
    outcomes = racing.result()
    assert set(reasons(outcomes)) <= {"SESSION_EXPIRED"}
    assert not await arena.client.is_signed_in(user.tokens)
    for done in succeeded(outcomes):
        assert not await arena.client.is_signed_in(done.tokens)


async def test_reset_against_sign_ins(arena: Arena, name: str) -> None:
    """The password is reset while sign-ins with the old one start and finish: none of them outlives the reset."""
    user = await arena.client.enrolled(name)
    before = arena.mailbox.last_number()
    await arena.client.stub.ResetPassword(pb.ResetPasswordRequest(username=name))
    code = await arena.client.code(name, after=before)
    half_done = (await arena.client.sign_in(name)).session
    totp_code = await user.authenticator.code()
    first, second = arena.clients
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        tasks.create_task(reset(first, name, code))
        finishing = tasks.create_task(at_once([second.answer(half_done, totp_code)]))
        starting = tasks.create_task(at_once([client.sign_in(name) for client in (first, second) for _ in range(4)]))
        await closed.open_for(10)
    assert set(reasons(finishing.result())) <= {"SESSION_EXPIRED"}
    # One that stood before the reset may have its answer; then the reset has ended it.
    assert set(reasons(starting.result())) <= {"NOT_AUTHORIZED"}
    for done in succeeded(finishing.result()):
        assert not await arena.client.is_signed_in(done.tokens)
    for begun in succeeded(starting.result()):
        async with fails("SESSION_EXPIRED"):
            await arena.client.answer(begun.session, "000000")
    async with fails("NOT_AUTHORIZED"):
        await arena.client.sign_in(name)
    assert (await arena.client.sign_in(name, NEW_PASSWORD)).session


async def reset(client: Client, username: str, code: str) -> None:
    """Set the new password with a reset code."""
    request = pb.ConfirmResetPasswordRequest(username=username, confirmation_code=code, new_password=NEW_PASSWORD)
    await client.stub.ConfirmResetPassword(request)


async def test_calls_of_a_session_that_is_revoked_meanwhile(arena: Arena, name: str) -> None:
    """A session is ended while calls of it wait: they change neither the password nor the authenticators."""
    user = await arena.client.enrolled(name)
    session, authenticator = await arena.client.associate(user.tokens)
    code = await authenticator.code()
    update = pb.UpdatePasswordRequest(previous_password=PASSWORD, proposed_password=NEW_PASSWORD)

    async def call(number: int) -> None:
        match number:
            case 0:
                await calling.stub.UpdatePassword(update, metadata=user.bearer)
            case 1:
                await calling.verify(user.tokens, session, code)
            case _:
                await calling.associate(user.tokens)

    ending, calling = arena.clients
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        tasks.create_task(sign_out(ending, user, everywhere=False))
        await closed.wait_for(1)
        calls = tasks.create_task(at_once([call(number) for number in range(3)]))
        await closed.open_for(4)
    assert reasons(calls.result()) == ["TOKEN_REVOKED"] * 3
    assert (await arena.client.sign_in(name)).session


async def test_updates_of_one_password(arena: Arena, name: str) -> None:
    """Ten calls of a session change the password at once: one of them does, and the others' token is of before that."""
    user = await arena.client.enrolled(name)

    async def update(client: Client, number: int) -> int:
        request = pb.UpdatePasswordRequest(previous_password=PASSWORD, proposed_password=f"{PASSWORD}-{number}")
        await client.stub.UpdatePassword(request, metadata=user.bearer)
        return number

    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(10, update))
        await closed.open_for(10)
    (winner,) = succeeded(racing.result())
    assert set(reasons(racing.result())) == {"REAUTHENTICATION_REQUIRED"}
    assert (await arena.client.sign_in(name, f"{PASSWORD}-{winner}")).session
    assert await arena.client.is_signed_in(user.tokens), "the session that changed it stays"


async def test_deletion_against_sign_ins(arena: Arena, name: str) -> None:
    """Half-done sign-ins are finished while their user is deleted: nobody is signed in afterwards, nothing is left."""
    user = await arena.client.enrolled(name)
    devices = [user.authenticator, *[await arena.client.add_authenticator(user.tokens) for _ in range(4)]]
    started = [(await arena.client.sign_in(name)).session for _ in devices]
    codes = [await device.code() for device in devices]
    # So many are answered before the user leaves; the others come after.
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(
            arena.race(len(devices), lambda client, number: client.answer(started[number], codes[number]))
        )
        leaving = tasks.create_task(
            at_once([arena.client.stub.DeleteUser(DeleteUserRequest(), metadata=user.bearer) for _ in range(2)])
        )
        await closed.open_for(len(devices) + 2)
    assert reasons(leaving.result()) == ["TOKEN_REVOKED"]
    outcomes = racing.result()
    assert set(reasons(outcomes)) <= {"SESSION_EXPIRED"}
    for done in succeeded(outcomes):
        assert not await arena.client.is_signed_in(done.tokens)
        async with fails("TOKEN_INVALID"):
            await arena.client.refresh(done.tokens.refresh_token)
    async with arena.database() as connection:
        for table in ("users", "sessions", "challenge_sessions", "outbox"):
            of_user = f"select count(*) from {table} where user_id = $1::uuid"  # noqa: S608  # a name of a table
            assert await connection.fetchval(of_user, user.user_id) == 0, table
        told = "select count(username) + count(client_ip) from audit_events where user_id = $1::uuid"
        assert await connection.fetchval(told, user.user_id) == 0
