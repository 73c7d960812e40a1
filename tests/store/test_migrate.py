"""Migrations: each is applied once, by one of many, whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from authsvc.clock import SystemClock
from authsvc.config import DatabaseSettings
from authsvc.errors import DatabaseUnavailable
from authsvc.store.db import Database
from authsvc.store.migrate import (
    ADVISORY_LOCK,
    POLL_INTERVAL,
    Migration,
    MigrationError,
    is_current,
    migrate,
    read_migrations,
)
from tests.clock import FakeClock

ONE = "create table one (id int);"
TWO = "create table two (id int);"


@pytest.fixture
async def empty_database(empty: DatabaseSettings) -> AsyncIterator[Database]:
    """Open the empty database."""
    database = await Database.open(empty, size=2)
    yield database
    await database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with one migration."""
    write(tmp_path, "0001_one.sql", ONE)
    return tmp_path


def write(folder: Path, name: str, up: str, *, options: str = "", down: str = "") -> None:
    """Write a migration."""
    (folder / name).write_text(f"-- migrate:up{options}\n{up}\n-- migrate:down\n{down}\n")


async def run(database: Database, folder: Path) -> list[str]:
    """Apply the migrations of a folder; return the names of those that were missing."""
    return [each.name for each in await migrate(database, read_migrations(folder), SystemClock())]


async def tables(database: Database) -> set[str]:
    """Return the names of the tables that migrations made."""
    found = await database.fetch("select tablename from pg_tables where schemaname = 'public'")
    return {row["tablename"] for row in found} - {"schema_migrations", "schema_checksums"}


async def test_our_migrations_make_a_current_schema_of_an_empty_database(empty_database: Database) -> None:
    """The migrations of the package apply to an empty database, once."""
    migrations = read_migrations()
    assert not await is_current(empty_database, migrations)
    assert await migrate(empty_database, migrations, SystemClock()) == migrations
    assert await is_current(empty_database, migrations)
    assert await migrate(empty_database, migrations, SystemClock()) == []


# An index of some rows alone serves only if no reference is left out.
REFERENCES_WITHOUT_INDEX = """
select c.conrelid::regclass || '.' || a.attname as reference
  from pg_constraint c
  join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
 where c.contype = 'f'
   and not exists (
       select from pg_index i
        where i.indrelid = c.conrelid
          and i.indkey[0] = c.conkey[1]
          and coalesce(pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname), true)
   )
"""


async def test_what_refers_to_a_deleted_row_is_found_by_an_index(database: Database) -> None:
    """Each foreign key has an index; else a deletion, or a purge of many rows, reads a whole table for each row."""
    assert [row["reference"] for row in await database.fetch(REFERENCES_WITHOUT_INDEX)] == []


async def test_one_of_many_migrators_at_once_does_the_work(empty: DatabaseSettings) -> None:
    """Ten replicas that migrate an empty database at once apply each migration once; all come back when it is done."""
    migrations = read_migrations()
    replicas = [await Database.open(empty, size=1) for _ in range(10)]
    try:
        applied = await asyncio.gather(*(migrate(replica, migrations, SystemClock()) for replica in replicas))
        assert sorted(applied, key=len) == [[]] * 9 + [migrations]
        assert await is_current(replicas[0], migrations)
    finally:
        await asyncio.gather(*(replica.close() for replica in replicas))


async def test_migrations_are_applied_in_the_order_of_their_numbers(empty_database: Database, folder: Path) -> None:
    """A later migration finds what the earlier one made; a new file is applied alone."""
    write(folder, "0002_two.sql", "create table two as select * from one;")
    assert await run(empty_database, folder) == ["0001_one.sql", "0002_two.sql"]
    write(folder, "0003_three.sql", "alter table two add column more int;")
    assert await run(empty_database, folder) == ["0003_three.sql"]


async def test_way_down_is_never_taken(empty_database: Database, folder: Path) -> None:
    """What stands below `-- migrate:down` is for other tools."""
    write(folder, "0002_two.sql", TWO, down="drop table one;")
    await run(empty_database, folder)
    assert await tables(empty_database) == {"one", "two"}


async def test_changed_file_is_refused_before_anything_is_applied(empty_database: Database, folder: Path) -> None:
    """A file that was changed after its application stops the migration, new files behind it included."""
    await run(empty_database, folder)
    write(folder, "0001_one.sql", ONE + " -- a harmless remark")
    write(folder, "0002_two.sql", TWO)
    with pytest.raises(MigrationError, match=r"0001_one\.sql was changed"):
        await run(empty_database, folder)
    assert await tables(empty_database) == {"one"}


async def test_migration_that_another_tool_applied_counts_as_applied(empty_database: Database, folder: Path) -> None:
    """A version that dbmate noted, which keeps no checksum, is not applied again."""
    await empty_database.execute("create table schema_migrations (version varchar(128) primary key)")
    await empty_database.execute("insert into schema_migrations values ('0001')")
    write(folder, "0002_two.sql", TWO)
    assert await run(empty_database, folder) == ["0002_two.sql"]


@pytest.mark.parametrize(
    "statement", ["select 1/0;", "alter table nowhere add x int;", "select nothing from one;", "create tabel t ();"]
)
async def test_failing_migration_leaves_nothing_of_itself(
    empty_database: Database, folder: Path, statement: str
) -> None:
    """What a failing migration had begun is undone, what came before it stays, and its mending can be applied."""
    write(folder, "0002_two.sql", TWO + statement)
    with pytest.raises(MigrationError, match=r"^0002_two\.sql: ."):
        await run(empty_database, folder)
    assert await tables(empty_database) == {"one"}
    write(folder, "0002_two.sql", TWO)
    assert await run(empty_database, folder) == ["0002_two.sql"]


