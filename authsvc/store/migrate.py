"""Bring the schema up to the files in `migrations/`.

The files are in dbmate's format and the table `schema_migrations` is dbmate's, so dbmate can do the same work. Forward
only here; every migration must run under the old and the new code.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import asyncpg

from authsvc.clock import Clock
from authsvc.errors import DatabaseUnavailable
from authsvc.store.db import Database, domain_errors

# A session-level lock that is polled: a blocking wait would hold a snapshot, and CREATE INDEX CONCURRENTLY in the
# migration that holds the lock waits for all snapshots.
ADVISORY_LOCK = 4_829_163_507_241_118_031
POLL_INTERVAL = timedelta(milliseconds=200)

_FILE = re.compile(r"(\d+)_\w+\.sql")
_UP = re.compile(r"^-- migrate:up(?P<options>[^\n]*)\n(?P<sql>.*?)(?=^-- migrate:down|\Z)", re.MULTILINE | re.DOTALL)

CREATE_TABLES = """
create table if not exists schema_migrations (
    version varchar(128) primary key
);

create table if not exists schema_checksums (
    version varchar(128) primary key,
    checksum text not null,
    applied_at timestamptz not null
);
"""

TRY_LOCK = "select pg_try_advisory_lock($1)"

UNLOCK = "select pg_advisory_unlock($1)"

LIST_APPLIED = """
select m.version, c.checksum
  from schema_migrations m
  left join schema_checksums c on c.version = m.version
"""

HAS_VERSIONS = "select to_regclass('schema_migrations') is not null"

LIST_VERSIONS = "select version from schema_migrations"

NOTE_APPLIED = "insert into schema_migrations (version) values ($1)"

NOTE_CHECKSUM = "insert into schema_checksums (version, checksum, applied_at) values ($1, $2, $3)"

SET_LOCK_TIMEOUT = "select set_config('lock_timeout', '10s', $1)"


class MigrationError(Exception):
    """Say which migration can't be read or applied, and why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Hold one file of `migrations/`."""

    version: str
    name: str
    sql: str
    checksum: str
    in_transaction: bool


def migrations_folder() -> Path:
    """Return the folder of the installed package, or of the source tree."""
    packaged = Path(str(files("authsvc"))) / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Read the migrations in order.

    Raises:
        MigrationError: a file is misnamed or has no `-- migrate:up`, or two have one version.
    """
    migrations: list[Migration] = []
    for path in sorted((folder or migrations_folder()).glob("*.sql")):
        named = _FILE.fullmatch(path.name)
        content = path.read_text(encoding="utf-8")
        up = _UP.search(content)
        if named is None or up is None:
            raise MigrationError(f"{path.name}: must be named NNNN_what.sql and have a line `-- migrate:up`")
        if migrations and migrations[-1].version == named[1]:
            raise MigrationError(f"{path.name}: a second migration {named[1]}")
        migrations.append(
            Migration(
                version=named[1],
                name=path.name,
                sql=up["sql"],
                checksum=hashlib.sha256(content.encode()).hexdigest(),
                in_transaction="transaction:false" not in up["options"],
            )
        )
    return migrations


async def is_current(database: Database, migrations: list[Migration]) -> bool:
    """Tell whether every one of `migrations` is applied; others may be too, so that replicas of two versions run."""
    async with database.connection() as connection:
        if not await connection.fetchval(HAS_VERSIONS):
            return False
        applied = {row["version"] for row in await connection.fetch(LIST_VERSIONS)}
    return all(migration.version in applied for migration in migrations)


async def migrate(database: Database, migrations: list[Migration], clock: Clock) -> list[Migration]:
    """Apply what is missing, in order; return it. Safe with several callers at once: one works, the others wait.

    Raises:
        MigrationError: an applied file was changed, or a statement failed. What was applied before stays applied.
        DatabaseUnavailable: Postgres can't be reached.
    """
    async with database.connection() as connection:
        while not await connection.fetchval(TRY_LOCK, ADVISORY_LOCK):
            await clock.sleep(POLL_INTERVAL)
        try:
            await connection.execute(CREATE_TABLES)
            applied = {row["version"]: row["checksum"] for row in await connection.fetch(LIST_APPLIED)}
            for migration in migrations:
                if applied.get(migration.version) not in (None, migration.checksum):
                    raise MigrationError(
                        f"{migration.name} was changed after it had been applied; add a new file instead"
                    )
            missing = [migration for migration in migrations if migration.version not in applied]
            for migration in missing:
                await _apply(connection, migration, clock)
            return missing
        finally:
            if not connection.is_closed():
                await connection.fetchval(UNLOCK, ADVISORY_LOCK)


async def _apply(connection: asyncpg.Connection, migration: Migration, clock: Clock) -> None:
    try:
        with domain_errors():
            if migration.in_transaction:
                async with connection.transaction():
                    await connection.fetchval(SET_LOCK_TIMEOUT, True)
                    await connection.execute(migration.sql)
                    await _note(connection, migration, clock)
            else:
                await connection.execute(migration.sql)
                await _note(connection, migration, clock)
    except DatabaseUnavailable as error:
        # A table that is not there is the file's fault here, not that of a schema that is behind.
        if isinstance(error.__cause__, asyncpg.SyntaxOrAccessError):
            raise MigrationError(f"{migration.name}: {error.__cause__}") from error
        raise
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.name}: {error}") from error


async def _note(connection: asyncpg.Connection, migration: Migration, clock: Clock) -> None:
    await connection.execute(NOTE_APPLIED, migration.version)
    await connection.execute(NOTE_CHECKSUM, migration.version, migration.checksum, clock.now())
