"""A Postgres that may die, a box for mail, and settings for server processes on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import Mailbox
from authsvc.dev.postgres import EmbeddedPostgres
from tests.processes import environment
from tests.starts import run


@pytest.fixture
def postgres_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder for the Postgres that may die."""
    return tmp_path_factory.mktemp("pg")


@pytest.fixture
def mortal(postgres_folder: Path) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres of the test's own, which keeps what it committed, with the schema."""
    with EmbeddedPostgres(folder=postgres_folder) as server:
        run("migrate", environment=environment(server.dsn(), master_key="", smtp_port=1)).check_returncode()
        yield server


@pytest.fixture
async def catcher(tmp_path: Path) -> AsyncIterator[MailCatcher]:
    """Run a mail server that takes everything."""
    async with MailCatcher(folder=tmp_path / "mail") as running:
        yield running


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    """Return where the catcher keeps its mail."""
    return Mailbox(folder=tmp_path / "mail")


@pytest.fixture
def mortal_environment(mortal: EmbeddedPostgres, catcher: MailCatcher, master_key: MasterKey) -> dict[str, str]:
    """Return the settings of a server on the Postgres that may die."""
    return environment(mortal.dsn(), master_key=master_key.line(), smtp_port=catcher.port)
