"""SMS of a server process: to the example receiver, past a SIGKILL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.clock import SystemClock
from authsvc.core.messages.kinds import Recipient, SignInCode
from authsvc.core.messages.notices import Notices
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.domain import Medium
from authsvc.store.db import Database
from tests.hooks.sms_receiver import SmsReceiver
from tests.mail.webhook import KEY, Webhook
from tests.processes import ServerProcess, environment, free_port, serving
from tests.waiting import until

# The shortest that the settings allow.
LEASE_SECONDS = 30
NUMBER = "+4915112345678"


def settings(database_url: str, master_key: MasterKey, url: str, **changes: str) -> dict[str, str]:
    """Return the settings of a server that posts SMS there."""
    return environment(
        database_url,
        master_key=master_key.line(),
        smtp_port=free_port(),
        SMS_WEBHOOK_URL=url,
        SMS_WEBHOOK_SECRET=KEY,
        MAIL_POLL_INTERVAL_SECONDS="0.5",
        MAIL_BACKOFF_FIRST_SECONDS="1",
        **changes,
    )


async def owe(database: Database, ring: KeyRing, number: str, code: str) -> None:
    """Owe an SMS as a sign-in does."""
    now = SystemClock().now()
    async with database.transaction() as transaction:
        await Notices(ring=ring).enqueue(
            transaction,
            SignInCode(code),
            Recipient(to=number, username="ada"),
            medium=Medium.SMS,
            now=now,
            expires_at=now + timedelta(minutes=3),
        )


@asynccontextmanager
async def outbox_of(database: Database) -> AsyncIterator[None]:
    """See that nothing waits in the outbox at the end."""
    yield

    async def is_empty() -> bool:
        return not await database.fetchval("select exists (select from outbox where state = 'QUEUED')")

    await until(is_empty)


async def test_sms_reaches_the_example(
    database: Database, ring: KeyRing, database_url: str, master_key: MasterKey, tmp_path: Path
) -> None:
    """What a server process signs, the example takes, each message once; the log has neither number nor code."""
    with SmsReceiver(KEY, tmp_path) as receiver:
        server = ServerProcess(
            settings(database_url, master_key, receiver.url, LOG_LEVEL="debug"), tmp_path / "server.log"
        )
        async with serving(server), outbox_of(database):
            for digit in "12":
                await owe(database, ring, f"{NUMBER[:-1]}{digit}", f"48151{digit}")
    assert sorted(receiver.printed()) == [
        f"to {NUMBER[:-1]}{digit}: Your verification code is 48151{digit}" for digit in "12"
    ]
    assert "mail sent" in server.log()
    for secret in (NUMBER[1:-1], "48151", KEY):
        assert secret not in server.log()


@pytest.mark.timeout(120)
async def test_sms_of_a_killed_server(
    database: Database, ring: KeyRing, database_url: str, master_key: MasterKey, tmp_path: Path
) -> None:
    """SIGKILL while the webhook has an SMS and has not said so: it comes again with the same id and body."""
    async with Webhook() as webhook:
        webhook.is_silent = True
        env = settings(database_url, master_key, webhook.url, MAIL_LEASE_SECONDS=str(LEASE_SECONDS))
        env |= {"AUTHSVC_MAIL_SEND_TIMEOUT_SECONDS": "15"}
        async with serving(server := ServerProcess(env, tmp_path / "server.log")):
            await owe(database, ring, NUMBER, "481516")
            await webhook.wait_for(1)
            await server.kill()
        webhook.is_silent = False
        webhook.release.set()
        async with serving(server):

            async def has_come_again() -> bool:
                return len(webhook.posted) >= 2

            await until(has_come_again, patience=LEASE_SECONDS + 10)
    first, second = webhook.posted
    assert first.body == second.body
    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
    assert first.is_signed()
    assert second.is_signed()
