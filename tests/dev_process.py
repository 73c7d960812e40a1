"""`authsvc dev` in a process of its own, as a newcomer would run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from urllib.request import urlopen

from authsvc.clock import monotonic

START_SECONDS = 60
_READY = re.compile(r"authsvc serves on (?P<address>\S+); mails are at (?P<mail_url>\S+)/messages")


class Dev:
    """Run `authsvc dev` on free ports in a folder, with further variables in its environment; stop it with Ctrl-C."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder = folder
        self._environment = {**os.environ, **variables}
        self.address = ""
        self.mail_url = ""

    def __enter__(self) -> Self:
        ports = ["--port", "0", "--smtp-port", "0", "--http-port", "0"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "authsvc", "dev", "--folder", str(self._folder), *ports],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        killer = threading.Timer(START_SECONDS, self._process.kill)
        killer.start()
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            seen.append(line)
            if ready := _READY.search(line):
                killer.cancel()
                self.address, self.mail_url = ready["address"], ready["mail_url"]
                # Nobody reads on, but the rest must not fill the pipe.
                self._drain = threading.Thread(target=self._process.stdout.read)
                self._drain.start()
                return self
        killer.cancel()
        self._process.wait()
        raise AssertionError("".join(seen))

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=30)
        self._drain.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def code_for(self, address: str) -> str:
        """Wait for a mail to `address` and return the code in it."""
        deadline = monotonic() + 20
        while monotonic() < deadline:
            url = f"{self.mail_url}/messages?to={quote(address)}"
            with urlopen(url, timeout=5) as answer:  # noqa: S310  # an http address that `dev` printed
                mails: list[dict[str, Any]] = json.load(answer)
            if mails:
                return str(mails[-1]["code"])
        raise AssertionError(f"no mail to {address}")
