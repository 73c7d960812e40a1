"""Two server processes on one Postgres, for all races of a test process; each race has users of its own."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
import pytest_asyncio

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import Mailbox, header_in
from authsvc.dev.postgres import EmbeddedPostgres
from tests.client import Client, at_once, email_of
from tests.conftest import TEMPLATE
from tests.processes import ServerProcess, environment, serving
from tests.service import Failure
from tests.waiting import until

_T = TypeVar("_T")

# The limits at their highest: here they must not decide a race before its own statement does.
LOOSE = {
    "LIMITS_LOCK_FROM": "50",
    "LIMITS_CLOSE_AT": "1000",
    "CODES_MAX_WRONG": "20",
    "CODES_SENDS_PER_HOUR": "100",
    "CHALLENGES_MAX_WRONG": "20",
}
# As many connections as calls at once, so that all of them can stand before one row.
ROOMY = {"DATABASE_POOL_SIZE": "28", "DATABASE_THROTTLE_POOL_SIZE": "4", "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "15"}


@dataclass(frozen=True)
class Arena:
    """Hold two server processes and what they share."""

    dsn: str
    master_key: str
    mailbox: Mailbox
    servers: tuple[ServerProcess, ServerProcess]

    @property
    def clients(self) -> tuple[Client, Client]:
        """Return a client of each server."""
        first, second = self.servers
        return self.client_of(first), self.client_of(second)

    def client_of(self, server: ServerProcess) -> Client:
        """Return a client of any server that sends its mail to the same box."""
        return Client(server.stub, self.mailbox)

    @property
    def client(self) -> Client:
        """Return a client, for what is no race."""
        return self.clients[0]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """Look into the database itself."""
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()

    async def subjects(self, username: str) -> list[str]:
        """Return the subjects of all mail to a user, once no mail is on its way."""
        async with self.database() as connection:

            async def is_sent() -> bool:
                return not await connection.fetchval("select exists (select from outbox where state = 'QUEUED')")

            await until(is_sent)
        return [header_in(mail.message, "Subject") for mail in self.mailbox.read(email_of(username))]

    async def race(self, count: int, call: Callable[[Client, int], Awaitable[_T]]) -> list[_T | Failure]:
        """Make `call` so many times at once, half of them to each server, and return what came of each."""
        clients = self.clients
        return await at_once([call(clients[number % 2], number) for number in range(count)])


@asynccontextmanager
async def open_arena(dsn: str, folder: Path, **settings: str) -> AsyncIterator[Arena]:
    """Run two servers with the same settings on one database, and catch their mail."""
    async with MailCatcher(folder=folder / "mail") as catcher:
        master_key = MasterKey.generate().line()
        env = environment(dsn, master_key=master_key, smtp_port=catcher.port, **settings)
        first, second = (ServerProcess(env, folder / f"server{number}.log") for number in (1, 2))
        async with serving(first, second):
            yield Arena(dsn, master_key, Mailbox(folder=folder / "mail"), (first, second))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def arena(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """Run two servers on a database of their own."""
    dsn = await new_database(postgres)
    async with open_arena(dsn, tmp_path_factory.mktemp("races"), **LOOSE, **ROOMY) as running:
        yield running


@pytest.fixture
def name() -> str:
    """Make a username that no other test has."""
    # Letters alone: digits in a mail are its code.
    return "".join(random.choices(string.ascii_lowercase, k=12))


async def new_database(postgres: EmbeddedPostgres, *, template: str = TEMPLATE) -> str:
    """Make a database that lasts as long as its Postgres, and return its URL."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"create database {name} template {template} strategy file_copy")
    await admin.close()
    return postgres.dsn(name)
