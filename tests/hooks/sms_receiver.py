"""The example receiver of SMS in a process of its own, and its lines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.waiting import PATIENCE, POLL_SECONDS

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "examples/sms_receiver/receiver.py"


class SmsReceiver:
    """Run the example on a free port, with keys."""

    def __init__(self, keys: str, folder: Path) -> None:
        self._keys = keys
        self._output = folder / "receiver.out"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, PROGRAM, "--port", "0"],
                cwd=ROOT,
                env={**os.environ, "AUTHSVC_SMS_WEBHOOK_SECRET": self._keys},
                stdout=output,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._output.read_text().endswith("\n"):
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        self.url = self._output.read_text().split()[-1]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def printed(self) -> list[str]:
        """Return the messages that it sent, in place of a gateway."""
        return self._output.read_text().splitlines()[1:]
