"""An empty database, to be migrated."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from authsvc.config import DatabaseSettings
from authsvc.dev.postgres import EmbeddedPostgres


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[DatabaseSettings]:
    """Make an empty database and return its settings."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"create database {name} template template0 strategy file_copy")
    yield DatabaseSettings(url=SecretStr(postgres.dsn(name)))
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()
