"""Imports beside each other and beside sign-ups, on two servers: nobody is imported twice, nothing is overwritten."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from authsvc.v1.import_users_pb2 import ImportUsersRequest, ImportUsersResponse
from tests.admin.transfers import batch, options, record, send
from tests.client import at_once, reasons, succeeded
from tests.races.conftest import Arena
from tests.races.gate import gate
from tests.races.operators import operators
from tests.service import PASSWORD

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAYS = 16
ROWS = 60
HASH = "$pbkdf2-sha256$i=10$c2FsdA$" + "A" * 43


async def test_one_import_run_many_times_at_once(arena: Arena, name: str) -> None:
    """Sixteen calls send the same batches of one import: each row is stored once, and all calls tell the same."""
    rows = [record(f"{name}{number}") for number in range(ROWS)]
    messages = [options(name), *(batch(rows[first : first + 10], first + 1) for first in range(0, ROWS, 10))]
    async with operators(arena, name) as both:
        outcomes = await at_once([send(both[number % 2], *messages) for number in range(WAYS)])
        final = await send(both[0], options(name))
    assert [(each.next_row, each.imported, each.duplicates) for each in succeeded(outcomes)] == [
        (ROWS + 1, ROWS, 0)
    ] * WAYS
    assert final.imported == ROWS
    async with arena.database() as connection:
        assert await connection.fetchval("select count(*) from users where username_key like $1", f"{name}%") == ROWS
        stored = await connection.fetchval("select count(*) from audit_events where details ->> 'import_id' = $1", name)
    assert stored == ROWS / 10


async def test_imports_of_the_same_accounts(arena: Arena, name: str) -> None:
    """Sixteen imports bring the same accounts in other orders: each is imported by one and a duplicate for the rest."""

    def messages(number: int) -> list[ImportUsersRequest]:
        rows = [record(f"{name}{row}") for row in range(ROWS)]
        rows = rows[number:] + rows[:number]
        return [
            options(f"{name}-{number}"),
            *(batch(rows[first : first + 20], first + 1) for first in range(0, ROWS, 20)),
        ]

    async with operators(arena, name) as both:
        outcomes = await at_once([send(both[number % 2], *messages(number)) for number in range(WAYS)])
    done: list[ImportUsersResponse] = succeeded(outcomes)
    assert len(done) == WAYS
    assert sum(each.imported for each in done) == ROWS
    assert {each.imported + each.duplicates for each in done} == {ROWS}


async def test_import_and_sign_up_of_one_name(arena: Arena, name: str) -> None:
    """A sign-up and an import want one name at the same moment: one gets it, whole, and the other is told."""
    rows = [record(name, password_hash=HASH), record(f"{name}2", password_hash=HASH)]
    async with (
        operators(arena, name) as both,
        gate(arena.dsn, "lock table users in share row exclusive mode") as closed,
    ):
        calls: list[Awaitable[object]] = [
            send(both[0], options(name), batch(rows)),
            *(arena.clients[number % 2].sign_up(name, f"{PASSWORD}-{number}") for number in range(4)),
        ]

        async def opened() -> None:
            await closed.open_for(len(calls))

        outcomes: list[Any] = await at_once([*calls, opened()])
    done, *signed_up = outcomes[:-1]
    won = succeeded(signed_up)
    assert len(won) + done.imported == 2
    assert done.duplicates == len(won)
    assert set(reasons(signed_up)) == {"USERNAME_EXISTS"}
    async with arena.database() as connection:
        found = await connection.fetch(
            "select u.status, p.hash from users u join passwords p using (user_id) where u.username_key = $1", name
        )
    assert len(found) == 1
    assert (found[0]["hash"] == HASH) == (not won)
