"""What signed-in users change about their accounts, at once on two servers."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.client import Client, User, at_once, email_of, reasons, succeeded
from tests.races.conftest import LOOSE, Arena
from tests.races.gate import USER, gate
from tests.service import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAYS = 50
# So many tries at one code are compared at all.
COMPARED = int(LOOSE["CODES_MAX_WRONG"])
# Makes whoever issues such a code wait until it is known whether there is one.
RESET_CODE = """
insert into codes (username_key, purpose, digest, created_at, expires_at)
values ($1, 'RESET_PASSWORD_KNOWN', '', timestamptz 'epoch', timestamptz 'epoch')
"""
USERS = "select from users where username_key = any($1::text[]) for update"


async def ask_for(arena: Arena, user: User, name: str) -> str:
    """Ask for the address of a name; return its code."""
    before = arena.mailbox.last_number()
    request = pb.UpdateUserAttributesRequest(attributes={"email": email_of(name)})
    await arena.client.stub.UpdateUserAttributes(request, metadata=user.bearer)
    return await arena.client.code(name, after=before)


async def confirm(client: Client, user: User, code: str) -> None:
    """Verify the address that waits."""
    request = pb.ConfirmUserAttributeRequest(name="email", confirmation_code=code)
    await client.stub.ConfirmUserAttribute(request, metadata=user.bearer)


async def addresses(arena: Arena, *users: User) -> list[str]:
    """Return the address that each user has."""
    request = pb.FetchUserAttributesRequest()
    found = [await arena.client.stub.FetchUserAttributes(request, metadata=user.bearer) for user in users]
    return [each.attributes["email"] for each in found]


async def test_code_of_a_new_address(arena: Arena, name: str) -> None:
    """One code of a new address is given fifty times at once: one verifies it, the former address is told once."""
    user = await arena.client.enrolled(name)
    code = await ask_for(arena, user, f"{name}new")
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(WAYS, lambda client, _number: confirm(client, user, code)))
        await closed.open_for(COMPARED)
    outcomes = racing.result()
    assert len(succeeded(outcomes)) == 1
    assert Counter(reasons(outcomes)) == {"CODE_EXPIRED": WAYS - 1}
    assert await addresses(arena, user) == [email_of(f"{name}new")]
    assert (await arena.subjects(name)).count("Your e-mail address was changed") == 1


async def test_reset_code_against_a_change_of_the_address(arena: Arena, name: str) -> None:
    """A reset code is on its way to the address that is being replaced: it is over with the change."""
    user = await arena.client.enrolled(name)
    code = await ask_for(arena, user, f"{name}new")
    resetting, changing = arena.clients
    async with asyncio.TaskGroup() as tasks, gate(arena.dsn, RESET_CODE, name) as closed:
        tasks.create_task(at_once([resetting.stub.ResetPassword(pb.ResetPasswordRequest(username=name))]))
        await closed.wait_for(1)
        tasks.create_task(confirm(changing, user, code))
        await closed.wait_for(2)
    assert await addresses(arena, user) == [email_of(f"{name}new")]
    async with arena.database() as connection:
        left = "select count(*) from codes where username_key = $1 and purpose like 'RESET_PASSWORD%'"
        assert await connection.fetchval(left, name) == 0


async def test_one_address_for_two(arena: Arena, name: str) -> None:
    """Two users verify one address at once, each with a right code: one gets it, the other keeps the old one."""
    one, two = await arena.client.enrolled(f"{name}one"), await arena.client.enrolled(f"{name}two")
    codes = [await ask_for(arena, user, name) for user in (one, two)]
    async with gate(arena.dsn, USERS, [one.username, two.username]) as closed, asyncio.TaskGroup() as tasks:
        first, second = arena.clients
        racing = tasks.create_task(at_once([confirm(first, one, codes[0]), confirm(second, two, codes[1])]))
        await closed.open_for(2)
    outcomes = racing.result()
    assert reasons(outcomes) == ["CODE_EXPIRED"]
    found = await addresses(arena, one, two)
    assert sorted(found) == sorted([email_of(name), (two if found[0] == email_of(name) else one).email])


async def test_recovery_code(arena: Arena, name: str) -> None:
    """One recovery code is given fifty times at once: one renews its session, for the others it is wrong."""
    user = await arena.client.enrolled(name)
    made = await arena.client.stub.GenerateRecoveryCodes(pb.GenerateRecoveryCodesRequest(), metadata=user.bearer)

    async def prove(client: Client, _number: int) -> pb.ReauthenticateResponse:
        request = pb.ReauthenticateRequest(recovery_code=made.recovery_codes[0])
        return await client.stub.Reauthenticate(request, metadata=user.bearer)

    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(WAYS, prove))
        await closed.open_for(WAYS)
    outcomes = racing.result()
    (winner,) = succeeded(outcomes)
    assert await arena.client.is_signed_in(winner.tokens)
    assert Counter(reasons(outcomes)) == {"CODE_MISMATCH": WAYS - 1}
    assert (await arena.subjects(name)).count("A recovery code was used") == 1


async def test_reauthentication_against_refreshes(arena: Arena, name: str) -> None:
    """A session is refreshed twenty times while its user is proved again: no theft, one refresh token is left.

    What comes after the proof gets nothing, and what came before is of no use any more.
    """
    user = await arena.client.enrolled(name)

    async def renew(client: Client, number: int) -> str:
        if number:
            return (await client.refresh(user.tokens.refresh_token)).refresh_token
        request = pb.ReauthenticateRequest(password=PASSWORD)
        return (await client.stub.Reauthenticate(request, metadata=user.bearer)).tokens.refresh_token

    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(21, renew))
        await closed.open_for(21)
    outcomes = racing.result()
    assert set(reasons(outcomes)) <= {"TOKEN_REVOKED"}
    assert await arena.client.is_signed_in(user.tokens)
    async with arena.database() as connection:
        left = await connection.fetchval(
            "select count(*) from refresh_tokens join sessions using (session_id)"
            " where user_id = $1::uuid and used_at is null",
            user.user_id,
        )
    assert left == 1
    assert "You were signed out for safety" not in await arena.subjects(name)


async def test_proofs_of_one_session(arena: Arena, name: str) -> None:
    """Ten passwords prove one session at once: all are right, and the session has one refresh token that is left."""
    user = await arena.client.enrolled(name)

    async def prove(client: Client, _number: int) -> str:
        request = pb.ReauthenticateRequest(password=PASSWORD)
        return (await client.stub.Reauthenticate(request, metadata=user.bearer)).tokens.refresh_token

    outcomes = await arena.race(10, prove)
    tokens = succeeded(outcomes)
    assert len(set(tokens)) == 10
    async with arena.database() as connection:
        left = await connection.fetchval(
            "select count(*) from refresh_tokens join sessions using (session_id)"
            " where user_id = $1::uuid and used_at is null",
            user.user_id,
        )
    assert left == 1
