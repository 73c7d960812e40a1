"""The SMTP server is down, or takes for ever."""

from __future__ import annotations

import itertools
import signal
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import Mailbox
from authsvc.v1 import auth_service_pb2 as pb
from tests.client import email_of
from tests.processes import ServerProcess, environment, free_port, serving
from tests.service import PASSWORD
from tests.starts import COMMAND
from tests.waiting import until

ROUNDS = 3
SIGN_UPS = 15
# Generous: what it must not be is the seconds that a connection, or a time limit, takes.
MOST_TIMES = 2.0


@contextmanager
def smtp_server(port: int, folder: Path, state: str) -> Iterator[None]:
    """Run the SMTP server in a process of its own: well, hanging until the end, or killed."""
    options = ["--smtp-port", str(port), "--http-port", "0", "--folder", str(folder)]
    with subprocess.Popen([*COMMAND, "catcher", *options], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # Its first line says that it listens.
        assert process.stdout.readline()
        if state == "hangs":
            # The kernel takes connections for it still.
            process.send_signal(signal.SIGSTOP)
        if state == "down":
            process.kill()
            process.wait()
        yield
        process.kill()


async def sign_up(server: ServerProcess, username: str) -> tuple[bytes, float]:
    """Sign up; return the next step and the time it took to hear of it."""
    attributes = {"email": email_of(username)}
    started = time.monotonic()
    answer = await server.stub.SignUp(pb.SignUpRequest(username=username, password=PASSWORD, attributes=attributes))
    return answer.next_step.SerializeToString(), time.monotonic() - started


@pytest.mark.serial
async def test_replies(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """Whether the SMTP server is well, hangs or is down, sign-ups are answered alike, and in the same time.

    When it is well again, all mail arrives.
    """
    port, folder = free_port(), tmp_path / "mail"
    env = environment(
        database_url,
        master_key=master_key.line(),
        smtp_port=port,
        MAIL_BACKOFF_FIRST_SECONDS="1",
        MAIL_BACKOFF_MAX_SECONDS="10",
        MAIL_POLL_INTERVAL_SECONDS="0.5",
    )
    addresses: set[str] = set()
    steps: set[bytes] = set()
    times: dict[str, list[float]] = defaultdict(list)
    async with serving(server := ServerProcess(env, tmp_path / "server.log")):
        for round_, state in itertools.product(range(ROUNDS), ("well", "hangs", "down")):
            with smtp_server(port, folder, state):
                for number in range(SIGN_UPS):
                    addresses.add(email_of(name := f"user-{state}-{round_}-{number}"))
                    step, seconds = await sign_up(server, name)
                    steps.add(step)
                    times[state].append(seconds)
        assert len(steps) == 1
        usual = statistics.median(times["well"])
        assert statistics.median(times["hangs"]) < MOST_TIMES * usual
        assert statistics.median(times["down"]) < MOST_TIMES * usual

        with smtp_server(port, folder, "well"):

            async def all_came() -> bool:
                return addresses <= {mail.recipient for mail in Mailbox(folder=folder).read()}

            await until(all_came, patience=40)
