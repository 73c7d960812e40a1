"""Mail while Postgres dies and comes back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from authsvc.clock import SystemClock
from authsvc.config import DatabaseSettings
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.store.db import Database
from authsvc.store.migrate import migrate, read_migrations
from tests.mail.post_office import PostOffice, running
from tests.mail.smtp_server import SmtpServer


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres of the test's own, which keeps what it committed."""
    with EmbeddedPostgres(folder=tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture
async def database(mortal: EmbeddedPostgres) -> AsyncIterator[Database]:
    """Open a database there."""
    opened = await Database.open(DatabaseSettings(url=SecretStr(mortal.dsn())), size=5)
    await migrate(opened, read_migrations(), SystemClock())
    yield opened
    await opened.close()


async def test_mail_survives_the_death_of_postgres(
    office: PostOffice, server: SmtpServer, mortal: EmbeddedPostgres
) -> None:
    """Postgres is killed during a send: the mail arrives once, is noted as sent, and later mail goes out as ever."""
    office.change(poll_interval=timedelta(minutes=5), concurrency=1)
    office.clock = SystemClock()
    server.hangs.add("ada@example.com")
    async with running(office.worker()):
        await office.owe("ada@example.com", "bob@example.com")
        await server.wait_until_asked("ada@example.com")
        await asyncio.to_thread(mortal.kill)
        server.release.set()
        await server.wait_for(1)
        await asyncio.to_thread(mortal.start)
        rows = await office.wait_until_done()
        assert {(row.state, row.attempts) for row in rows} == {("SENT", 1)}
        await office.owe("eve@example.com")
        await server.wait_for(3)
    recipients = [mail.recipient for mail in server.received]
    assert recipients == ["ada@example.com", "bob@example.com", "eve@example.com"]
