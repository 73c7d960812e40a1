"""Signing keys: one first key, rotation that sets an end to the others, publication until that end."""

import asyncio
from datetime import datetime, timedelta

import pytest

from authsvc.store import signing_keys
from authsvc.store.db import Database
from tests.clock import TICK, FakeClock

LEAD = timedelta(minutes=10)
END = timedelta(minutes=30)


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    """Return the time of the test."""
    return clock.now()


def row(kid: str, algorithm: str, now: datetime, *, active_from: datetime) -> signing_keys.SigningKeyRow:
    """Return a key."""
    return signing_keys.SigningKeyRow(
        kid=kid,
        algorithm=algorithm,
        public_jwk={"kid": kid},
        sealed_private=b"sealed",
        created_at=now,
        active_from=active_from,
    )


async def insert_first(database: Database, kid: str, now: datetime) -> bool:
    """Store the first key."""
    async with database.transaction() as transaction:
        return await signing_keys.insert_first(transaction, key=row(kid, "EdDSA", now, active_from=now))


async def rotate(database: Database, kid: str, now: datetime) -> None:
    """Store a further key."""
    async with database.transaction() as transaction:
        await signing_keys.rotate(
            transaction,
            key=row(kid, "ES256", now, active_from=now + LEAD),
            others_expire_at=now + END,
        )


async def published(database: Database, at: datetime) -> list[str]:
    """Return the ids of the published keys."""
    return [row.kid for row in await signing_keys.list_published(database, now=at)]


async def test_replicas_that_start_at_once_make_one_first_key(database: Database, now: datetime) -> None:
    """Of ten first keys at once one is stored."""
    made = await asyncio.gather(*(insert_first(database, f"key-{number}", now) for number in range(10)))
    assert sum(made) == 1
    assert await published(database, now) == [f"key-{made.index(True)}"]


async def test_key_is_stored_as_it_was_given(database: Database, now: datetime) -> None:
    """The public key comes back as the JSON that went in; a first key is used at once and has no end."""
    assert await insert_first(database, "first", now)
    assert await signing_keys.list_published(database, now=now) == [
        signing_keys.SigningKeyRow(
            kid="first",
            algorithm="EdDSA",
            public_jwk={"kid": "first"},
            sealed_private=b"sealed",
            created_at=now,
            active_from=now,
            expires_at=None,
        )
    ]


async def test_rotation_publishes_the_new_key_and_ends_the_others(database: Database, now: datetime) -> None:
    """The new key comes first in the list and has no end; the former one is published until its end, not at it."""
    await insert_first(database, "first", now)
    await rotate(database, "second", now)
    second, first = await signing_keys.list_published(database, now=now)
    assert (second.kid, second.active_from, second.expires_at) == ("second", now + LEAD, None)
    assert (first.kid, first.active_from, first.expires_at) == ("first", now, now + END)
    assert await published(database, now + END - TICK) == ["second", "first"]
    assert await published(database, now + END) == ["second"]


async def test_later_rotation_does_not_prolong_a_key_that_has_an_end(database: Database, now: datetime) -> None:
    """A key keeps the end that the first rotation after it set."""
    await insert_first(database, "first", now)
    await rotate(database, "second", now)
    await rotate(database, "third", now + TICK)
    ends = {row.kid: row.expires_at for row in await signing_keys.list_published(database, now=now)}
    assert ends == {"first": now + END, "second": now + TICK + END, "third": None}


async def test_rotations_at_once_leave_one_key_without_an_end(database: Database, now: datetime) -> None:
    """Of five rotations at once the last one's key stays, and every other has an end."""
    await insert_first(database, "first", now)
    await asyncio.gather(*(rotate(database, f"key-{number}", now) for number in range(5)))
    rows = await signing_keys.list_published(database, now=now)
    assert len(rows) == 6
    assert sum(row.expires_at is None for row in rows) == 1


async def test_first_key_is_made_anew_when_all_have_an_end(database: Database, now: datetime) -> None:
    """Without a key that stays a first one can be made again."""
    await insert_first(database, "first", now)
    await database.execute("update signing_keys set expires_at = $1", now + END)
    assert await insert_first(database, "again", now)


async def test_purge_takes_keys_that_verify_nothing_any_more(database: Database, now: datetime) -> None:
    """A key goes once its end is not after the given time; one without an end stays."""
    await insert_first(database, "first", now)
    await rotate(database, "second", now)
    assert await signing_keys.purge(database, expired_before=now + END - TICK) == 0
    assert await signing_keys.purge(database, expired_before=now + END) == 1
    assert await published(database, now) == ["second"]
