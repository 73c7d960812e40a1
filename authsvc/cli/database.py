"""The database of the settings, opened for one command that works on it beside the servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from authsvc.cli.failures import expected
from authsvc.config import Settings
from authsvc.crypto.sealing import KeyRing, parse_master_keys
from authsvc.errors import DatabaseUnavailable
from authsvc.store.db import Database


@asynccontextmanager
async def opened(settings: Settings, *, hurried: bool = True) -> AsyncIterator[Database]:
    """Open the database with one connection, and close it at the end.

    Not `hurried` is for what may take longer than a server's statements.

    Raises:
        Failed: the database can't be reached, now or later.
    """
    with expected(DatabaseUnavailable):
        database = await Database.open(settings.database, size=1, hurried=hurried)
        try:
            yield database
        finally:
            await database.close()


def key_ring(settings: Settings) -> KeyRing:
    """Derive the keys; only for a command that has read its settings with `keys`."""
    return KeyRing(keys=parse_master_keys(settings.keys.master.get_secret_value()))
