"""What docs/audit.md shows can be done is done here, and what it lists is all that there is."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from authsvc.config import Settings
from authsvc.core.audit.trail import AuditKind
from authsvc.core.audit.verify import FAULTS
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.domain import Event
from authsvc.store.db import Database
from tests.cli.command import bare_environment
from tests.clock import FakeClock
from tests.core.trail import Trail

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = Path(sys.executable).parent


@pytest.fixture
async def trail(database: Database, ring: KeyRing, clock: FakeClock) -> Trail:
    """Record two events of a user called ada."""
    trail = Trail(database, ring, clock)
    await trail.begin("ada")
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    return trail


@pytest.mark.usefixtures("trail")
async def test_commands_do_what_is_said(settings: Settings, master_key: MasterKey, tmp_path: Path) -> None:
    """Each block of commands works as it stands: events are listed, the trail is verified and a checkpoint made."""
    environment = bare_environment() | {
        "AUTHSVC_DATABASE_URL": settings.database.url.get_secret_value(),
        "AUTHSVC_KEYS_MASTER": master_key.line(),
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
    }

    def run(block: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed, verified = [await asyncio.to_thread(run, block) for block in BLOCKS]
    *_, last = listed.splitlines()
    fields = set(json.loads(last))
    assert len(listed.splitlines()) == 4
    assert verified.endswith("PASS: 2 events on 16 chains\n")
    assert (tmp_path / "checkpoint.json").is_file()
    assert fields == set(re.findall(r"`([a-z_]+)`", "".join(rows_of("field"))))


def test_every_fault_is_documented() -> None:
    """The table of faults has each kind that verifying can find, and no other."""
    assert re.findall(r"^\| `([A-Z_]+)`", "\n".join(rows_of("fault")), re.MULTILINE) == [kind.value for kind in FAULTS]


def test_every_column_is_listed_or_of_the_chain() -> None:
    """What an event has and `audit list` does not show is of the chain alone."""
    shown = set(re.findall(r"`([a-z_]+)`", "".join(rows_of("field"))))
    columns = {field.name for field in dataclasses.fields(Event)}
    hidden = {"chain", "sequence", "personal_salt", "personal_digest", "key_id", "digest", "created_at"}
    assert columns - shown == hidden


def rows_of(title: str) -> list[str]:
    """Return the first cells of the table whose first column has this title, as rows that begin with a bar."""
    table = TEXT.split(f"| {title} |", 1)[1].split("\n\n", 1)[0]
    return ["| " + " ".join(re.findall(r"`[^`]+`", row.split(" | ")[0])) for row in table.splitlines()[2:]]
