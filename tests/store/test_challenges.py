"""Challenge sessions: alive for a time and a number of answers, used up once."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from authsvc.domain import DeviceId, UserId, UsernameKey
from authsvc.store import challenges, ended
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from authsvc.store.factors import totp as totp_devices
from tests.clock import TICK, FakeClock
from tests.store.rows import DAY, insert_user

TTL = timedelta(minutes=3)
MOST_WRONG = 5


@dataclass
class Challenges:
    """Start and answer challenge sessions of one account at times of the test's choosing."""

    database: Database
    now: datetime
    user_id: UUID = field(default_factory=uuid4)

    async def insert(
        self, digest: bytes = b"1", *, user_id: UUID | None = None, device_id: UUID | None = None, ttl: timedelta = TTL
    ) -> None:
        """Start a session."""
        await challenges.insert(
            self.database,
            challenge=Challenge(
                digest=digest,
                user_id=UserId(user_id or self.user_id),
                username_key=UsernameKey("ada"),
                step="CONFIRM_SIGN_IN_WITH_TOTP_CODE",
                proved=["pwd"],
                totp_device_id=DeviceId(device_id) if device_id else None,
                expires_at=self.now + ttl,
            ),
            now=self.now,
            kept=99,
        )

    async def find(self, *digests: bytes, at: timedelta = timedelta()) -> Challenge | None:
        """Find a live session."""
        return await challenges.find_live(
            self.database, digests=list(digests or (b"1",)), now=self.now + at, max_wrong=MOST_WRONG
        )

    async def answer(self, *, at: timedelta = timedelta()) -> bool:
        """Count an answer."""
        return await challenges.spend_answer(self.database, digest=b"1", now=self.now + at, max_wrong=MOST_WRONG)

    async def consume(self, *, at: timedelta = timedelta()) -> bool:
        """Use a session up."""
        return await challenges.consume(self.database, digest=b"1", now=self.now + at)


@pytest.fixture
async def sessions(database: Database, clock: FakeClock) -> Challenges:
    """Return what starts and answers sessions of one account."""
    now = clock.now()
    return Challenges(database, now, await insert_user(database, now=now))


async def test_session_is_alive_until_it_expires(sessions: Challenges) -> None:
    """One tick before its end a session can be found, answered and used up; at its end nothing of that."""
    await sessions.insert()
    assert await sessions.find(at=TTL) is None
    assert not await sessions.answer(at=TTL)
    assert not await sessions.consume(at=TTL)
    last = TTL - TICK
    assert await sessions.find(at=last) == Challenge(
        digest=b"1",
        user_id=UserId(sessions.user_id),
        username_key=UsernameKey("ada"),
        step="CONFIRM_SIGN_IN_WITH_TOTP_CODE",
        proved=["pwd"],
        totp_device_id=None,
        code_digest=None,
        superseded=[],
        code_sent_at=None,
        sealed_state=None,
        expires_at=sessions.now + TTL,
    )
    assert await sessions.answer(at=last)
    assert await sessions.consume(at=last)


async def test_session_takes_five_answers(sessions: Challenges) -> None:
    """The fifth answer is taken and can use the session up; after it the session is dead."""
    await sessions.insert()
    assert [await sessions.answer() for _ in range(MOST_WRONG)] == [True] * MOST_WRONG
    assert await sessions.find() is None
    assert not await sessions.answer()
    # What was counted as wrong in advance was right: the count must not stop its use.
    assert await sessions.consume()


async def test_answers_at_once_are_all_counted(sessions: Challenges) -> None:
    """Of twenty answers at once five are taken."""
    await sessions.insert()
    taken = await asyncio.gather(*(sessions.answer() for _ in range(20)))
    assert sum(taken) == MOST_WRONG


async def test_one_of_many_uses_at_once_uses_the_session_up(sessions: Challenges) -> None:
    """Ten uses of one session at once are one use, and then it is gone."""
    await sessions.insert()
    assert sum(await asyncio.gather(*(sessions.consume() for _ in range(10)))) == 1
    assert await sessions.find() is None


async def test_session_is_found_by_the_digest_of_any_master_key(sessions: Challenges) -> None:
    """A session is found when the digest that was stored is not the first of those looked for."""
    await sessions.insert(b"old key")
    found = await sessions.find(b"new key", b"old key")
    assert found is not None
    assert found.digest == b"old key"


async def test_ending_an_accounts_sessions_leaves_others_alone(sessions: Challenges) -> None:
    """All half-done sign-ins of one account end, none of another."""
    other = await insert_user(sessions.database, "bob", now=sessions.now)
    await sessions.insert(b"1")
    await sessions.insert(b"2")
    await sessions.insert(b"3", user_id=other)
    await challenges.delete_of_user(sessions.database, user_id=UserId(sessions.user_id))
    assert await sessions.find(b"1", b"2") is None
    assert await sessions.find(b"3") is not None


async def test_session_goes_with_the_authenticator_it_is_about(sessions: Challenges) -> None:
    """A purged set-up takes the session that waits for its code along."""
    device_id = uuid4()
    await totp_devices.insert_pending(
        sessions.database,
        device_id=DeviceId(device_id),
        user_id=UserId(sessions.user_id),
        friendly_name="phone",
        sealed_secret=b"sealed",
        now=sessions.now,
        expires_at=sessions.now,
    )
    await sessions.insert(device_id=device_id)
    assert await ended.purge(sessions.database, what=Ended.TOTP_DEVICES, before=sessions.now, limit=1) == 1
    assert await sessions.find() is None


async def test_purge_takes_expired_sessions_up_to_its_limit(sessions: Challenges) -> None:
    """A session goes once its end is not after the given time, so many at a time."""
    for number in range(4):
        await sessions.insert(bytes([number]), ttl=DAY + TICK if number == 3 else DAY)

    async def purge() -> int:
        return await ended.purge(sessions.database, what=Ended.CHALLENGE_SESSIONS, before=sessions.now + DAY, limit=2)

    assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert await sessions.find(bytes([3])) is not None
