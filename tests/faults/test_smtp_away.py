"""The SMTP server is down, or takes for ever."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from authsvc.crypto.sealing import MasterKey
from authsvc.v1 import auth_service_pb2 as pb
from tests.client import email_of
from tests.mail.smtp_server import SmtpServer
from tests.processes import ServerProcess, environment, free_port, serving
from tests.service import PASSWORD
from tests.waiting import until

ROUNDS = 5
SIGN_UPS = 10
# Generous: what it must not be is the seconds that a connection, or a time limit, takes.
MOST_TIMES = 2.0


@asynccontextmanager
async def smtp_server(port: int, state: str, came: set[str]) -> AsyncIterator[None]:
    """Run the SMTP server that is well or hangs, or is not there; note whose mail came."""
    if state == "down":
        yield
        return
    async with SmtpServer(port=port) as server:
        if state == "hangs":
            server.hangs.add("EHLO")
        yield
        came.update(mail.recipient for mail in server.received)


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
    port = free_port()
    env = environment(
        database_url,
        master_key=master_key.line(),
        smtp_port=port,
        MAIL_BACKOFF_FIRST_SECONDS="1",
        MAIL_BACKOFF_MAX_SECONDS="10",
        MAIL_POLL_INTERVAL_SECONDS="0.5",
    )
    names: set[str] = set()
    came: set[str] = set()
    steps: set[bytes] = set()
    times: dict[str, list[float]] = defaultdict(list)
    async with serving(server := ServerProcess(env, tmp_path / "server.log")):
        for round_, state in itertools.product(range(ROUNDS), ("well", "hangs", "down")):
            async with smtp_server(port, state, came):
                for number in range(SIGN_UPS):
                    names.add(name := f"user-{state}-{round_}-{number}")
                    step, seconds = await sign_up(server, name)
                    steps.add(step)
                    times[state].append(seconds)
        assert len(steps) == 1
        usual = statistics.median(times["well"])
        assert statistics.median(times["hangs"]) < MOST_TIMES * usual
        assert statistics.median(times["down"]) < MOST_TIMES * usual

        async with SmtpServer(port=port) as smtp:

            async def all_came() -> bool:
                return {email_of(name) for name in names} <= came | {mail.recipient for mail in smtp.received}

            await until(all_came, patience=40)
