"""The file with a checkpoint of the audit trail: where each chain ended when it was verified last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from authsvc.cli import whole_file
from authsvc.cli.failures import Failed, using
from authsvc.core.audit.verify import Mark


def read(path: Path) -> dict[int, Mark]:
    """Read a checkpoint; an absent file is an empty one.

    Raises:
        Failed: it can't be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failed(f"{path}: is no text") from None
    try:
        return {
            int(chain): Mark(int(mark["sequence"]), bytes.fromhex(mark["digest"]))
            for chain, mark in json.loads(text)["chains"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"{path}: is no checkpoint of `authsvc audit verify`") from None


def write(path: Path, marks: Mapping[int, Mark]) -> None:
    """Make the file, or replace what is in it, in one step.

    Raises:
        Failed: it can't be written.
    """
    chains = {str(chain): {"sequence": mark.sequence, "digest": mark.digest.hex()} for chain, mark in marks.items()}
    text = json.dumps({"chains": chains}, indent=2) + "\n"
    with using(path):
        if path.exists():
            whole_file.replace(path, text)
        else:
            whole_file.create(path, text, mode=0o600)
