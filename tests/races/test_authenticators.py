"""Authenticators set up, and asked for, at once on two servers."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.client import Authenticator, Client, reasons, succeeded
from tests.races.conftest import Arena
from tests.races.gate import USER, gate

pytestmark = pytest.mark.asyncio(loop_scope="session")

SETUPS = 20


async def test_set_ups_during_sign_in(arena: Arena, name: str) -> None:
    """Twenty sign-ins of an account without an authenticator set one up at once: one does, the others are over."""
    await arena.client.confirmed(name)
    started = [await arena.client.sign_in(name) for _ in range(SETUPS)]
    codes = [await Authenticator(sign_in.next_step.totp_setup.shared_secret).code() for sign_in in started]
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(
            arena.race(SETUPS, lambda client, number: client.answer(started[number].session, codes[number]))
        )
        await closed.open_for(SETUPS)
    outcomes = racing.result()
    (winner,) = succeeded(outcomes)
    assert winner.is_signed_in
    assert Counter(reasons(outcomes)) == {"SESSION_EXPIRED": SETUPS - 1}
    assert await active_devices(arena, name) == 1


async def test_last_places(arena: Arena, name: str) -> None:
    """An account with one authenticator verifies six more at once: four find a place, two hear of the limit of five."""
    user = await arena.client.enrolled(name)
    begun = [await arena.client.associate(user.tokens) for _ in range(6)]
    codes = [await authenticator.code() for _, authenticator in begun]
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(
            arena.race(6, lambda client, number: client.verify(user.tokens, begun[number][0], codes[number]))
        )
        await closed.open_for(6)
    outcomes = racing.result()
    assert len(succeeded(outcomes)) == 4
    assert reasons(outcomes) == ["TOTP_DEVICE_LIMIT"] * 2
    assert await active_devices(arena, name) == 5


async def test_one_verification(arena: Arena, name: str) -> None:
    """One new authenticator is verified twenty times at once: one call does it, the user is told once."""
    user = await arena.client.enrolled(name)
    session, authenticator = await arena.client.associate(user.tokens)
    code = await authenticator.code()
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(
            arena.race(SETUPS, lambda client, _number: client.verify(user.tokens, session, code))
        )
        await closed.open_for(SETUPS)
    outcomes = racing.result()
    assert len(succeeded(outcomes)) == 1
    assert Counter(reasons(outcomes)) == {"SESSION_EXPIRED": SETUPS - 1}
    assert await active_devices(arena, name) == 2
    assert len(await arena.subjects(name)) == 3, "the code, and a notice of each authenticator"


async def test_last_two_removed(arena: Arena, name: str) -> None:
    """Both authenticators of an account are removed ten times at once where MFA is required: one of them stays."""
    user = await arena.client.enrolled(name)
    await arena.client.add_authenticator(user.tokens)
    listed = (await arena.client.stub.ListTotpDevices(pb.ListTotpDevicesRequest(), metadata=user.bearer)).devices

    async def remove(client: Client, number: int) -> None:
        request = pb.RemoveTotpDeviceRequest(device_id=listed[number % 4 // 2].device_id)
        await client.stub.RemoveTotpDevice(request, metadata=user.bearer)

    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(SETUPS, remove))
        await closed.open_for(SETUPS)
    # Those of the removed one find nothing to do, those of the other are refused.
    assert Counter(reasons(racing.result())) == {"MFA_REQUIRED": SETUPS // 2}
    assert await active_devices(arena, name) == 1


async def active_devices(arena: Arena, username: str) -> int:
    """Count a user's active authenticators."""
    async with arena.database() as connection:
        count: int = await connection.fetchval(
            "select count(*)::int from totp_devices join users using (user_id)"
            " where username_key = $1 and verified_at is not null",
            username,
        )
    return count
