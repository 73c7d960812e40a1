"""The hints by which the outbox wakes its workers."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from authsvc.clock import Clock
from authsvc.domain import MailId, Medium
from authsvc.errors import DatabaseUnavailable
from authsvc.store import outbox
from authsvc.store.db import Database, Executor


@pytest.fixture
def hints() -> asyncio.Queue[None]:
    """Return what collects the hints."""
    return asyncio.Queue()


@pytest.fixture
def hear(hints: asyncio.Queue[None]) -> Callable[[], None]:
    """Return what collects one hint."""
    return lambda: hints.put_nowait(None)


async def listen(database: Database, hear: Callable[[], None], ping_every: timedelta = timedelta(minutes=1)) -> None:
    """Listen until cancelled."""
    await outbox.listen(database, on_hint=hear, ping_every=ping_every)


async def insert(executor: Executor, clock: Clock, sealed: bytes | None) -> None:
    """Insert a mail."""
    await outbox.insert(
        executor,
        mail=outbox.NewMail(
            mail_id=MailId(uuid4()),
            kind="MFA_CHANGED",
            medium=Medium.EMAIL,
            sealed_parameters=sealed,
            supersede_key=None,
            expires_at=None,
        ),
        now=clock.now(),
    )


@pytest.mark.parametrize("sealed", [b"sealed", None])
async def test_every_insert_gives_a_hint(
    database: Database,
    clock: Clock,
    hints: asyncio.Queue[None],
    hear: Callable[[], None],
    sealed: bytes | None,
) -> None:
    """Listeners get a hint at once, and one when a mail is committed, also for a name that doesn't exist."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        listening = group.create_task(listen(database, hear))
        await hints.get()
        async with database.transaction() as transaction:
            await insert(transaction, clock, sealed)
            assert hints.empty()
        await hints.get()
        listening.cancel()
    # Both connections are deaf when they are back in the pool.
    async with database.connection() as one, database.connection() as other:
        for connection in (one, other):
            assert await connection.fetchval("select count(*) from pg_listening_channels()") == 0


async def listen_in_vain(database: Database, hear: Callable[[], None]) -> None:
    """Listen until the connection is lost."""
    with pytest.raises(DatabaseUnavailable):
        await listen(database, hear)


async def test_lost_connection_ends_the_listening(
    database: Database, hints: asyncio.Queue[None], hear: Callable[[], None]
) -> None:
    """Whoever listens is told at once that the connection is gone, and can listen anew."""
    for _ in range(2):
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(listen_in_vain(database, hear))
            await hints.get()
            await database.fetch(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )


async def test_listening_tries_the_connection_now_and_then(database: Database, hear: Callable[[], None]) -> None:
    """A listener that hears nothing asks whether its connection still lives."""
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        listening = group.create_task(listen(database, hear, ping_every=timedelta(milliseconds=10)))
        while not await database.fetchval(
            "select exists (select 1 from pg_stat_activity where datname = current_database() and query = $1)",
            outbox.PING,
        ):
            await database.fetchval("select pg_sleep(0.01)")
        assert not listening.done()
        listening.cancel()
