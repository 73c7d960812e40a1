"""Refresh tokens: each is used once and has one successor."""

import asyncio
from datetime import datetime
from itertools import pairwise
from uuid import UUID

import pytest

from authsvc.domain import SessionId, UserId
from authsvc.store import ended, refresh_tokens
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from authsvc.store.refresh_tokens import RefreshToken
from tests.clock import TICK, FakeClock
from tests.store.rows import insert_session, insert_user


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    """Return the time of the test."""
    return clock.now()


@pytest.fixture
async def ada(database: Database, now: datetime) -> UUID:
    """Insert an account."""
    return await insert_user(database, now=now)


@pytest.fixture
async def session_id(database: Database, ada: UUID, now: datetime) -> UUID:
    """Insert a session of the account, with the token `first`."""
    return await insert_session(database, ada, now=now, refresh_digest=b"first")


async def rotate(database: Database, digest: bytes, successor: bytes, now: datetime) -> bool:
    """Rotate a token."""
    return await refresh_tokens.rotate(
        database, digest=digest, sealed_successor=b"sealed " + successor, successor_digest=successor, now=now
    )


async def find(database: Database, *digests: bytes) -> RefreshToken | None:
    """Find a token."""
    return await refresh_tokens.find(database, digests=list(digests))


async def test_rotation_uses_a_token_up_and_stores_its_successor(
    database: Database, ada: UUID, session_id: UUID, now: datetime
) -> None:
    """A rotated token remembers when, and its sealed successor, which belongs to the same session and is fresh."""
    assert await find(database, b"first") == RefreshToken(b"first", SessionId(session_id), UserId(ada), None, None)
    assert await rotate(database, b"first", b"second", now + TICK)
    assert await find(database, b"first") == RefreshToken(
        b"first", SessionId(session_id), UserId(ada), now + TICK, b"sealed second"
    )
    assert await find(database, b"second") == RefreshToken(b"second", SessionId(session_id), UserId(ada), None, None)


async def test_used_token_is_not_rotated_again(database: Database, session_id: UUID, now: datetime) -> None:
    """A second rotation of one token leaves its successor as it is and stores no other."""
    assert await rotate(database, b"first", b"second", now)
    assert not await rotate(database, b"first", b"other", now)
    first = await find(database, b"first")
    assert first is not None
    assert first.sealed_successor == b"sealed second"
    assert await find(database, b"other") is None


async def test_one_of_many_rotations_at_once_wins(database: Database, session_id: UUID, now: datetime) -> None:
    """Ten rotations of one token at once give it one successor."""
    names = [bytes([number]) for number in range(10)]
    won = await asyncio.gather(*(rotate(database, b"first", name, now) for name in names))
    (winner,) = [name for name, is_winner in zip(names, won, strict=True) if is_winner]
    first = await find(database, b"first")
    assert first is not None
    assert first.sealed_successor == b"sealed " + winner
    assert await database.fetchval("select count(*) from refresh_tokens where session_id = $1", session_id) == 2


async def test_unknown_token_has_no_successor(database: Database, now: datetime) -> None:
    """A token that was never issued is not found, and its rotation stores nothing."""
    assert await find(database, b"never issued") is None
    assert not await rotate(database, b"never issued", b"second", now)
    assert await database.fetchval("select count(*) from refresh_tokens") == 0


async def test_token_is_found_by_the_digest_of_any_master_key(database: Database, session_id: UUID) -> None:
    """A token is found when the digest that was stored is not the first of those looked for."""
    found = await find(database, b"new key", b"first")
    assert found is not None
    assert found.digest == b"first"


async def test_successors_are_forgotten_after_the_grace(database: Database, session_id: UUID, now: datetime) -> None:
    """A successor is wiped once its token's use is not after the given time, so many at a time; the rest stays."""
    chain = [b"first", b"a", b"b", b"c", b"d"]
    for number, (digest, successor) in enumerate(pairwise(chain)):
        assert await rotate(database, digest, successor, now + TICK if number == 3 else now)

    async def forget() -> int:
        return await ended.purge(database, what=Ended.SUCCESSORS, before=now, limit=2)

    assert [await forget() for _ in range(3)] == [2, 1, 0]
    tokens = [await find(database, digest) for digest in chain]
    assert [token.sealed_successor for token in tokens if token] == [None, None, None, b"sealed d", None]
    assert [token.used_at for token in tokens if token] == [now, now, now, now + TICK, None]
