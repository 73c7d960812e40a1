"""Codes sent by mail: a try is counted and compared in one statement, and a right code is used up once."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from authsvc.domain import Medium, UsernameKey
from authsvc.store import codes, ended
from authsvc.store.codes import NewCode, Try, Used
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from tests.clock import TICK, FakeClock

TTL = timedelta(hours=1)
MOST_WRONG = 5
RIGHT = Try(is_right=True, is_superseded=False)
WRONG = Try(is_right=False, is_superseded=False)
SUPERSEDED = Try(is_right=False, is_superseded=True)


@dataclass
class Codes:
    """Issue and try codes of "ada" at times of the test's choosing; a digest is the code's own bytes."""

    database: Database
    now: datetime

    async def issue(self, code: bytes, *, purpose: str = "SIGN_UP", at: timedelta = timedelta()) -> None:
        """Issue a code that lives an hour."""
        now = self.now + at
        new = NewCode(
            username_key=UsernameKey("ada"), purpose=purpose, digest=code, expires_at=now + TTL, medium=Medium.EMAIL
        )
        await codes.issue(self.database, code=new, now=now)

    async def spend(self, *digests: bytes, purpose: str = "SIGN_UP", at: timedelta = timedelta()) -> Try | None:
        """Try a code."""
        return await codes.spend_try(
            self.database,
            username_key=UsernameKey("ada"),
            purpose=purpose,
            digests=list(digests),
            now=self.now + at,
            max_wrong=MOST_WRONG,
        )

    async def consume(self, *digests: bytes, purpose: str = "SIGN_UP", at: timedelta = timedelta()) -> bool:
        """Use a code up."""
        used = await codes.consume(
            self.database, username_key=UsernameKey("ada"), purpose=purpose, digests=list(digests), now=self.now + at
        )
        assert used in (None, Used(Medium.EMAIL, None))
        return used is not None


@pytest.fixture
def mail_codes(database: Database, clock: FakeClock) -> Codes:
    """Return what issues and tries codes now."""
    return Codes(database, clock.now())


async def test_code_is_right_until_it_expires(mail_codes: Codes) -> None:
    """A code can be tried one tick before its end, not at it."""
    await mail_codes.issue(b"1")
    assert await mail_codes.spend(b"1", at=TTL - TICK) == RIGHT
    assert await mail_codes.spend(b"1", at=TTL) is None


async def test_code_can_be_used_until_it_expires(mail_codes: Codes) -> None:
    """A code that was right a moment ago is not used up at its end."""
    await mail_codes.issue(b"1")
    assert not await mail_codes.consume(b"1", at=TTL)
    assert await mail_codes.consume(b"1", at=TTL - TICK)


async def test_last_allowed_try_is_compared_and_the_next_is_not(mail_codes: Codes) -> None:
    """Four wrong tries leave a fifth that can be right; after five wrong ones even the right code is dead."""
    await mail_codes.issue(b"1")
    assert [await mail_codes.spend(b"2") for _ in range(MOST_WRONG - 1)] == [WRONG] * (MOST_WRONG - 1)
    assert await mail_codes.spend(b"1") == RIGHT
    await mail_codes.issue(b"1")
    assert [await mail_codes.spend(b"2") for _ in range(MOST_WRONG)] == [WRONG] * MOST_WRONG
    assert await mail_codes.spend(b"1") is None


async def test_tries_at_once_are_all_counted(mail_codes: Codes) -> None:
    """Of twenty wrong tries at once five are compared."""
    await mail_codes.issue(b"1")
    outcomes = await asyncio.gather(*(mail_codes.spend(b"2") for _ in range(20)))
    assert sorted(outcomes, key=str) == [None] * 15 + [WRONG] * 5


async def test_new_code_replaces_the_old_one_and_its_tries(mail_codes: Codes) -> None:
    """A replaced code is told from a wrong one but counts like it; the new one has all its tries."""
    await mail_codes.issue(b"1")
    for _ in range(MOST_WRONG):
        await mail_codes.spend(b"2")
    await mail_codes.issue(b"3", at=TICK)
    assert [await mail_codes.spend(b"1") for _ in range(MOST_WRONG - 1)] == [SUPERSEDED] * (MOST_WRONG - 1)
    assert not await mail_codes.consume(b"1")
    assert await mail_codes.spend(b"3", at=TTL) == RIGHT
    assert await mail_codes.spend(b"1") is None


async def test_ten_replaced_codes_are_remembered(mail_codes: Codes) -> None:
    """The tenth code before the last is known as replaced, the eleventh is as wrong as any other."""
    for number in range(12):
        await mail_codes.issue(bytes([number]))
    assert await mail_codes.spend(bytes([11])) == RIGHT
    assert await mail_codes.spend(bytes([1])) == SUPERSEDED
    assert await mail_codes.spend(bytes([0])) == WRONG


async def test_code_issued_again_is_right_though_it_was_replaced(mail_codes: Codes) -> None:
    """When chance makes a former code the new one it is right."""
    for code in (b"1", b"2", b"1"):
        await mail_codes.issue(code)
    assert await mail_codes.spend(b"1") == Try(is_right=True, is_superseded=True)
    assert await mail_codes.consume(b"1")


async def test_code_is_found_by_the_digest_of_any_master_key(mail_codes: Codes) -> None:
    """A code stays right when the digest that was stored is not the first of those looked for."""
    await mail_codes.issue(b"old key")
    assert await mail_codes.spend(b"new key", b"old key") == RIGHT
    assert await mail_codes.consume(b"new key", b"old key")


async def test_one_of_many_uses_at_once_uses_the_code_up(mail_codes: Codes) -> None:
    """Ten uses of one code at once are one use."""
    await mail_codes.issue(b"1")
    assert sorted(await asyncio.gather(*(mail_codes.consume(b"1") for _ in range(10)))) == [False] * 9 + [True]
    assert await mail_codes.spend(b"1") is None


async def test_codes_of_two_purposes_know_nothing_of_each_other(mail_codes: Codes) -> None:
    """A sign-up code resets no password, and its replacement leaves the reset code alone."""
    await mail_codes.issue(b"1", purpose="SIGN_UP")
    await mail_codes.issue(b"2", purpose="RESET_PASSWORD")
    assert await mail_codes.spend(b"1", purpose="RESET_PASSWORD") == WRONG
    assert not await mail_codes.consume(b"1", purpose="RESET_PASSWORD")
    assert await mail_codes.consume(b"1", purpose="SIGN_UP")
    assert await mail_codes.consume(b"2", purpose="RESET_PASSWORD")


async def test_forgiving_gives_a_right_code_its_tries_back(mail_codes: Codes) -> None:
    """Who knew the code has all tries again; who did not has none."""
    await mail_codes.issue(b"1")
    for _ in range(MOST_WRONG):
        await mail_codes.spend(b"2")
    await codes.forgive(mail_codes.database, username_key=UsernameKey("ada"), purpose="SIGN_UP", digests=[b"2"])
    assert await mail_codes.spend(b"1") is None
    await codes.forgive(mail_codes.database, username_key=UsernameKey("ada"), purpose="SIGN_UP", digests=[b"1"])
    assert await mail_codes.spend(b"1") == RIGHT


async def test_name_without_a_code_has_none_to_try(mail_codes: Codes) -> None:
    """A try at a code that was never issued finds none and leaves nothing behind."""
    assert await mail_codes.spend(b"1") is None
    assert not await mail_codes.consume(b"1")
    assert await mail_codes.database.fetchval("select count(*) from codes") == 0


async def test_purge_takes_expired_codes_up_to_its_limit(mail_codes: Codes) -> None:
    """A code goes once its end is not after the given time, so many at a time."""
    for number in range(4):
        new = NewCode(
            username_key=UsernameKey(f"u{number}"),
            purpose="SIGN_UP",
            digest=b"1",
            expires_at=mail_codes.now + (TICK if number == 3 else timedelta()),
            medium=Medium.EMAIL,
        )
        await codes.issue(mail_codes.database, code=new, now=mail_codes.now)

    async def purge() -> int:
        return await ended.purge(mail_codes.database, what=Ended.CODES, before=mail_codes.now, limit=2)

    assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert await mail_codes.database.fetchval("select username_key from codes") == "u3"
