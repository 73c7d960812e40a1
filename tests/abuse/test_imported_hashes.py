"""Passwords hashed elsewhere tell themselves by nothing, and cost the others nothing."""

from __future__ import annotations

import asyncio
import time

import bcrypt
import pytest

from authsvc.app import MEASURING_INTERVAL
from authsvc.store.db import Database
from tests.client import at_once, reasons
from tests.clock import FakeClock
from tests.rpc.conftest import Run, run
from tests.service import PASSWORD, Service, fails
from tests.waiting import until

__all__ = ["run"]

# About 60 ms, where the hashes of tests take less than one.
BCRYPT = bcrypt.hashpw(PASSWORD.encode(), b"$2b$10$abcdefghijklmnopqrstuu").decode()
WRONG = "another one of 20 letters"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note the passwords that bcrypt is asked about."""
    asked: list[bytes] = []
    check = bcrypt.checkpw

    def note(password: bytes, hashed: bytes) -> bool:
        asked.append(password)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", note)
    return asked


async def imported(service: Service, database: Database) -> None:
    """Make ada an account whose password another system hashed, and bob one of our own."""
    await service.confirmed("ada")
    await service.confirmed("bob")
    await database.execute(
        "update passwords set hash = $1 where user_id = (select user_id from users where username = 'ada')", BCRYPT
    )


async def seconds_of_refusal(service: Service, name: str) -> float:
    """Return how long a refused sign-in takes."""
    started = time.monotonic()
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(name, password=WRONG)
    return time.monotonic() - started


async def test_refusal_takes_as_long_for_every_name(
    service: Service, database: Database, clock: FakeClock, counted: list[bytes]
) -> None:
    """A wrong password is refused as late for a name that nobody has as for the dearest imported hash.

    OWASP ASVS 5, 6.3.8: valid users cannot be deduced from failed authentication, by different response times either.
    """
    await imported(service, database)
    counted.clear()
    clock.advance(MEASURING_INTERVAL)

    async def is_measured() -> bool:
        return bool(counted)

    await until(is_measured)
    await asyncio.sleep(0.3)
    times = {name: [await seconds_of_refusal(service, name) for _ in range(3)] for name in ("ada", "bob", "nobody")}
    dearest = min(times["ada"])
    assert min(times["bob"]) >= dearest / 2, "hashes take longer beside other work, but not twice"
    assert min(times["nobody"]) >= dearest / 2
    started = time.monotonic()
    assert (await service.sign_in("bob")).session
    assert time.monotonic() - started < dearest, "who knows the password waits for nothing"


async def test_imported_hash_is_verified_once(service: Service, database: Database, counted: list[bytes]) -> None:
    """However a password is typed, the imported hash is computed once for it, and never again after a right one.

    OWASP ASVS 5, 6.3.8.
    """
    await imported(service, database)
    counted.clear()
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password="re\u0301sume\u0301-under-9-lakes")
    assert len(counted) == 1
    assert (await service.sign_in("ada")).session
    assert (await service.sign_in("ada")).session
    assert len(counted) == 2


async def test_imported_hashes_wait_apart(run: Run, database: Database) -> None:
    """Tries at an imported hash find no place beyond their own few, and take none from other sign-ins.

    OWASP ASVS 5, 2.4.1: anti-automation controls protect against the exhaustion of costly work.
    """
    async with run(passwords={"imported_hash_queue": 2, "hash_queue": 10}, limits={"lock_from": 50}) as service:
        await imported(service, database)
        flood = asyncio.gather(at_once(service.sign_in("ada", password=WRONG) for _ in range(8)))
        await asyncio.sleep(0.05)
        assert (await service.sign_in("bob")).session
        refused = reasons((await flood)[0])
        # One runs and two wait; meanwhile some of the rest may find room.
        assert refused.count("NOT_AUTHORIZED") >= 3
        assert refused.count("OVERLOADED") >= 1
        assert len(refused) == 8
