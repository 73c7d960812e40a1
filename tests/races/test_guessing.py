"""Two hundred guesses at once on two servers with the limits as they come: few of them are looked at."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.client import Client, reasons
from tests.processes import DEAR_HASHES
from tests.races.conftest import Arena, open_arena
from tests.service import PASSWORD, Failure

GUESSES = 200
LOCK_FROM = 5


@pytest.fixture
async def arena(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> AsyncIterator[Arena]:
    """Run two servers with the default limits for accounts."""
    async with open_arena(database_url, tmp_path, **getattr(request, "param", {})) as running:
        yield running


def allowed(seconds: float) -> int:
    """Return how many guesses the locks let through in so many seconds: five, then after 1, 3, 7, … s one each."""
    return LOCK_FROM + int(math.log2(seconds + 1))


async def counted(database_url: str, factor: str) -> int:
    """Return how many failures in a row are on record."""
    connection = await asyncpg.connect(database_url)
    count: int = await connection.fetchval("select count from failures where split_part(factor, ' ', 1) = $1", factor)
    await connection.close()
    return count


@pytest.mark.serial
@pytest.mark.parametrize("arena", [DEAR_HASHES], indirect=True)
async def test_passwords(arena: Arena) -> None:
    """Of wrong passwords no more are hashed than the lock lets through, and all that are not are told when to retry."""
    first, second = arena.servers
    before = first.hash_cpu_seconds()
    await arena.client.confirmed("ada")
    one_hash = first.hash_cpu_seconds() - before

    before = first.hash_cpu_seconds() + second.hash_cpu_seconds()
    started = time.monotonic()
    outcomes = await arena.race(GUESSES, lambda client, number: client.sign_in("ada", f"wrong password {number}"))
    seconds = time.monotonic() - started
    hashing = first.hash_cpu_seconds() + second.hash_cpu_seconds() - before

    evaluated = Counter(reasons(outcomes))["NOT_AUTHORIZED"]
    assert LOCK_FROM <= evaluated <= allowed(seconds)
    assert Counter(reasons(outcomes))["LIMIT_EXCEEDED"] == GUESSES - evaluated
    assert await counted(arena.dsn, "PASSWORD") == evaluated
    # Twice, because hashes that run side by side take each other's caches. All of them would take twenty times as much.
    assert hashing < 2 * evaluated * one_hash
    await asyncio.sleep(longest_wait(outcomes).total_seconds())
    assert (await arena.client.sign_in("ada")).session, "the right password is let in at the time that was told"


def longest_wait(outcomes: Sequence[object]) -> timedelta:
    """Return the longest wait among refusals that must all tell one."""
    refused = [outcome for outcome in outcomes if isinstance(outcome, Failure) and outcome.reason == "LIMIT_EXCEEDED"]
    waits = [failure.retry_after for failure in refused if failure.retry_after is not None]
    assert len(waits) == len(refused)
    return max(waits)


async def test_totp_codes(arena: Arena) -> None:
    """Of wrong TOTP codes, spread over forty half-done sign-ins, no more are compared than the lock lets through."""
    user = await arena.client.enrolled("ada")
    sessions = [(await arena.client.sign_in("ada")).session for _ in range(GUESSES // 5)]
    right = user.authenticator.codes_around_now()
    wrong = next(code for code in ("000000", "111111", "222222", "333333", "444444") if code not in right)
    started = time.monotonic()
    outcomes = await arena.race(GUESSES, lambda client, number: client.answer(sessions[number % len(sessions)], wrong))
    seconds = time.monotonic() - started
    counts = Counter(reasons(outcomes))
    assert LOCK_FROM <= counts["CODE_MISMATCH"] <= allowed(seconds)
    assert counts["LIMIT_EXCEEDED"] == GUESSES - counts["CODE_MISMATCH"]
    assert await counted(arena.dsn, "TOTP") == counts["CODE_MISMATCH"]


async def test_reset_codes(arena: Arena) -> None:
    """Of wrong reset codes five are compared; then the code is burned, and the right one is no use any more."""
    await arena.client.confirmed("ada")
    before = arena.mailbox.last_number()
    await arena.client.stub.ResetPassword(pb.ResetPasswordRequest(username="ada"))
    code = await arena.client.code("ada", after=before)

    async def reset(client: Client, guess: str) -> None:
        request = pb.ConfirmResetPasswordRequest(
            username="ada", confirmation_code=guess, new_password=f"{PASSWORD}-new"
        )
        await client.stub.ConfirmResetPassword(request)

    wrong = f"{(int(code) + 1) % 10**8:08d}"
    outcomes = await arena.race(GUESSES, lambda client, _number: reset(client, wrong))
    counts = Counter(reasons(outcomes))
    assert counts["CODE_MISMATCH"] == LOCK_FROM
    assert set(counts) <= {"CODE_MISMATCH", "LIMIT_EXCEEDED", "CODE_EXPIRED"}
    await asyncio.sleep(longest_wait(outcomes).total_seconds())
    outcomes = await arena.race(1, lambda client, _number: reset(client, code))
    assert set(reasons(outcomes)) == {"CODE_EXPIRED"}
