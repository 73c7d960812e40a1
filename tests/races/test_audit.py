"""The audit trail under two servers that record at once."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from authsvc.config import DatabaseSettings
from authsvc.core.audit.verify import verify
from authsvc.crypto.sealing import KeyRing, parse_master_keys
from authsvc.store.db import Database
from tests.client import Client, reasons
from tests.races.conftest import Arena

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRIES = 50


async def test_chains_of_two_servers(arena: Arena, name: str) -> None:
    """Fifty refusals at once, of one user and of nobody, by two servers, are all recorded, on chains that verify."""
    made = await arena.client.confirmed(name)

    async def try_one(client: Client, number: int) -> None:
        await client.confirm(name if number % 3 else f"{name}-{number}", "000000")

    outcomes = await arena.race(TRIES, try_one)
    told = reasons(outcomes)
    assert len(told) == TRIES
    async with arena.database() as connection:
        recorded = await connection.fetchval(
            "select count(*) from audit_events where user_id = $1 and result = 'FAILURE'", made.user_id
        )
    evaluated = [reason for number, reason in enumerate(told) if number % 3 and reason != "LIMIT_EXCEEDED"]
    assert recorded == len(evaluated) > 10
    database = await Database.open(DatabaseSettings(url=SecretStr(arena.dsn)), size=1)
    try:
        reports = [report async for report in verify(database, KeyRing(keys=parse_master_keys(arena.master_key)))]
    finally:
        await database.close()
    assert [fault for report in reports for fault in report.faults] == []
