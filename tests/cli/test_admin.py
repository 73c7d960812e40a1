"""`authsvc admin` and `authsvc admin-keys` as processes, against a server that is one too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from authsvc.cli.admin import command
from authsvc.crypto.sealing import MasterKey
from authsvc.v1.admin_service_pb2 import DESCRIPTOR
from tests.cli.certificates import issue
from tests.cli.command import authsvc, bare_environment
from tests.processes import ServerProcess, environment, serving
from tests.starts import COMMAND, run

PASSWORD = "Borrowed-7-lanterns-tonight"
METHODS = [method.name for method in DESCRIPTOR.services_by_name["AdminService"].methods]


@dataclass(frozen=True)
class Terminal:
    """Hold what an operator's shell has: settings, and a file with a key."""

    settings: Mapping[str, str]
    address: str
    key_file: Path

    async def run(self, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of `authsvc admin` with the key."""
        done = await asyncio.to_thread(
            run,
            *("admin", *arguments, "--address", self.address, "--key-file", str(self.key_file)),
            environment=bare_environment(),
            stdin=stdin,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stderr
        return done

    async def watch(self, *arguments: str) -> tuple[str, str]:
        """Run a command whose standard error is a terminal; return what it printed, and what the terminal saw."""
        near, far = os.openpty()
        process = subprocess.Popen(
            [*COMMAND, "admin", *arguments, "--address", self.address, "--key-file", str(self.key_file)],
            env=bare_environment() | {"TERM": "xterm", "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=far,
            text=True,
        )
        os.close(far)

        def read() -> bytes:
            seen = b""
            # The error tells that the other side is closed: the command has ended.
            with contextlib.suppress(OSError):
                while part := os.read(near, 4096):
                    seen += part
            return seen

        seen, (printed, _) = await asyncio.gather(asyncio.to_thread(read), asyncio.to_thread(process.communicate))
        os.close(near)
        assert process.returncode == 0, seen
        return printed, seen.decode()

    async def json(self, *arguments: str, stdin: str = "") -> Any:
        """Run a command with `--json` and return what it prints."""
        return json.loads((await self.run(*arguments, "--json", stdin=stdin)).stdout)

    async def keys(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of `authsvc admin-keys` on the server's database."""
        done = await asyncio.to_thread(authsvc, "admin-keys", *arguments, settings=self.settings)
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture
async def terminal(database_url: str, master_key: MasterKey, tmp_path: Path) -> AsyncIterator[Terminal]:
    """Run a server, and make a key for it as an operator does."""
    server = ServerProcess(
        environment(database_url, master_key=master_key.line(), smtp_port=1), tmp_path / "server.log"
    )
    settings = {"AUTHSVC_DATABASE_URL": database_url, "AUTHSVC_KEYS_MASTER": master_key.line()}
    async with serving(server):
        shell = Terminal(settings, f"127.0.0.1:{server.port}", tmp_path / "admin.key")
        await shell.keys("create", "ops", "--expires-in", "30", "--scope", "all", "--file", str(shell.key_file))
        yield shell


def test_every_method_is_a_command() -> None:
    """Each RPC of AdminService has a command of its name, but for those that are about a file."""
    files = {"import-users": "import", "export-users": "export"}
    named = {files.get(name, name) for name in (re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower() for name in METHODS)}
    assert named <= command.commands.keys()


async def test_an_operator_keeps_users_and_groups(terminal: Terminal) -> None:
    """Users and groups are made, shown, changed, listed and removed, as tables and as JSON."""
    made = await terminal.json(
        "create-user", "ada", "--attribute", "email=ada@example.com", "--attribute", "name=Ada = L",
        "--attribute", "phone_number=+14155550123", "--phone-number-verified",
        "--email-verified", "--password-stdin", "--suppress-invitation", stdin=f"{PASSWORD}\n",
    )  # fmt: skip
    user_id = made["user"]["user_id"]
    phone_number = {"phone_number": "+14155550123"}
    assert made["user"]["attributes"] == {"email": "ada@example.com", "name": "Ada = L"} | phone_number
    await terminal.run("create-group", "editors", "--precedence", "2", "--description", "They edit.")
    assert (await terminal.run("add-user-to-group", "ada", "editors")).stdout == "added\n"
    shown = (await terminal.run("get-user", "--id", user_id)).stdout
    assert re.search(r"^groups +editors$", shown, re.MULTILINE)
    assert re.search(r"^phone_number +\+14155550123\nphone_verified +yes$", shown, re.MULTILINE)
    heading, row = (await terminal.run("list-users", "--group", "editors")).stdout.splitlines()
    assert heading.split()[:3] == ["username", "user_id", "status"]
    assert row.split()[:3] == ["ada", user_id, "FORCE_CHANGE_PASSWORD"]
    changed = await terminal.json("update-user-attributes", "ada", "--remove", "name", "--email-unverified")
    assert changed["user"]["attributes"] == {"email": "ada@example.com"} | phone_number
    assert changed["user"]["email_verified"] is False
    await terminal.run("set-user-password", "ada", "--password-stdin", stdin=f"{PASSWORD}-2\n")
    assert "CONFIRMED" in (await terminal.run("get-user", "ada")).stdout
    assert [group["name"] for group in (await terminal.json("list-groups-for-user", "ada"))["groups"]] == ["editors"]
    assert len((await terminal.json("list-users-in-group", "editors"))["users"]) == 1
    await terminal.run("remove-user-from-group", "ada", "editors")
    assert (await terminal.run("list-users-in-group", "editors")).stderr == "none\n"
    for arguments in (
        ["disable-user", "ada", "--yes"], ["enable-user", "ada"], ["confirm-sign-up", "ada"],
        ["sign-out-user", "ada"], ["reset-user-mfa", "ada", "--yes"], ["unlock-user", "ada"],
        ["list-user-sessions", "ada"], ["reset-user-password", "ada", "--yes"], ["get-group", "editors"],
        ["list-groups"], ["list-auth-events", "ada"], ["list-auth-events"],
        ["delete-group", "editors", "--yes"], ["list-mail", "--state", "dead"],
    ):  # fmt: skip
        await terminal.run(*arguments)
    await terminal.run("create-user", "bob", "--attribute", "email=bob@example.com")
    assert {row.split()[2] for row in (await terminal.run("list-mail")).stdout.splitlines()} == {
        "medium",
        "EMAIL",
        "SMS",
    }
    await terminal.run("delete-user", "ada", "--yes")
    (latest, *_) = (await terminal.json("list-auth-events", "--id", user_id))["events"]
    assert (latest["kind"], latest["actor"]) == ("AUTH_EVENT_KIND_ADMIN_DELETE_USER", "operator:ops")
    await terminal.run("get-user", "ada", code=1)


async def test_lists_go_on_page_by_page(terminal: Terminal) -> None:
    """A list names its next page, which lists the rest; --all lists everything at once."""
    for number in range(3):
        await terminal.run("create-group", f"group-{number}")
    first = await terminal.run("list-groups", "--page-size", "2")
    assert len(first.stdout.splitlines()) == 3
    token = re.fullmatch(r"more: --page-token (\S+), or --all\n", first.stderr)
    assert token
    rest = await terminal.json("list-groups", "--page-token", token[1])
    assert [group["name"] for group in rest["groups"]] == ["group-2"]
    everything = await terminal.json("list-groups", "--page-size", "1", "--all")
    assert len(everything["groups"]) == 3


async def test_what_takes_long_tells_how_far_it_is(terminal: Terminal, tmp_path: Path) -> None:
    """On a terminal an import has a bar, an export and a whole list a count; in a pipe there is neither."""
    file = tmp_path / "users.jsonl"
    file.write_text("".join(f'{{"username": "user-{number}"}}\n' for number in range(3)), encoding="utf-8")
    _, seen = await terminal.watch("import", str(file))
    assert "100%" in seen
    assert "3 rows" in seen
    _, seen = await terminal.watch("export", str(tmp_path / "copy.jsonl"))
    assert "3 accounts" in seen
    printed, seen = await terminal.watch("list-users", "--all", "--page-size", "1")
    assert "3 users" in seen
    assert len(printed.splitlines()) == 4
    assert (await terminal.run("list-users", "--all", "--page-size", "1")).stderr == ""


async def test_what_cannot_be_undone_is_asked_about(terminal: Terminal) -> None:
    """Without --yes the command asks, and does nothing unless the answer is yes."""
    await terminal.run("create-group", "editors")
    asked = await terminal.run("delete-group", "editors", code=1, stdin="n\n")
    assert "Delete the group editors? [y/N]" in asked.stderr
    await terminal.run("delete-group", "editors", code=1)
    await terminal.run("get-group", "editors")
    await terminal.run("delete-group", "editors", stdin="y\n")
    await terminal.run("get-group", "editors", code=1)


async def test_a_refusal_is_one_line_with_its_reason(terminal: Terminal) -> None:
    """A failure names the reason and every broken rule in one line, and ends with code 1."""
    missing = await terminal.run("get-user", "nobody", code=1)
    assert missing.stderr == "Error: USER_NOT_FOUND: there is no such user\n"
    invalid = await terminal.run("create-user", "a b", code=1)
    assert invalid.stderr.startswith("Error: INVALID_FIELDS: the request has invalid fields: username must be ")
    assert 'attributes["email"] must not be empty' in invalid.stderr
    assert len(invalid.stderr.splitlines()) == 1
    too_large = await terminal.run("create-group", "editors", "--precedence", str(2**31), code=2)
    assert too_large.stderr.splitlines()[-1].startswith("Error: Invalid value for '--precedence'")
    await terminal.keys("revoke", "ops")
    refused = await terminal.run("list-users", code=1)
    assert refused.stderr == "Error: PERMISSION_DENIED: the caller may not use this method\n"


async def test_keys_are_made_listed_and_revoked(terminal: Terminal) -> None:
    """A key is printed once, listed without itself, good until it is revoked; its name is used up."""
    made = await terminal.keys("create", "deploy", "--expires-in", "1")
    key = made.stdout.strip()
    assert re.fullmatch(r"authsvc_admin_[A-Za-z0-9_-]{43}", key)
    assert "deploy: good until " in made.stderr
    settings = {"AUTHSVC_ADMIN_KEY": key, "AUTHSVC_ADMIN_ADDRESS": terminal.address}
    done = await asyncio.to_thread(authsvc, "admin", "list-users", settings=settings)
    assert (done.returncode, done.stderr) == (0, "none\n")
    refused = await asyncio.to_thread(authsvc, "admin", "create-group", "editors", settings=settings)
    assert refused.stderr == "Error: PERMISSION_DENIED (needs scope users): the caller may not use this method\n"
    listed = await terminal.keys("list")
    assert [row.split()[:3] for row in listed.stdout.splitlines()[1:]] == [
        ["ops", "live", "all"],
        ["deploy", "live", "read"],
    ]
    assert key not in listed.stdout
    assert (await terminal.keys("revoke", "deploy")).stdout == "deploy: revoked\n"
    states = {row["name"]: row["state"] for row in json.loads((await terminal.keys("list", "--json")).stdout)}
    assert states == {"ops": "live", "deploy": "revoked"}
    again = await terminal.keys("create", "deploy", "--expires-in", "1", code=1)
    assert "there is or was a key of the name deploy" in again.stderr
    assert terminal.key_file.stat().st_mode & 0o777 == 0o600
    await terminal.keys("revoke", "nobody", code=1)
    await terminal.keys("create", "a:b", "--expires-in", "1", code=2)
    await terminal.keys("create", "other", "--expires-in", "1", "--file", str(terminal.key_file), code=1)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--address", "auth.example.com:50051"], 1, "or --plaintext to send the key in clear"),
        (["--address", "127.0.0.1:1"], 1, "UNAVAILABLE"),
        (["--address", "127.0.0.1:1", "--certificate-file", __file__], 2, "go together"),
        (["--key-file", "/nonexistent"], 2, "does not exist"),
        (["--key-file", __file__], 1, "Error: the admin key is none"),
        (["--ca-file", __file__], 1, f"Error: --ca-file: {__file__}: holds no certificate in PEM form"),
        (["--username-prefix", "\udcff"], 2, "Error: what is given must be UTF-8 text"),
    ],
)
def test_a_server_that_cannot_be_asked_is_told(arguments: list[str], code: int, told: str) -> None:
    """A key is not sent in clear to another machine unasked, and no answer is an error in one line."""
    settings = {"AUTHSVC_ADMIN_KEY": "x", "AUTHSVC_SERVER_PORT": "1"}
    done = authsvc("admin", "list-users", *arguments, settings=settings)
    assert done.returncode == code
    assert told in done.stderr
    # Below the usage, if that is what was wrong.
    assert len(done.stderr[done.stderr.index("Error: ") :].splitlines()) == 1


def test_a_certificate_of_another_key_is_told(tmp_path: Path) -> None:
    """A client certificate and a key that don't go together are told as that, not as a server that is away."""
    one, other = issue(tmp_path / "one"), issue(tmp_path / "other")
    files = ("--ca-file", str(one.certificate_file), "--certificate-file", str(one.certificate_file))
    done = authsvc(
        "admin", "list-users", "--address", "127.0.0.1:1", *files, "--certificate-key-file", str(other.key_file)
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Error: --certificate-file: {one.certificate_file}: does not go with --certificate-key-file"
    )
