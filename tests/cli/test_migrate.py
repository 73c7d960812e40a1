"""`authsvc migrate`: once, twice, at once, and before the database is there."""

from __future__ import annotations

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.store.migrate import read_migrations
from tests.cli.command import authsvc, bare_environment
from tests.starts import COMMAND

NAMES = [migration.name for migration in read_migrations()]


@pytest.fixture
async def name(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Return the name of a database that is not there, and remove it if a test has made it."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    await execute(postgres, f"drop database if exists {name} with (force)")


async def execute(postgres: EmbeddedPostgres, statement: str) -> None:
    """Run a statement on the server."""
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(statement)
    await connection.close()


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [*COMMAND, "migrate", *arguments],
        env=bare_environment() | {"AUTHSVC_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_replicas_migrate_an_empty_database_together(postgres: EmbeddedPostgres, name: str) -> None:
    """Of four that start at once each migration is applied by one; all succeed, and a later one has nothing to do."""
    await execute(postgres, f"create database {name}")
    replicas = [start(postgres.dsn(name)) for _ in range(4)]
    told = [(await asyncio.to_thread(replica.communicate, timeout=50), replica.returncode) for replica in replicas]
    assert [code for _, code in told] == [0] * 4, told
    lines = [line for (output, _), _ in told for line in output.splitlines()]
    assert sorted(line for line in lines if line.startswith("applied")) == [f"applied {name}" for name in NAMES]

    again = authsvc("migrate", settings={"AUTHSVC_DATABASE_URL": postgres.dsn(name)})
    assert (again.returncode, again.stdout) == (0, "nothing to apply: the schema is up to date\n")


async def test_migrate_waits_for_the_database(postgres: EmbeddedPostgres, name: str) -> None:
    """A database that comes later is waited for, and the reason for the wait is told once."""
    waiting = start(postgres.dsn(name))
    assert waiting.stderr is not None
    assert "does not exist" in await asyncio.to_thread(waiting.stderr.readline)
    await asyncio.sleep(1.2)  # two more tries
    await execute(postgres, f"create database {name}")
    output, errors = await asyncio.to_thread(waiting.communicate, timeout=50)
    assert (waiting.returncode, errors) == (0, "")
    assert output.splitlines() == [f"applied {name}" for name in NAMES]


def test_migrate_waits_no_longer_than_it_may() -> None:
    """After the longest wait the command fails with the reason; without a wait at once. Passwords are not told."""
    url = "postgresql://nobody:hidden@127.0.0.1:1/nothing"
    begin = time.monotonic()
    done = authsvc("migrate", "--wait", "1", settings={"AUTHSVC_DATABASE_URL": url})
    assert 1 <= time.monotonic() - begin < 10
    assert done.returncode == 1
    waiting, error = done.stderr.splitlines()
    assert waiting.startswith("waiting: the database is not available: ")
    assert error.startswith("Error: the database is not available: ")
    assert "hidden" not in done.stderr

    at_once = authsvc("migrate", "--wait", "0", settings={"AUTHSVC_DATABASE_URL": url})
    assert at_once.returncode == 1
    assert len(at_once.stderr.splitlines()) == 1


async def test_a_changed_migration_is_told(postgres: EmbeddedPostgres, database_url: str) -> None:
    """A migration that is not the one applied makes the command fail with its name, without waiting."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("update schema_checksums set checksum = 'other' where version = '0002'")
    await connection.close()
    done = authsvc("migrate", settings={"AUTHSVC_DATABASE_URL": database_url})
    assert done.returncode == 1
    assert done.stderr.startswith("Error: 0002_throttle.sql was changed after it had been applied")
