"""Commands of authsvc in processes of their own, which need not import it each for themselves."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

COMMAND = (sys.executable, "-m", "authsvc")
# Threads that start the first commands together wait for one interpreter.
_LOCK = threading.Lock()
_PRELOADED = Path(__file__).with_name("preloaded.py")


class Process:
    """Stand for a command that was started, as `subprocess.Popen` does."""

    def __init__(self, arguments: tuple[str, ...], *, told: socket.socket) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._told = told
        self.pid = int(told.recv(32))

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while the process runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status once the process has ended.

        Raises:
            subprocess.TimeoutExpired: it goes on for longer than that.
        """
        status = self._look(None if timeout is None else timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._told, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                self.returncode = int(self._told.recv(32))
                self._told.close()
        return self.returncode


def start(
    *arguments: str,
    environment: Mapping[str, str],
    stdin: IO[Any],
    output: IO[Any],
    errors: IO[Any],
    folder: Path | None = None,
) -> Process | subprocess.Popen[bytes]:
    """Start `authsvc` with these arguments, this environment and these files.

    What the environment says to the interpreter itself, it reads at its own start only: such a command has one.
    """
    if any(name.startswith("PYTHON") and environment[name] != os.environ.get(name) for name in environment):
        return subprocess.Popen(
            [*COMMAND, *arguments], env=environment, cwd=folder, stdin=stdin, stdout=output, stderr=errors
        )
    told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        request = {"arguments": arguments, "environment": dict(environment), "folder": str(folder or Path.cwd())}
        files = [stdin.fileno(), output.fileno(), errors.fileno(), theirs.fileno()]
        with _LOCK:
            preloaded = _preloaded()
        socket.send_fds(preloaded, [json.dumps(request).encode()], files)
    return Process(arguments, told=told)


def run(
    *arguments: str,
    environment: Mapping[str, str],
    stdin: str = "",
    folder: Path | None = None,
    timeout: float = 50,  # of a process, by a function that is not asynchronous
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return what it wrote."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(stdin.encode())
        given.seek(0)
        process = start(*arguments, environment=environment, stdin=given, output=output, errors=errors, folder=folder)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        written = []
        for file in (output, errors):
            file.seek(0)
            written.append(file.read().decode())
    return subprocess.CompletedProcess([*COMMAND, *arguments], status, *written)


@cache
def _preloaded() -> socket.socket:
    """Start the interpreter that forks, once for a process of tests, with which it ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, "-P", str(_PRELOADED)], stdin=theirs.fileno())

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
