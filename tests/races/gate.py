"""A gate in the database: calls pile up before it, each with its mind made up, and are let through at once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.waiting import until

USER = "select from users where username_key = $1 for update"
SESSIONS = "select from sessions where user_id = $1::uuid for update"
SIGNING_KEYS = "lock table signing_keys in share row exclusive mode"

# Longer than a call takes to come to its lock.
QUIET_SECONDS = 0.5

_WAITING = """
select count(distinct pid)
  from pg_locks
 where not granted
"""


class Gate:
    """Hold locks that calls wait for, until it is opened."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def wait_for(self, count: int) -> None:
        """Return once so many calls wait.

        Of the calls that want one account, one in each process waits here, and the others in line behind it, where
        nobody sees them: once none has come for a while, they all have.
        """
        seen, since = 0, time.monotonic()

        async def all_wait() -> bool:
            nonlocal seen, since
            waiting = int(await self.connection.fetchval(_WAITING))
            if waiting != seen:
                seen, since = waiting, time.monotonic()
            return waiting >= count or (waiting > 0 and time.monotonic() - since > QUIET_SECONDS)

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
