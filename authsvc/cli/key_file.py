"""The file with the master keys: made and changed in one step, readable by its owner alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from authsvc.crypto.sealing import MasterKey, parse_master_keys


def create(path: Path, key: MasterKey) -> None:
    """Make the file with one key.

    Raises:
        FileExistsError: it is there; it stays as it is.
        OSError: it can't be written.
    """
    with _prepared(path) as file:
        file.write(f"{key.line()}\n")
        _to_disk(file)
        # Unlike a rename, a link never replaces what another process made meanwhile.
        os.link(file.name, path)


def prepend(path: Path, key: MasterKey) -> None:
    """Put a key before the others; the file keeps its owner and its permissions.

    Raises:
        MasterKeyError: it holds something else than keys.
        OSError: it is not there, or can't be written.
    """
    path = path.resolve(strict=True)
    former = path.read_text(encoding="utf-8")
    parse_master_keys(former)
    with _prepared(path) as file:
        file.write(f"{key.line()}\n{former}")
        status = path.stat()
        os.fchown(file.fileno(), status.st_uid, status.st_gid)
        os.fchmod(file.fileno(), status.st_mode & 0o777)
        _to_disk(file)
        Path(file.name).rename(path)


@contextmanager
def _prepared(path: Path) -> Iterator[IO[str]]:
    """Give a file beside `path` that nobody else may read, and remove what is left of it at the end."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(file.name).unlink()


def _to_disk(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
