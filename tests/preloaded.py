"""An interpreter that has imported all of authsvc and forks at each request; `tests/starts.py` talks to it.

A start of `python -m authsvc` spends up to a second of processor time on imports. A fork of this process has them
behind it, and is from there on what such a start is: its own arguments, environment, folder, files, signals and exit.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path

import authsvc.cli

_LARGEST_REQUEST = 1 << 20
# What is imported by itself only: tests of what each command loads start a fresh interpreter.
_COMMANDS = [path.stem for path in Path(authsvc.cli.__file__).parent.glob("*.py") if path.stem != "__init__"]


def main() -> None:
    """Fork for each request on the socket that is standard input, until it is closed; return in the forks."""
    requests = socket.socket(fileno=os.dup(0))
    for name in _COMMANDS:
        import_module(f"authsvc.cli.{name}")
    gc.freeze()
    # The watchers are nobody's to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            _watch(json.loads(message), files)
            return
        for file in files:
            os.close(file)


def _watch(request: dict[str, object], files: list[int]) -> None:
    """Fork once more and return there; in between tell the process id, wait, and tell the status."""
    *standard, told = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    started = os.fork()
    if started:
        for file in (0, 1, 2, *standard):
            os.close(file)
        with socket.socket(fileno=told) as answers:
            answers.send(b"%d" % started)
            _, status = os.waitpid(started, 0)
            answers.send(b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(told)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    os.chdir(str(request["folder"]))
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    sys.argv[1:] = arguments


if __name__ == "__main__":
    main()
    authsvc.cli.main()
