"""`authsvc keys`: master keys on files, signing keys in the database."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from authsvc.cli import key_file
from authsvc.clock import SystemClock
from authsvc.config import TokensSettings
from authsvc.crypto.sealing import DEV_KEY_PREFIX, KeyRing, MasterKey, parse_master_keys
from authsvc.store.db import Database
from tests.cli.command import authsvc, bare_environment
from tests.clock import FakeClock
from tests.signing_keys import signing_keys_of
from tests.starts import COMMAND


def test_generated_key_is_a_setting() -> None:
    """`keys generate` prints one line that the setting takes, a different one each time, and not one of development."""
    lines = [authsvc("keys", "generate").stdout for _ in range(2)]
    first, second = (parse_master_keys(line) for line in lines)
    assert len(first) == len(second) == 1
    assert first != second
    assert not first[0].key_id.startswith(DEV_KEY_PREFIX)


def test_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """A new key file can be read by its owner only, whatever the umask, and nothing else is left in its folder."""
    path = tmp_path / "master.key"
    done = subprocess.run(
        ["sh", "-c", 'umask 0 && exec "$@"', "sh", *COMMAND, "keys", "generate", "--file", str(path)],
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    (key,) = parse_master_keys(path.read_text())
    assert done.stdout == f"{path}: master key {key.key_id}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_key_file_is_never_overwritten(tmp_path: Path) -> None:
    """A file that is there stays as it is: an error, or with --if-missing a success."""
    path = tmp_path / "master.key"
    path.write_text("anything")
    refused = authsvc("keys", "generate", "--file", str(path))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: {path}: is there already and stays as it is; --prepend ")
    left = authsvc("keys", "generate", "--if-missing", "--file", str(path))
    assert left.returncode == 0
    assert path.read_text() == "anything"
    assert list(tmp_path.iterdir()) == [path]


def test_a_further_key_comes_first(tmp_path: Path) -> None:
    """--prepend puts a new key before the others and keeps them, their comments and the permissions of the file."""
    path = tmp_path / "master.key"
    former = f"# since spring\n{MasterKey.generate().line()}\n"
    path.write_text(former)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 12346)
    before = path.stat()
    done = authsvc("keys", "generate", "--prepend", "--file", str(path))
    assert done.returncode == 0
    line, _, rest = path.read_text().partition("\n")
    assert rest == former
    assert done.stdout == f"{path}: master key {parse_master_keys(line)[0].key_id}\n"
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert list(tmp_path.iterdir()) == [path]


def test_a_further_key_follows_a_link(tmp_path: Path) -> None:
    """--prepend through a symbolic link changes the file and keeps the link."""
    path, link = tmp_path / "master.key", tmp_path / "link"
    key_file.create(path, MasterKey.generate())
    link.symlink_to(path)
    key_file.prepend(link, MasterKey.generate())
    assert link.is_symlink()
    assert len(parse_master_keys(path.read_text())) == 2


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "No such file or directory"), ("text\n", "line 1 is not `id:base64url")]
)
def test_a_further_key_needs_keys(content: str | None, fault: str, tmp_path: Path) -> None:
    """--prepend refuses a file that is not there or holds something else, and leaves it as it is."""
    path = tmp_path / "master.key"
    if content is not None:
        path.write_text(content)
    done = authsvc("keys", "generate", "--prepend", "--file", str(path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {path}: {fault}")
    assert (path.read_text() if path.exists() else None) == content


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A key file in a folder that does not exist is an error in one line."""
    done = authsvc("keys", "generate", "--file", str(tmp_path / "none" / "master.key"))
    assert done.returncode == 1
    assert done.stderr == f"Error: {tmp_path}/none/master.key: No such file or directory\n"


def test_of_many_creators_one_wins(tmp_path: Path) -> None:
    """When replicas make the same file at once, one does, and all see its whole key."""
    path = tmp_path / "master.key"

    def create(_: int) -> tuple[bool, str]:
        try:
            key_file.create(path, MasterKey.generate())
        except FileExistsError:
            return False, path.read_text()
        return True, path.read_text()

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(create, range(64)))
    assert sum(made for made, _ in outcomes) == 1
    assert {content for _, content in outcomes} == {path.read_text()}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("former", [None, f"{MasterKey.generate().line()}\n"], ids=["new", "prepended"])
