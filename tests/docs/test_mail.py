"""What docs/mail.md shows can be done is done here, to the letter."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from authsvc.core.messages.kinds import KINDS
from authsvc.delivery.mail.wording import CODE_WORDS, LAYOUT, NAMES, Wording
from authsvc.dev.catcher import MailCatcher
from tests.cli.command import bare_environment

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/mail.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = Path(sys.executable).parent


def run(block: str, folder: Path, port: int) -> str:
    """Run a block as a reader would paste it, and return what it printed."""
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "TLS": "none"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env=bare_environment()
        | {f"AUTHSVC_MAIL_SMTP_{name}": value for name, value in settings.items()}
        | {"PATH": f"{COMMANDS}:{os.environ['PATH']}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_commands_do_what_is_said(tmp_path: Path) -> None:
    """Each block of commands works where the ones before it have left the folder, and does what the text says of it."""
    async with MailCatcher(folder=tmp_path / "caught") as catcher:
        told = [await asyncio.to_thread(run, block, tmp_path, catcher.port) for block in BLOCKS]
        (sent,) = catcher.messages()
    every, one, test, own, checked = told
    assert every == checked
    assert every.endswith(" mails; begin at mails/index.html\n")
    assert one == own == "1 mails; begin at mails/index.html\n"
    assert (tmp_path / "mails/de-AT/invitation.eml").exists()
    assert "took the mail to postmaster@example.com: OK" in test
    assert sent["To"] == "postmaster@example.com"
    assert (tmp_path / "mails/de/invitation.txt").read_text().startswith("Willkommen bei Tele-Ada\n")


def test_every_kind_and_every_variable_is_documented() -> None:
    """The document has a row for each kind of mail, and for each variable that a built-in template shows."""
    rows = [row.strip("| ").split(" | ") for row in TEXT.splitlines() if row.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row[0])}
    assert {kind.lower() for kind in KINDS} <= documented
    folder = ROOT / "authsvc/delivery/mail/templates"
    sources = [path.read_text() for path in [folder / LAYOUT, *folder.glob("*/*.txt")]]
    shown = {name for source in sources for name in re.findall(r"\{\{ ([a-z_]+)", source)}
    assert {"username", "temporary_password", "highlight"} <= shown
    assert shown - {"part"} <= documented


def test_every_language_is_whole() -> None:
    """Each built-in language has a template for every kind, and the words of codes."""
    folder = ROOT / "authsvc/delivery/mail/templates"
    for language in Wording(own={}).languages():
        assert {path.name for path in (folder / language).iterdir()} == NAMES
    assert CODE_WORDS in NAMES
