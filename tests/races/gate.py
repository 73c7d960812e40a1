"""A gate in the database: calls pile up before it, each with its mind made up, and are let through at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.waiting import until

USER = "select from users where username_key = $1 for update"
SESSIONS = "select from sessions where user_id = $1::uuid for update"
SIGNING_KEYS = "lock table signing_keys in share row exclusive mode"

_WAITING = """
select count(distinct pid) >= $1
  from pg_locks
 where not granted
"""


class Gate:
    """Hold locks that calls wait for, until it is opened."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def wait_for(self, count: int) -> None:
        """Return once so many calls wait."""

        async def all_wait() -> bool:
            return bool(await self.connection.fetchval(_WAITING, count))

        await until(all_wait)

    async def open_for(self, count: int) -> None:
        """Let everybody through, in the order they came, once so many calls wait."""
        await self.wait_for(count)
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
