"""A hook in a process of its own, that can be stopped, killed and started again on the same port."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
SCRIPTED = ("-m", "tests.hooks.scripted")


class HookProcess:
    """Run a Python program that listens on the port that it is given, 0 for any, and says which on standard output."""

    def __init__(self, *program: str, port: int = 0, arguments: tuple[str, ...] = ()) -> None:
        self._command = [sys.executable, *(program or SCRIPTED)]
        self._arguments = arguments
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def target(self) -> str:
        """Return where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the former port if there was one, and return when it listens."""
        self._process = subprocess.Popen(
            [*self._command, str(self.port), *self._arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        # Whatever else the line says.
        self.port = int(self._process.stdout.readline().split()[-1].rpartition(":")[2])

    def kill(self) -> None:
        """End it by SIGKILL, if it has not ended."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()
        self._process = None

    def pause(self) -> None:
        """Keep it from running: its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
