"""A gate in the database: calls pile up before it, each with its mind made up, and are let through at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

USER = "select from users where username_key = $1 for update"
SESSIONS = "select from sessions where user_id = $1::uuid for update"
SIGNING_KEYS = "lock table signing_keys in share row exclusive mode"

_WAITING = """
select count(distinct pid)::int
  from pg_locks
 where not granted
"""


class Gate:
    """Hold locks that calls wait for, until it is opened."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def open_for(self, count: int) -> None:
        """Let everybody through once so many calls wait."""
        async with asyncio.timeout(20):
            while await self.connection.fetchval(_WAITING) < count:
                await asyncio.sleep(0.01)
        await self.connection.execute("commit")


@asynccontextmanager
async def gate(dsn: str, statement: str, *args: object) -> AsyncIterator[Gate]:
    """Close a gate: hold what `statement` locks, in a transaction of the test's own."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("begin")
        await connection.fetch(statement, *args)
        yield Gate(connection)
    finally:
        # One that was never opened opens now.
        await connection.close()
