"""The SMS webhook is down, or takes for ever."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from argon2 import PasswordHasher

from authsvc.clock import SystemClock
from authsvc.config import load
from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import Mailbox
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator, new_key
from tests.admin.transfers import import_rows, record
from tests.mail.webhook import KEY
from tests.processes import ServerProcess, environment, free_port, serving
from tests.service import PASSWORD
from tests.starts import COMMAND
from tests.waiting import until

ROUNDS = 2
SIGN_INS = 12
STATES = ("well", "hangs", "down")
# Generous: what it must not be is the seconds that a connection, or a time limit, takes.
MOST_TIMES = 2.0


@contextmanager
def webhook(port: int, folder: Path, state: str) -> Iterator[None]:
    """Run the catcher as the webhook, in a process of its own: well, hanging until the end, or killed."""
    options = ["--smtp-port", "0", "--http-port", str(port), "--folder", str(folder)]
    env = {**os.environ, "AUTHSVC_SMS_WEBHOOK_SECRET": KEY}
    with subprocess.Popen([*COMMAND, "catcher", *options], env=env, stdout=subprocess.PIPE) as process:
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


def number_of(index: int) -> str:
    """Return a user's phone number."""
    return f"+49151123456{index:02d}"


async def make_users(server: ServerProcess, count: int) -> None:
    """Make accounts whose second factor is SMS."""
    key = await new_key(load(server.environment), SystemClock(), "ops", timedelta(hours=1))
    # Hashed as the server does, which renews no hash then.
    password_hash = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await import_rows(
            Operator(channel, key),
            *(
                record(
                    f"user-{index}",
                    attributes={"email": f"user-{index}@example.com", "phone_number": number_of(index)},
                    phone_number_verified=True,
                    sms_mfa=True,
                    password_hash=password_hash,
                )
                for index in range(count)
            ),
        )


@pytest.mark.serial
async def test_replies(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """Whether the webhook is well, hangs or is down, sign-ins are answered alike, and in the same time.

    When it is well again, all SMS arrive.
    """
    port, folder = free_port(), tmp_path / "mail"
    env = environment(
        database_url,
        master_key=master_key.line(),
        smtp_port=free_port(),
        ACCOUNTS_CONFIRM_SIGN_UP="false",
        ACCOUNTS_MFA_TYPES="TOTP,SMS",
        SMS_WEBHOOK_URL=f"http://127.0.0.1:{port}/sms",
        SMS_WEBHOOK_SECRET=KEY,
        SMS_WEBHOOK_TIMEOUT_SECONDS="5",
        MAIL_BACKOFF_FIRST_SECONDS="1",
        MAIL_BACKOFF_MAX_SECONDS="10",
        MAIL_POLL_INTERVAL_SECONDS="0.5",
    )
    steps: set[tuple[int, int]] = set()
    times: dict[str, list[float]] = defaultdict(list)
    users = itertools.count()
    count = ROUNDS * len(STATES) * SIGN_INS
    async with serving(server := ServerProcess(env, tmp_path / "server.log")):
        await make_users(server, count)
        for _, state in itertools.product(range(ROUNDS), STATES):
            with webhook(port, folder, state):
                for _ in range(SIGN_INS):
                    request = pb.SignInRequest(username=f"user-{next(users)}", password=PASSWORD)
                    started = time.monotonic()
                    answer = await server.stub.SignIn(request)
                    times[state].append(time.monotonic() - started)
                    steps.add((answer.next_step.step, answer.next_step.code_delivery.medium))
        assert len(steps) == 1
        usual = statistics.median(times["well"])
        assert statistics.median(times["hangs"]) < MOST_TIMES * usual
        assert statistics.median(times["down"]) < MOST_TIMES * usual

        with webhook(port, folder, "well"):

            async def all_came() -> bool:
                caught = await asyncio.to_thread(Mailbox(folder=folder).read)
                return {mail.recipient for mail in caught} == {number_of(index) for index in range(count)}

            await until(all_came, patience=40)
