"""More sign-ins than the processors, or the connections, can serve."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import Mailbox
from authsvc.v1.sign_in_step_pb2 import SignInStep
from authsvc.v1.tokens_pb2 import Tokens
from tests.client import Client, at_once, reasons, succeeded
from tests.processes import DEAR_HASHES, ServerProcess, environment, serving
from tests.service import Failure

pytestmark = pytest.mark.serial

_T = TypeVar("_T")
SIGN_INS = 50
# A hundred times what FetchAuthSession takes on its own.
LONG_SECONDS = 0.5


async def fetch_meanwhile(client: Client, tokens: Tokens, work: asyncio.Task[Any]) -> list[float]:
    """Ask for a session now and then while other work goes on; return how long each answer took."""
    times = []
    while not work.done():
        started = time.monotonic()
        assert await client.is_signed_in(tokens)
        times.append(time.monotonic() - started)
        # Leave the processors to the work.
        await asyncio.sleep(0.02)
    return times


async def storm_of(call: Callable[[int], Awaitable[_T]]) -> list[_T]:
    """Make so many calls at once."""
    return await asyncio.gather(*(call(number) for number in range(SIGN_INS)))


async def test_hash_queue(
    database_url: str, master_key: MasterKey, catcher: MailCatcher, mailbox: Mailbox, tmp_path: Path
) -> None:
    """What the hash queue has no room for is refused at once, with a time to retry; other calls go on as ever."""
    settings = {**DEAR_HASHES, "PASSWORDS_HASH_THREADS": "1", "PASSWORDS_HASH_QUEUE": "4"}
    env = environment(database_url, master_key=master_key.line(), smtp_port=catcher.port, **settings)
    async with serving(server := ServerProcess(env, tmp_path / "server.log")):
        client = Client(server.stub, mailbox)
        user = await client.enrolled("ada")
        refused_after = []

        async def sign_in(number: int) -> Failure:
            started = time.monotonic()
            (outcome,) = await at_once([client.sign_in(f"nobody-{number}")])
            assert isinstance(outcome, Failure)
            if outcome.reason == "OVERLOADED":
                refused_after.append(time.monotonic() - started)
            return outcome

        async with asyncio.TaskGroup() as tasks:
            storm = tasks.create_task(storm_of(sign_in))
            fetching = tasks.create_task(fetch_meanwhile(client, user.tokens, storm))
        outcomes = storm.result()
        counts = Counter(reasons(outcomes))
        # One runs and four wait; while they take their time a few of the last may find room.
        assert 5 <= counts["NOT_AUTHORIZED"] < SIGN_INS // 2
        assert counts["OVERLOADED"] == SIGN_INS - counts["NOT_AUTHORIZED"]
        waits = [outcome.retry_after for outcome in outcomes if outcome.reason == "OVERLOADED"]
        assert all(wait is not None and wait > timedelta() for wait in waits)
        assert max(refused_after) < LONG_SECONDS
        assert len(fetching.result()) > 10
        assert max(fetching.result()) < LONG_SECONDS
        assert (await client.sign_in("ada")).session, "once the storm is over, sign-ins work"


async def test_connections(
    database_url: str, master_key: MasterKey, catcher: MailCatcher, mailbox: Mailbox, tmp_path: Path
) -> None:
    """Fifty sign-ins hash for seconds on a pool of two connections: all succeed, and others are served meanwhile.

    Were a connection held while a password is hashed, the rest would wait for one longer than they may.
    """
    settings = {**DEAR_HASHES, "DATABASE_POOL_SIZE": "2", "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "1"}
    env = environment(database_url, master_key=master_key.line(), smtp_port=catcher.port, **settings)
    async with serving(server := ServerProcess(env, tmp_path / "server.log")):
        client = Client(server.stub, mailbox)
        user = await client.enrolled("ada")
        await copy_user(database_url, SIGN_INS)
        async with asyncio.TaskGroup() as tasks:
            storm = tasks.create_task(at_once([client.sign_in(f"user-{number}") for number in range(SIGN_INS)]))
            fetching = tasks.create_task(fetch_meanwhile(client, user.tokens, storm))
        assert reasons(storm.result()) == []
        assert {answer.next_step.step for answer in succeeded(storm.result())} == {
            SignInStep.SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP
        }
        assert len(fetching.result()) > 10
        assert max(fetching.result()) < LONG_SECONDS


async def copy_user(database_url: str, copies: int) -> None:
    """Make confirmed accounts with the password of the only one there is, without the time to hash it."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "insert into users (user_id, username, username_key, status, created_at)"
        " select gen_random_uuid(), name, name, 'CONFIRMED', now()"
        " from (select 'user-' || n from generate_series(0, $1::int - 1) n) as made (name)",
        copies,
    )
    await connection.execute(
        "insert into passwords (user_id, hash, changed_at)"
        " select user_id, (select hash from passwords), now() from users where username like 'user-%'"
    )
    await connection.close()
