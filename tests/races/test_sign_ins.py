"""Sign-ins that overtake what they depend on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from authsvc.v1.sign_in_step_pb2 import SignInStep
from tests.client import reasons, succeeded
from tests.processes import ServerProcess, serving
from tests.races.conftest import Arena
from tests.races.gate import USER, gate
from tests.service import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_factors_are_those_of_the_finish(arena: Arena, name: str, tmp_path: Path) -> None:
    """Where MFA is optional, a sign-in whose password was right before an authenticator was set up needs its code."""
    optional = ServerProcess(
        {**arena.servers[0].environment, "AUTHSVC_ACCOUNTS_MFA": "OPTIONAL"}, tmp_path / "optional.log"
    )
    async with serving(optional):
        client = arena.client_of(optional)
        await client.confirmed(name)
        by_password = await client.sign_in(name)
        assert by_password.is_signed_in
        session, authenticator = await client.associate(by_password.tokens)
        code = await authenticator.code()
        async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
            tasks.create_task(client.verify(by_password.tokens, session, code))
            await closed.wait_for(1)
            # Behind the verification in the queue for the account's row, their password proved already.
            racing = tasks.create_task(arena.race(10, lambda _client, _number: client.sign_in(name)))
            await closed.open_for(11)
        outcomes = racing.result()
    assert {answer.next_step.step for answer in succeeded(outcomes)} == {
        SignInStep.SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE
    }
    assert len(succeeded(outcomes)) == 10


async def test_rehash_at_sign_in(arena: Arena, name: str) -> None:
    """Forty sign-ins at once find a hash with old parameters: all succeed, and the hash is a new one afterwards."""
    await arena.client.confirmed(name)
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    async with arena.database() as connection:
        user_id = await connection.fetchval("select user_id from users where username_key = $1", name)
        await connection.execute("update passwords set hash = $2 where user_id = $1", user_id, old)
        async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
            racing = tasks.create_task(arena.race(40, lambda client, _number: client.sign_in(name)))
            await closed.open_for(40)
        assert reasons(racing.result()) == []
        new = await connection.fetchval("select hash from passwords where user_id = $1", user_id)
    assert "m=8,t=1,p=1" in new
