"""The file with the master keys: made and changed in one step, readable by its owner alone."""

from __future__ import annotations

from pathlib import Path

from authsvc.cli import whole_file
from authsvc.crypto.sealing import MasterKey, parse_master_keys


def create(path: Path, key: MasterKey) -> None:
    """Make the file with one key.

    Raises:
        FileExistsError: it is there; it stays as it is.
        OSError: it can't be written.
    """
    whole_file.create(path, f"{key.line()}\n", mode=0o600)


def prepend(path: Path, key: MasterKey) -> None:
    """Put a key before the others; the file keeps its owner and its permissions.

    Raises:
        MasterKeyError: it holds something else than keys.
        OSError: it is not there, or can't be written.
    """
    former = path.read_text(encoding="utf-8")
    parse_master_keys(former)
    whole_file.replace(path, f"{key.line()}\n{former}")
