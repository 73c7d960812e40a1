"""`authsvc admin import` and `export` as processes, and docs/import-export.md to the letter."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from authsvc.clock import SystemClock
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.domain import AdminScope
from authsvc.store.db import Database
from tests.cli.command import bare_environment
from tests.processes import ServerProcess, environment, serving
from tests.starts import run
from tests.waiting import until

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/import-export.md").read_text(encoding="utf-8")
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@dataclass(frozen=True)
class Shell:
    """Hold an operator's settings and folder, and the server."""

    settings: Mapping[str, str]
    folder: Path
    server: ServerProcess

    def environment(self) -> dict[str, str]:
        """Return the environment of a command."""
        return bare_environment() | dict(self.settings)

    async def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of `authsvc admin` in the folder."""
        done = await asyncio.to_thread(run, "admin", *arguments, environment=self.environment(), folder=self.folder)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stderr
        return done

    def write(self, name: str, *accounts: Any) -> None:
        """Write a file of JSON Lines; text stands as it is."""
        lines = [each if isinstance(each, str) else json.dumps(each) for each in accounts]
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def read(self, name: str) -> list[dict[str, Any]]:
        """Read a file of JSON Lines."""
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
async def shell(database_url: str, database: Database, master_key: MasterKey, tmp_path: Path) -> AsyncIterator[Shell]:
    """Run a server, with a key for its operator."""
    ring, clock = KeyRing(keys=(master_key,)), SystemClock()
    made = await AdminKeys(
        database=database, ring=ring, audit=Audit(database=database, ring=ring, clock=clock), clock=clock
    ).create("ops", timedelta(days=1), scopes=[AdminScope.ALL])
    assert made is not None
    server = ServerProcess(
        environment(database_url, master_key=master_key.line(), smtp_port=1), tmp_path / "server.log"
    )
    folder = tmp_path / "files"
    folder.mkdir()
    async with serving(server):
        settings = {"AUTHSVC_ADMIN_ADDRESS": f"127.0.0.1:{server.port}", "AUTHSVC_ADMIN_KEY": made[0]}
        yield Shell(settings, folder, server)


def account(name: str, **fields: Any) -> dict[str, Any]:
    """Return an account with a verified address."""
    return {"username": name, "attributes": {"email": f"{name}@example.com"}, "email_verified": True, **fields}


async def test_document_is_right_to_the_letter(shell: Shell) -> None:
    """The commands of the document work on its files, one after the other, and do what it says."""
    for name in ("users.jsonl", "users.csv", "pool.csv"):
        content = TEXT.split(f"<!-- {name} -->")[1].split("```")[1].partition("\n")[2]
        (shell.folder / name).write_text(content, encoding="utf-8")
    told = []
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL):
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", block],
            env=shell.environment() | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            cwd=shell.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    dry, first, again, table, pool, exported = told
    assert dry == "2 would be imported, 0 duplicates, 0 refused\n"
    assert first == again == "2 imported, 0 duplicates, 0 refused\n"
    assert table == pool == "1 imported, 0 duplicates, 0 refused\n"
    assert exported == "everybody.jsonl: 4 accounts\neverybody.csv: 4 accounts\n"
    everybody = {user["username"]: user for user in shell.read("everybody.jsonl")}
    assert everybody["ada"]["groups"] == ["staff"]
    assert everybody["ada"]["totp_devices"][0]["secret"] == SECRET
    assert everybody["grace"]["status"] == everybody["barbara"]["status"] == "RESET_REQUIRED"
    assert everybody["grace"]["created_at"] == "2019-05-17T08:30:00Z"
    assert everybody["linus"]["groups"] == ["customers", "staff"]
    assert everybody["barbara"]["user_id"] == "0b2e3f5c-8d1a-4c55-9d7e-2f6a4b8c1d3e"
    without = (shell.folder / "everybody.csv").read_text()
    assert "barbara@example.com" in without
    assert SECRET not in without
    assert "$2b$" not in without


async def test_rows_left_out_are_told_and_the_command_says_so(shell: Shell) -> None:
    """Each bad row and each duplicate is told by its number, for people and as JSON, and the exit code is 1."""
    shell.write(
        "users.jsonl", account("ada"), {"username": "a b"}, "{", "", account("ADA"), account("grace", password_hash="x")
    )
    expected = [
        (2, "username", "CHARACTERS"),
        (3, "", "JSON"),
        (4, 'attributes["email"]', "EMAIL_EXISTS"),
        (4, "username", "USERNAME_EXISTS"),
        (5, "password_hash", "UNKNOWN"),
    ]
    for arguments in (("--dry-run",), ()):
        done = await shell.run("import", "users.jsonl", *arguments, "--json", "--import-id", "a", code=1)
        report = json.loads(done.stdout)
        assert [(each["row"], each["field"], each["rule"]) for each in report["problems"]] == expected
        assert (report["imported"], report["duplicates"], report["refused"], report["next_row"]) == (1, 1, 3, 6)
    done = await shell.run("import", "users.jsonl", "--import-id", "a", "--resume", code=1)
    *rows, total = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in rows] == ["row 2", "row 3", "row 4", "row 4", "row 5"]
    assert rows[1] == "row 3: JSON must be a JSON object"
    assert total == "1 imported, 1 duplicates, 3 refused"


async def test_file_is_imported_once_unless_told_otherwise(shell: Shell) -> None:
    """A second import of one file needs --resume, or a name of its own; then all its rows are duplicates."""
    shell.write("users.jsonl", account("ada"))
    await shell.run("import", "users.jsonl")
    refused = await shell.run("import", "users.jsonl", code=1)
    assert "--resume" in refused.stderr
    assert (await shell.run("import", "users.jsonl", "--resume")).stdout == "1 imported, 0 duplicates, 0 refused\n"
    again = await shell.run("import", "users.jsonl", "--import-id", "again", code=1)
    assert again.stdout.endswith("0 imported, 1 duplicates, 0 refused\n")
    shell.write("users.jsonl", account("grace"))
    other = await shell.run("import", "users.jsonl", "--import-id", "again", "--resume", code=1)
    assert "options.source must be the source" in other.stderr


async def test_import_whose_server_died_goes_on(shell: Shell, database: Database) -> None:
    """When the server is killed in the middle of an import, --resume on the next server imports the rest, all once."""
    count = 3_000
    shell.write("users.jsonl", *(account(f"user{number}") for number in range(count)))
    running = asyncio.ensure_future(shell.run("import", "users.jsonl", code=1))

    async def has_begun() -> bool:
        return bool(await database.fetchval("select exists (select from users)"))

    await until(has_begun)
    await shell.server.kill()
    broken = await running
    assert "--resume goes on where it stopped" in broken.stderr
    stored = await database.fetchval("select count(*) from users")
    assert 0 < stored < count
    await shell.server.start()
    at = ["--address", f"127.0.0.1:{shell.server.port}"]
    done = await shell.run("import", "users.jsonl", "--resume", *at)
    assert done.stdout == f"{count} imported, 0 duplicates, 0 refused\n"
    assert await database.fetchval("select count(*) from users") == count


async def test_table_is_a_whole_copy(shell: Shell, database: Database) -> None:
    """Deleted and imported from the table of an export, accounts are as they were."""
    rows = [
        account(
            "ada", groups=["staff"], totp_devices=[{"secret": SECRET, "friendly_name": "Ph\u00f6ne;"}], totp_mfa=False
        ),
        account("grace", attributes={"name": 'Grace "H", Dr.', "nickname": ""}, email_verified=False, disabled=True),
    ]
    shell.write("users.jsonl", *rows)
    await shell.run("import", "users.jsonl", "--create-groups")
    await shell.run("export", "before.jsonl", "--include-secrets")
    await shell.run("export", "all.csv", "--include-secrets")
    await database.execute("delete from users")
    await shell.run("import", "all.csv")
    await shell.run("export", "after.jsonl", "--include-secrets")
    assert (shell.folder / "after.jsonl").read_bytes() == (shell.folder / "before.jsonl").read_bytes()


async def test_export_is_for_its_owner_and_never_replaces_a_file(shell: Shell) -> None:
    """The file is new, whole, and readable by nobody else, whatever the umask; one that is there stays as it is."""
    shell.write("users.jsonl", account("ada"))
    await shell.run("import", "users.jsonl")
    done = await shell.run("export", "all.jsonl", "--json")
    assert json.loads(done.stdout) == {"exported": 1}
    assert stat.S_IMODE((shell.folder / "all.jsonl").stat().st_mode) == 0o600
    refused = await shell.run("export", "users.jsonl", code=1)
    assert refused.stderr == "Error: users.jsonl: File exists\n"
    assert shell.read("users.jsonl") == [account("ada")]


async def test_export_that_fails_leaves_no_file(shell: Shell) -> None:
    """Without a right key nothing is left behind."""
    refused = await shell.run("export", "all.jsonl", "--key-file", "/dev/null", code=1)
    assert "PERMISSION_DENIED" in refused.stderr
    assert not (shell.folder / "all.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "content", "arguments", "code", "words"),
    [
        ("users.txt", "", (), 2, "say by --format what kind of file it is"),
        ("users.csv", "name\n", (), 1, "users.csv: the first line must be a header with the column username"),
        ("users.csv", "username\n", ("--format", "cognito-csv"), 1, "with the column cognito:username"),
        ("users.jsonl", "", ("--import-id", "a b"), 1, "letters, digits, `.`, `_` or `-`"),
    ],
)
async def test_what_keeps_an_import_from_starting_is_told(
    shell: Shell, name: str, content: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """A file of no known kind, without its header, or an import without a fit name is an error in one line."""
    (shell.folder / name).write_text(content)
    done = await shell.run("import", name, *arguments, code=code)
    assert words in done.stderr.splitlines()[-1]
    assert "--resume" not in done.stderr


async def test_row_larger_than_a_message_is_one_bad_row(shell: Shell) -> None:
    """A row that no server takes is told, and the others are imported."""
    shell.write("users.jsonl", account("ada"), account("b", groups=["x" * 100] * 700), account("grace"))
    done = await shell.run("import", "users.jsonl", code=1)
    assert done.stdout.splitlines() == [
        "row 2: SIZE must have at most 60000 bytes",
        "2 imported, 0 duplicates, 1 refused",
    ]
