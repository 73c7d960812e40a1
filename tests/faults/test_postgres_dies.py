"""Postgres dies, stands still, or is not there yet."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest

from authsvc.dev.mailbox import Mailbox
from authsvc.dev.postgres import EmbeddedPostgres
from tests.client import Client, email_of
from tests.processes import ServerProcess, serving
from tests.service import Failure, failure_of
from tests.waiting import until

pytestmark = pytest.mark.serial

AT_ONCE = 8


class SignUps:
    """Sign up one user after the other, and remember what was acknowledged and what was not."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.acknowledged: list[str] = []
        self.failures: list[tuple[Failure, float]] = []

    async def keep_on(self, worker: int, until_set: asyncio.Event) -> None:
        """Go on until told otherwise."""
        number = 0
        while not until_set.is_set():
            number += 1
            username = f"user-{worker}-{number}"
            started = time.monotonic()
            try:
                await self._client.sign_up(username)
            except grpc.aio.AioRpcError as error:
                self.failures.append((failure_of(error), time.monotonic() - started))
                await asyncio.sleep(0.05)
            else:
                self.acknowledged.append(username)

    async def have_grown(self, by: int) -> None:
        """Return once so many more were acknowledged."""
        goal = len(self.acknowledged) + by

        async def is_reached() -> bool:
            return len(self.acknowledged) >= goal

        await until(is_reached)


async def test_sign_ups(
    mortal: EmbeddedPostgres, mortal_environment: dict[str, str], mailbox: Mailbox, tmp_path: Path
) -> None:
    """Postgres is killed amid sign-ups: none that was acknowledged is lost, nor its mail; the server recovers itself.

    Meanwhile calls are told at once, and by the right reason, to come back later.
    """
    server = ServerProcess(mortal_environment, tmp_path / "server.log")
    async with serving(server):
        client = Client(server.stub, mailbox)
        sign_ups, done = SignUps(client), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for worker in range(AT_ONCE):
                tasks.create_task(sign_ups.keep_on(worker, done))
            await sign_ups.have_grown(by=40)
            await asyncio.to_thread(mortal.kill)
            await server.wait_for_health("NOT_SERVING")
            await asyncio.sleep(1)
            await asyncio.to_thread(mortal.start)
            await server.wait_for_health("SERVING")
            await sign_ups.have_grown(by=40)
            done.set()

        assert len(sign_ups.failures) >= AT_ONCE
        for failure, seconds in sign_ups.failures:
            assert failure.reason == "DATABASE_UNAVAILABLE"
            assert failure.retry_after is not None
            assert failure.retry_after > timedelta()
            assert seconds < 2
        connection = await asyncpg.connect(mortal.dsn())
        # Mails that were on their way at the time of the death wait for the end of their leases: minutes, skipped here.
        await connection.execute("update outbox set leased_until = now() where leased_until is not null")
        for username in sign_ups.acknowledged:
            await client.confirm(username, await client.code(username))

        # An account whose sign-up was never answered, because it was committed at the last moment, is whole as well.
        made = {row["email"] for row in await connection.fetch("select email from users")}
        await connection.close()
        assert made >= {email_of(username) for username in sign_ups.acknowledged}

        async def all_have_mail() -> bool:
            return made == {mail.recipient for mail in mailbox.read()}

        await until(all_have_mail)
