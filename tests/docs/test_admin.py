"""What docs/admin.md shows can be done is done here, and its table has every command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from authsvc.cli.admin import command
from authsvc.crypto.sealing import MasterKey
from tests.cli.command import bare_environment
from tests.processes import ServerProcess, environment, serving

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/admin.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = Path(sys.executable).parent


async def test_commands_do_what_is_said(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """Pasted one after the other into one shell, beside a server, all commands succeed and do what the text says."""
    server = ServerProcess(
        environment(database_url, master_key=master_key.line(), smtp_port=1), tmp_path / "server.log"
    )
    async with serving(server):
        shell = bare_environment() | {
            "AUTHSVC_DATABASE_URL": database_url,
            "AUTHSVC_KEYS_MASTER": master_key.line(),
            "AUTHSVC_SERVER_PORT": str(server.port),
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        }
        marked = "\necho ==\n".join(BLOCKS)
        done = await asyncio.to_thread(
            subprocess.run,
            ["bash", "-euo", "pipefail", "-c", marked],
            env=shell,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=55,
        )
    assert done.returncode == 0, done.stderr
    keys, revoked, users, told, helped, groups = done.stdout.split("==\n")
    assert re.search(r"^console +live ", keys, re.MULTILINE)
    assert revoked == "console: revoked\n"
    listed = json.loads(users[users.index("{") :])
    assert [user["attributes"]["name"] for user in listed["users"]] == ["Ada Lovelace"]
    assert re.search(r"^username +grace$", told, re.MULTILINE)
    assert "ada@example.org" in helped
    assert helped.endswith("disabled\nenabled\n")
    assert re.search(r"^ada .* ada@example.org +yes ", groups, re.MULTILINE)


def test_the_table_has_every_command() -> None:
    """Each command of `authsvc admin` is in the table, and nothing else."""
    table = TEXT.split("| to | command |", 1)[1].split("\n\n", 1)[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`([a-z-]+)`", row.rsplit("|", 2)[1])}
    assert named == set(command.commands)