async def test_failed_migration_holds_nobody_up(empty: DatabaseSettings, folder: Path) -> None:
    """After a failure the lock is free, also for others while the pool of the one who failed lives on."""
    one, other = [await Database.open(empty, size=1) for _ in range(2)]
    try:
        write(folder, "0002_two.sql", "select 1/0;")
        with pytest.raises(MigrationError):
            await run(one, folder)
        write(folder, "0002_two.sql", TWO)
        assert await migrate(other, read_migrations(folder), FakeClock()) != []
    finally:
        await asyncio.gather(one.close(), other.close())


async def test_migration_whose_connection_is_lost_leaves_nothing(empty_database: Database, folder: Path) -> None:
    """Postgres going away in the middle is told as such; the migration is undone and can be applied again."""
    write(folder, "0002_two.sql", TWO + "select pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(DatabaseUnavailable):
        await run(empty_database, folder)
    assert await tables(empty_database) == {"one"}
    write(folder, "0002_two.sql", TWO)
    assert await run(empty_database, folder) == ["0002_two.sql"]


async def test_migration_can_ask_for_no_transaction(empty_database: Database, folder: Path) -> None:
    """With `transaction:false` a statement runs that refuses transactions; without, the file says why it failed."""
    index = "create index concurrently ones on one (id);"
    write(folder, "0002_index.sql", index)
    with pytest.raises(MigrationError, match="transaction"):
        await run(empty_database, folder)
    write(folder, "0002_index.sql", index, options=" transaction:false")
    assert await run(empty_database, folder) == ["0002_index.sql"]


class WatchedClock(FakeClock):
    """Tell when somebody sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = asyncio.Event()

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the time has been moved on by `duration`."""
        self.slept.set()
        await super().sleep(duration)


async def test_waiting_migrator_holds_no_snapshot(
    empty: DatabaseSettings, empty_database: Database, folder: Path
) -> None:
    """While one waits for the lock, who has it can build an index concurrently; then the other goes on."""
    clock = WatchedClock()
    holder = await asyncpg.connect(empty.url.get_secret_value())
    await holder.fetchval("select pg_advisory_lock($1)", ADVISORY_LOCK)
    waiting = asyncio.ensure_future(migrate(empty_database, read_migrations(folder), clock))
    await clock.slept.wait()
    await holder.execute("create table big as select generate_series(1, 10) as id")
    async with asyncio.timeout(10):
        await holder.execute("create index concurrently bigs on big (id)")
    assert not waiting.done()
    await holder.fetchval("select pg_advisory_unlock($1)", ADVISORY_LOCK)
    await holder.close()
    clock.advance(POLL_INTERVAL)
    assert [each.name for each in await waiting] == ["0001_one.sql"]


async def test_migration_waits_for_a_table_for_ten_seconds_at_most(empty: DatabaseSettings, folder: Path) -> None:
    """A migration has a lock timeout of its own, which does not outlive it on its connection."""
    write(folder, "0002_two.sql", "create table two as select current_setting('lock_timeout') as timeout;")
    database = await Database.open(empty, size=1)
    await run(database, folder)
    assert await database.fetchval("select timeout from two") == "10s"
    assert await database.fetchval("show lock_timeout") == "0"
    await database.close()


async def test_schema_is_current_with_everything_needed_and_more(empty_database: Database, folder: Path) -> None:
    """A replica can work on a schema that has its migrations, also when a newer replica has applied further ones."""
    old = read_migrations(folder)
    write(folder, "0002_two.sql", TWO)
    new = read_migrations(folder)
    assert not await is_current(empty_database, old)
    await migrate(empty_database, old, SystemClock())
    assert (await is_current(empty_database, old), await is_current(empty_database, new)) == (True, False)
    await migrate(empty_database, new, SystemClock())
    assert (await is_current(empty_database, old), await is_current(empty_database, new)) == (True, True)


def test_files_are_read_in_order_with_their_options(folder: Path) -> None:
    """A migration has the version of its name, the statements of the way up, and a transaction unless it says no."""
    write(folder, "0010_ten.sql", TWO, options=" transaction:false", down="drop table two;")
    one, ten = read_migrations(folder)
    assert (one.version, one.sql.strip(), one.in_transaction) == ("0001", ONE, True)
    assert (ten.version, ten.sql.strip(), ten.in_transaction) == ("0010", TWO, False)


def test_checksum_is_of_the_whole_file(folder: Path) -> None:
    """A change below `-- migrate:down` is a change too."""
    before: list[Migration] = read_migrations(folder)
    write(folder, "0001_one.sql", ONE, down="drop table one;")
    after = read_migrations(folder)
    assert [each.sql for each in before] == [each.sql for each in after]
    assert before[0].checksum != after[0].checksum


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one.sql", "-- migrate:up\nselect 1;"),
        ("0002-two.sql", "-- migrate:up\nselect 1;"),
        ("0002_two.sql", "select 1;"),
        ("0001_again.sql", "-- migrate:up\nselect 1;"),
    ],
)
def test_malformed_file_is_named(folder: Path, name: str, content: str) -> None:
    """A misnamed file, one without a way up, and a version given twice are refused by name."""
    (folder / name).write_text(content)
    with pytest.raises(MigrationError, match=r"(one|again|two)\.sql: "):
        read_migrations(folder)
