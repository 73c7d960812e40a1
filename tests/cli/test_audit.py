"""`authsvc audit`: the trail verified and read by an operator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import AuditEvent, AuditKind
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.store.db import Database
from tests.cli.command import authsvc
from tests.clock import FakeClock
from tests.core.trail import Trail


@pytest.fixture
def given(settings: Settings, master_key: MasterKey) -> dict[str, str]:
    """Return the settings of the command."""
    return {
        "AUTHSVC_DATABASE_URL": settings.database.url.get_secret_value(),
        "AUTHSVC_KEYS_MASTER": master_key.line(),
    }


@pytest.fixture
async def trail(database: Database, ring: KeyRing, clock: FakeClock) -> Trail:
    """Record three events of one user."""
    trail = Trail(database, ring, clock)
    await trail.begin()
    await trail.record(AuditKind.SIGN_UP, AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    return trail


async def test_untouched_trail_passes(trail: Trail, given: dict[str, str]) -> None:
    """`audit verify` tells how many events each chain has, and passes."""
    done = authsvc("audit", "verify", settings=given)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 17
    assert f"chain {await trail.chain():2}: 3 events, up to 3" in lines
    assert lines[-1] == "PASS: 3 events on 16 chains"


async def test_tampering_fails(trail: Trail, given: dict[str, str]) -> None:
    """A tampered event ends `audit verify` with code 1, and is named with what is wrong with it."""
    await trail.database.execute("update audit_events set result = 'FAILURE' where sequence = 2")
    done = authsvc("audit", "verify", settings=given)
    assert done.returncode == 1
    event = f"{await trail.chain()}-2"
    meaning = "an event was altered, moved here from another place, or recorded at a forged end"
    assert f"  ALTERED at event {event}: {meaning}\n" in done.stdout
    assert done.stderr == "Error: FAIL: 1 at fault, on 1 of 16 chains\n"


async def test_checkpoint_shows_what_was_cut_off(trail: Trail, given: dict[str, str], tmp_path: Path) -> None:
    """With a checkpoint a loss of events is found that an older copy of the database hides; the file stays as it is."""
    path = tmp_path / "checkpoint.json"
    kept = await trail.database.fetch("select sequence, digest, last_at, seal, chain from audit_chains")
    await trail.record(AuditKind.SIGN_IN)
    for _ in range(2):
        assert authsvc("audit", "verify", "--checkpoint", str(path), settings=given).returncode == 0
    before = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    await trail.database.execute("delete from audit_events where sequence = 4")
    for row in kept:
        await trail.database.execute(
            "update audit_chains set sequence = $1, digest = $2, last_at = $3, seal = $4 where chain = $5", *row
        )
    assert authsvc("audit", "verify", settings=given).returncode == 0
    done = authsvc("audit", "verify", "--checkpoint", str(path), settings=given)
    assert done.returncode == 1
    assert f"CUT_OFF at event {await trail.chain()}-4" in done.stdout
    assert path.read_text() == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"chains": {"0": {"sequence": 1}}}', '{"chains": 7}'])
async def test_wrong_checkpoint_is_told(database: Database, given: dict[str, str], tmp_path: Path, text: str) -> None:
    """A file that holds something else is refused and left as it is."""
    path = tmp_path / "checkpoint.json"
    path.write_text(text)
    done = authsvc("audit", "verify", "--checkpoint", str(path), settings=given)
    assert (done.returncode, done.stderr) == (1, f"Error: {path}: is no checkpoint of `authsvc audit verify`\n")
    assert path.read_text() == text


async def test_events_are_listed(trail: Trail, given: dict[str, str]) -> None:
    """`audit list` prints the latest events, of all or of one user, as text or as JSON."""
    async with trail.database.transaction() as transaction:
        await trail.audit.record(transaction, AuditEvent(AuditKind.ADMIN_EXPORT_USERS, Caller(), actor="operator:bob"))
    listed = authsvc("audit", "list", settings=given).stdout.splitlines()
    assert len(listed) == 4
    assert sum("operator:bob" in line for line in listed) == 1
    of_ada = authsvc("audit", "list", "--user", "ADA", "--json", "--limit", "2", settings=given)
    latest, before = (json.loads(line) for line in of_ada.stdout.splitlines())
    assert (latest["kind"], before["kind"]) == ("SIGN_OUT", "SIGN_IN")
    assert latest["user_id"] == str(trail.user_id)
    assert (latest["username"], latest["client_ip"], latest["request_id"]) == ("Ada", "192.0.2.7", "request-1")
    by_id = authsvc("audit", "list", "--user", str(trail.user_id), "--json", settings=given)
    assert len(by_id.stdout.splitlines()) == 3


async def test_unknown_user_is_told(database: Database, given: dict[str, str]) -> None:
    """`audit list` of a name that nobody has ends with code 1."""
    done = authsvc("audit", "list", "--user", "nobody", settings=given)
    assert (done.returncode, done.stderr) == (1, "Error: there is no user 'nobody'\n")
