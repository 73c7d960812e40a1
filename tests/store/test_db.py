"""Connections and transactions: what is told when Postgres is away, busy, or says no."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from authsvc.config import DatabaseSettings, Settings
from authsvc.errors import Conflict, DatabaseUnavailable
from authsvc.store.db import RETRY_CONFLICT, RETRY_UNAVAILABLE, Database, affected


@asynccontextmanager
async def opened(
    url: str, *, size: int = 2, durable: bool = True, hurried: bool = True, **settings: timedelta
) -> AsyncIterator[Database]:
    """Open a database with settings of the test's own."""
    database = await Database.open(
        DatabaseSettings(url=SecretStr(url), **settings),
        size=size,
        durable=durable,
        hurried=hurried,
    )
    yield database
    await database.close()


@pytest.fixture
def url(settings: Settings) -> str:
    """Return the URL of this test's database."""
    return settings.database.url.get_secret_value()


@pytest.fixture
async def postgres_admin(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect beside the pool."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def test_transaction_happens_as_a_whole_or_not_at_all(database: Database) -> None:
    """What a transaction did is gone when its block fails, and there when it ends."""
    await database.execute("create table notes (note text)")
    with suppress(ZeroDivisionError):
        async with database.transaction() as transaction:
            await transaction.execute("insert into notes values ('lost')")
            raise ZeroDivisionError
    async with database.transaction() as transaction:
        await transaction.execute("insert into notes values ('kept')")
        assert await database.fetch("select note from notes") == []
    assert [row["note"] for row in await database.fetch("select note from notes")] == ["kept"]


async def test_cancelled_transaction_is_rolled_back_and_its_connection_comes_back(url: str) -> None:
    """A caller that goes away in the middle leaves neither its changes nor a lost connection behind."""
    async with opened(url, size=1) as database:
        await database.execute("create table notes (note text)")

        async def work() -> None:
            async with database.transaction() as transaction:
                await transaction.execute("insert into notes values ('lost')")
                await transaction.execute("select pg_sleep(30)")

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await database.fetchval("select count(*) from notes") == 0


async def test_missing_table_is_told_as_an_unavailable_database(database: Database) -> None:
    """Before its migration a replica answers as if the database were away."""
    with pytest.raises(DatabaseUnavailable) as told:
        await database.fetchval("select 1 from users_of_tomorrow")
    assert told.value.retry_after == RETRY_UNAVAILABLE


async def test_missing_column_is_told_as_an_unavailable_database(database: Database) -> None:
    """A column of a later migration is treated like a table of one."""
    with pytest.raises(DatabaseUnavailable):
        await database.fetchval("select shoe_size from users")


async def test_broken_constraint_is_not_told_as_an_unavailable_database(database: Database) -> None:
    """What a retry can't cure stays the error that it is."""
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await database.execute("insert into passwords values ($1, 'hash', timestamptz 'epoch')", uuid4())


async def test_deadlock_is_told_as_a_conflict(database: Database) -> None:
    """Of two transactions that wait for each other one is told to try again, and the other goes on."""
    await database.execute("create table rows as select generate_series(1, 2) as id")

    async def update_both(first: int, second: int, has_first: asyncio.Barrier) -> str:
        async with database.transaction() as transaction:
            await transaction.execute("set local deadlock_timeout = '10ms'")
            await transaction.execute("update rows set id = id where id = $1", first)
            await has_first.wait()
            return await transaction.execute("update rows set id = id where id = $1", second)

    barrier = asyncio.Barrier(2)
    outcomes = await asyncio.gather(update_both(1, 2, barrier), update_both(2, 1, barrier), return_exceptions=True)
    (conflict,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(conflict, Conflict)
    assert conflict.retry_after == RETRY_CONFLICT
    assert "UPDATE 1" in outcomes


async def test_waiting_for_a_connection_has_an_end(url: str) -> None:
    """Who gets no connection within the setting's time is told that the database is unavailable."""
    async with opened(url, size=1, acquire_timeout=timedelta(milliseconds=100)) as database:
        async with database.connection():
            with pytest.raises(DatabaseUnavailable) as told:
                await database.fetchval("select 1")
        assert told.value.retry_after == RETRY_UNAVAILABLE
        assert await database.fetchval("select 1") == 1


async def test_statement_that_takes_too_long_is_ended(url: str) -> None:
    """A statement beyond the setting's time is told as an unavailable database, and its connection is of use again."""
    async with opened(url, size=1, statement_timeout=timedelta(seconds=1)) as database:
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await database.fetchval("select pg_sleep(30)")
        assert time.monotonic() - started < 10
        assert await database.fetchval("select 1") == 1


async def test_migrations_may_take_longer_than_a_statement(url: str) -> None:
    """Opened without hurry, a database lets a statement run beyond the setting's time."""
    async with opened(url, hurried=False, statement_timeout=timedelta(seconds=1)) as database:
        await database.fetchval("select pg_sleep(1.1)")


async def test_database_can_be_opened_while_postgres_is_away(tmp_path: Path) -> None:
    """Opening connects to nothing; only use tells that nobody is there."""
    async with opened(f"postgresql://authsvc@/authsvc?host={tmp_path}") as database:
        with pytest.raises(DatabaseUnavailable) as told:
            await database.fetchval("select 1")
    assert told.value.retry_after == RETRY_UNAVAILABLE


@pytest.mark.parametrize(("known", "unknown"), [("/test_", "/nosuch_"), ("//postgres", "//nosuch")])
async def test_unknown_database_or_user_is_told_as_an_unavailable_database(url: str, known: str, unknown: str) -> None:
    """A database that is not there yet, or a user that may not log in, is waited for like a server that is away."""
    assert known in url
    async with opened(url.replace(known, unknown)) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.fetchval("select 1")


async def test_lost_connection_is_told_and_then_replaced(url: str, postgres_admin: asyncpg.Connection) -> None:
    """A statement on a connection that Postgres has ended fails as unavailable; the next one has a new connection."""
    async with opened(url, size=1) as database:
        async with database.connection() as connection:
            pid = await connection.fetchval("select pg_backend_pid()")
        await postgres_admin.fetchval("select pg_terminate_backend($1, 5000)", pid)
        outcomes = []
        for _ in range(2):
            try:
                outcomes.append(await database.fetchval("select 'back'"))
            except DatabaseUnavailable:
                outcomes.append("unavailable")
    assert outcomes[-1] == "back"


@pytest.mark.parametrize(("durable", "setting"), [(True, "on"), (False, "off")])
async def test_only_counters_may_skip_waiting_for_the_disk(url: str, durable: bool, setting: str) -> None:
    """Commits wait for the disk unless a database was opened for what may get lost."""
    async with opened(url, durable=durable) as database:
        assert await database.fetchval("show synchronous_commit") == setting


async def test_json_goes_in_and_comes_out_as_it_is(database: Database) -> None:
    """A jsonb parameter and a jsonb column are plain Python values."""
    value = {"name": "Ada ♥", "nested": [1, None, True]}
    assert await database.fetchval("select $1::jsonb", value) == value


@pytest.mark.parametrize(("tag", "count"), [("DELETE 3", 3), ("INSERT 0 1", 1), ("UPDATE 0", 0)])
def test_command_tag_tells_the_row_count(tag: str, count: int) -> None:
    """The row count is the last word of a command tag."""
    assert affected(tag) == count
