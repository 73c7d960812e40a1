"""Fixtures: one Postgres for a run of tests, a database cloned from a migrated template for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from pydantic import SecretStr

from authsvc.clock import SystemClock
from authsvc.config import (
    DatabaseSettings,
    KeysSettings,
    LimitsSettings,
    PasswordsSettings,
    Settings,
    load,
)
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing, MasterKey, parse_master_keys
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.domain import AdminScope
from authsvc.store.db import Database
from authsvc.store.migrate import migrate, read_migrations
from tests.admin.operator import Operator
from tests.clock import FakeClock
from tests.hash_places import hash_places
from tests.loop import CheckingLoop
from tests.service import Service

__all__ = ["hash_places"]

TEMPLATE = "template_authsvc"
# Linux's own file system in memory, and what has to be free there: each of four processes fills a fourth at most.
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 4 << 30


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """Run each test in a loop that checks much and keeps no notes, unless they are asked for."""
    return None if os.environ.get("PYTHONASYNCIODEBUG") else {"checking": CheckingLoop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take long, so that no process is left with one of them at the end."""
    long = {
        item.path
        for item in items
        if item.get_closest_marker("e2e") or item.get_closest_marker("timeout") or "faults" in item.path.parts
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Run one Postgres for this process, with a migrated template; in memory if it can be, where copies are quicker."""
    with ExitStack() as stack:
        if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_BYTES:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="authsvc-tests-", dir=MEMORY)))
        else:
            folder = tmp_path_factory.mktemp("pg")
        server = stack.enter_context(EmbeddedPostgres(folder=folder / "pg", durable=False))
        asyncio.run(_make_template(server))
        yield server


@pytest.fixture
async def database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Make an empty, migrated database for one test."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn())
    try:
        await admin.execute(f"create database {name} template {TEMPLATE} strategy file_copy")
        yield postgres.dsn(name)
        await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


@pytest.fixture
def master_key() -> MasterKey:
    """Make a master key."""
    return MasterKey.generate()


@pytest.fixture
def ring(master_key: MasterKey) -> KeyRing:
    """Make the key ring of the settings."""
    return KeyRing(keys=parse_master_keys(master_key.line()))


@pytest.fixture
def clock() -> FakeClock:
    """Make a clock that the test moves."""
    return FakeClock()


@pytest.fixture
def settings(database_url: str, master_key: MasterKey) -> Settings:
    """Make settings for this test's database, with the cheapest hash and limits that don't get in the way."""
    return load({}).model_copy(
        update={
            "database": DatabaseSettings(url=SecretStr(database_url), pool_size=5, throttle_pool_size=2),
            "keys": KeysSettings(master=SecretStr(master_key.line())),
            "passwords": PasswordsSettings(argon2_time_cost=1, argon2_memory_kib=8, argon2_parallelism=1),
            "limits": LimitsSettings(
                sign_up_per_source=10_000,
                sign_up_confirm_per_source=10_000,
                sign_in_per_source=10_000,
                sign_in_confirm_per_source=10_000,
                resend_per_source=10_000,
                reset_per_source=10_000,
                reset_confirm_per_source=10_000,
            ),
        }
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Open this test's database."""
    opened = await Database.open(settings.database, size=settings.database.pool_size)
    yield opened
    await opened.close()


@pytest.fixture
async def service(
    settings: Settings, clock: FakeClock, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """Run the whole service in this process, on this test's database and clock, with a mail catcher."""
    async with Service.run(settings, clock, tmp_path_factory.mktemp("mail")) as running:
        yield running


@pytest.fixture
def admin_keys(database: Database, ring: KeyRing, clock: FakeClock) -> AdminKeys:
    """Make the keys of operators, as the command line does."""
    return AdminKeys(database=database, ring=ring, audit=Audit(database=database, ring=ring, clock=clock), clock=clock)


@pytest.fixture
async def key(admin_keys: AdminKeys) -> str:
    """Make an admin key for a year."""
    made = await admin_keys.create("ops", timedelta(days=365), scopes=[AdminScope.ALL])
    assert made is not None
    return made[0]


@pytest.fixture
def operator(service: Service, key: str) -> Operator:
    """Return an operator of the running service."""
    return Operator(service.channel, key)


async def _make_template(server: EmbeddedPostgres) -> None:
    admin = await asyncpg.connect(server.dsn())
    await admin.execute(f"create database {TEMPLATE}")
    await admin.close()
    settings = DatabaseSettings(url=SecretStr(server.dsn(TEMPLATE)))
    template = await Database.open(settings, size=1)
    await migrate(template, read_migrations(), SystemClock())
    await template.close()
