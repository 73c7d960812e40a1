"""Files that are made and changed in one step, so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def create(path: Path, text: str, mode: int) -> None:
    """Make a file with this text.

    Raises:
        FileExistsError: it is there; it stays as it is.
        OSError: it can't be written.
    """
    with _prepared(path) as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)
        _to_disk(file)
        # Unlike a rename, a link never replaces what another process made meanwhile.
        os.link(file.name, path)


def replace(path: Path, text: str) -> None:
    """Give a file another text; it keeps its owner and its permissions.

    Raises:
        OSError: it is not there, or can't be written.
    """
    path = path.resolve(strict=True)
    with _prepared(path) as file:
        file.write(text)
        status = path.stat()
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
        os.fchmod(file.fileno(), status.st_mode & 0o777)
        _to_disk(file)
        Path(file.name).rename(path)


@contextmanager
def _prepared(path: Path) -> Iterator[IO[str]]:
    """Give a file beside `path` that nobody else may read, and remove what is left of it at the end."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        try:
            yield file
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(file.name).unlink()


def _to_disk(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
