"""The command line from outside: a process, its output, its exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from authsvc.crypto.sealing import MasterKey
from tests.starts import run

# What `serve` asks for; nothing listens at these addresses.
COMPLETE = {
    "AUTHSVC_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "AUTHSVC_KEYS_MASTER": MasterKey.generate().line(),
    "AUTHSVC_MAIL_SMTP_HOST": "127.0.0.1",
    "AUTHSVC_SERVER_PORT": "0",
}


def bare_environment() -> dict[str, str]:
    """Return this process's environment without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}


def authsvc(
    *arguments: str, settings: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these settings alone."""
    done = run(*arguments, environment=bare_environment() | dict(settings or {}), folder=folder)
    assert "Traceback" not in done.stderr, done.stderr
    return done