def test_a_full_disk_leaves_what_was_there(former: str | None, tmp_path: Path) -> None:
    """A key that can't be written leaves the former file whole, or none, and nothing half-written beside it."""
    path = tmp_path / "master.key"
    if former:
        path.write_text(former)
    options = ["--file", str(path), *(["--prepend"] if former else [])]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0 && exec "$@"', "sh", *COMMAND, "keys", "generate", *options],
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: {path}: File too large\n"
    assert [(each, each.read_text()) for each in tmp_path.iterdir()] == ([(path, former)] if former else [])


@pytest.fixture
def stored(database_url: str, master_key: MasterKey) -> Mapping[str, str]:
    """Return the settings of the commands that use the database."""
    return {"AUTHSVC_DATABASE_URL": database_url, "AUTHSVC_KEYS_MASTER": master_key.line()}


def list_keys(stored: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what `keys list --json` prints; it needs no master key."""
    done = authsvc("keys", "list", "--json", settings={"AUTHSVC_DATABASE_URL": stored["AUTHSVC_DATABASE_URL"]})
    assert done.returncode == 0
    keys: list[dict[str, Any]] = json.loads(done.stdout)
    return keys


def test_no_keys_yet(stored: Mapping[str, str]) -> None:
    """Before the first server has started the list is empty."""
    assert list_keys(stored) == []
    told = authsvc("keys", "list", settings=stored)
    assert (told.returncode, told.stdout) == (0, "")
    assert "no keys yet" in told.stderr


async def test_rotation_is_published_before_it_is_used(
    stored: Mapping[str, str], database: Database, ring: KeyRing
) -> None:
    """`keys rotate` adds the next key; the list shows it with the current one and the one that retires."""
    clock = FakeClock(SystemClock().now() - timedelta(minutes=12))
    signing_keys = signing_keys_of(database, ring, TokensSettings(), clock)
    await signing_keys.ensure_one()
    (retiring,) = await signing_keys.published()
    current = await signing_keys.rotate()

    done = authsvc("keys", "rotate", settings=stored)
    assert done.returncode == 0
    listed = list_keys(stored)
    assert [key["state"] for key in listed] == ["next", "current", "retiring"]
    assert [key["kid"] for key in listed[1:]] == [current.kid, retiring.kid]
    assert done.stdout == f"{listed[0]['kid']}: EdDSA, used from {listed[0]['active_from']}\n"
    used_from = datetime.fromisoformat(listed[0]["active_from"]) - datetime.fromisoformat(listed[0]["created"])
    assert used_from == TokensSettings().signing_key_lead
    assert listed[0]["expires"] is None
    assert all(datetime.fromisoformat(key["expires"]) > SystemClock().now() for key in listed[1:])

    heading, *rows = authsvc("keys", "list", settings=stored).stdout.splitlines()
    assert heading.split() == ["kid", "algorithm", "state", "created", "active_from", "expires"]
    assert [row.split()[:3] for row in rows] == [[key["kid"], "EdDSA", key["state"]] for key in listed]


async def test_rotation_for_a_leaked_key_ends_the_others(
    stored: Mapping[str, str], database: Database, ring: KeyRing
) -> None:
    """After `keys rotate --now` the new key alone is published, and signs."""
    await signing_keys_of(database, ring, TokensSettings(), SystemClock()).ensure_one()
    done = authsvc("keys", "rotate", "--now", settings=stored)
    assert done.returncode == 0
    (only,) = list_keys(stored)
    assert only["state"] == "current"
    assert done.stdout.startswith(f"{only['kid']}: ")


@pytest.mark.parametrize("command", ["rotate", "list"])
def test_a_database_that_is_away_is_told(command: str) -> None:
    """Without a database the commands fail with the reason, in one line."""
    away = {
        "AUTHSVC_DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/x",
        "AUTHSVC_KEYS_MASTER": MasterKey.generate().line(),
    }
    done = authsvc("keys", command, settings=away)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the database is not available: ")
    assert "hidden" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
