import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from authsvc.dev.catcher import MailCatcher


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a path short enough for a socket, whatever pytest's own folders are called."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        yield Path(name) / "postgres"


@pytest.fixture
def echoed() -> list[str]:
    """Return the list that collects the catcher's lines."""
    return []


@pytest.fixture
async def catcher(tmp_path: Path, echoed: list[str]) -> AsyncIterator[MailCatcher]:
    """Yield a running catcher."""
    async with MailCatcher(folder=tmp_path / "mail", echo=echoed.append) as catcher:
        yield catcher
