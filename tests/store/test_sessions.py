"""Sessions: listed while they live, ended by their own account, gone with their refresh tokens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from authsvc.domain import Session, SessionId, UserId, UsernameKey, UserStatus
from authsvc.store import ended, sessions
from authsvc.store.db import Database
from authsvc.store.ended import Ended
from tests.clock import TICK, FakeClock
from tests.store.rows import DAY, insert_session, insert_user

START = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


@pytest.fixture
def now(clock: FakeClock) -> datetime:
    """Return the time of the test."""
    return clock.now()


@pytest.fixture
async def ada(database: Database, now: datetime) -> UUID:
    """Insert the account whose sessions these are."""
    return await insert_user(database, now=now)


async def list_live(
    database: Database, user_id: UUID, *, at: datetime, before: tuple[datetime, UUID] = START, limit: int = 100
) -> list[Session]:
    """List live sessions."""
    return await sessions.list_live(database, user_id=UserId(user_id), now=at, before=before, limit=limit)


async def test_session_is_live_until_it_expires(database: Database, ada: UUID, now: datetime) -> None:
    """A session is listed one tick before its end, not at it."""
    session_id = await insert_session(database, ada, now=now, expires_at=now + DAY)
    (found,) = await list_live(database, ada, at=now + DAY - TICK)
    assert (found.session_id, found.user_id, found.created_at, found.last_used_at, found.auth_time) == (
        session_id,
        ada,
        now,
        now,
        now,
    )
    assert await list_live(database, ada, at=now + DAY) == []


async def test_list_has_the_accounts_own_sessions_that_were_not_ended(
    database: Database, ada: UUID, now: datetime
) -> None:
    """Ended sessions and those of other accounts are not listed."""
    mine, ended = [await insert_session(database, ada, now=now) for _ in range(2)]
    await insert_session(database, await insert_user(database, "bob", now=now), now=now)
    assert await sessions.revoke(database, session_id=SessionId(ended), user_id=UserId(ada), now=now)
    assert [session.session_id for session in await list_live(database, ada, at=now)] == [mine]


async def test_pages_neither_repeat_nor_skip_a_session(database: Database, ada: UUID, now: datetime) -> None:
    """Reading page by page gives every session once, the latest first, also where several began at one moment."""
    moments = [now, now, now, now - DAY, now + TICK]
    made = [(moment, await insert_session(database, ada, now=moment, expires_at=now + DAY)) for moment in moments]
    pages: list[list[tuple[datetime, UUID]]] = []
    before = START
    for _ in range(4):
        page = await list_live(database, ada, at=now, before=before, limit=2)
        pages.append([(session.created_at, session.session_id) for session in page])
        before = pages[-1][-1] if page else before
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [entry for page in pages for entry in page] == sorted(made, reverse=True)


async def test_session_begun_while_paging_does_not_shift_the_next_page(
    database: Database, ada: UUID, now: datetime
) -> None:
    """A page begins after the last session of the page before, whatever has been added on top since."""
    old = [await insert_session(database, ada, now=now - number * TICK) for number in range(3)]
    first = await list_live(database, ada, at=now, limit=2)
    await insert_session(database, ada, now=now + TICK)
    position = (first[-1].created_at, first[-1].session_id)
    assert [session.session_id for session in await list_live(database, ada, at=now, before=position)] == old[2:]


async def test_only_the_sessions_own_account_can_end_it(database: Database, ada: UUID, now: datetime) -> None:
    """Ending another account's session, or one a second time, does nothing and says so."""
    session_id = await insert_session(database, ada, now=now)
    assert not await sessions.revoke(database, session_id=SessionId(session_id), user_id=UserId(uuid4()), now=now)
    assert await sessions.revoke(database, session_id=SessionId(session_id), user_id=UserId(ada), now=now)
    assert not await sessions.revoke(database, session_id=SessionId(session_id), user_id=UserId(ada), now=now + DAY)
    standing = await sessions.find_standing(database, session_id=SessionId(session_id))
    assert standing is not None
    assert standing.revoked_at == now


async def test_ending_all_sessions_can_keep_one(database: Database, ada: UUID, now: datetime) -> None:
    """All sessions of one account end but for the one to keep; sessions of others go on."""
    keep, *_ = [await insert_session(database, ada, now=now) for _ in range(3)]
    bob = await insert_user(database, "bob", now=now)
    await insert_session(database, bob, now=now)
    assert await sessions.revoke_of_user(database, user_id=UserId(ada), now=now, keep=SessionId(keep)) == 2
    assert [session.session_id for session in await list_live(database, ada, at=now)] == [keep]
    assert await sessions.revoke_of_user(database, user_id=UserId(ada), now=now) == 1
    assert await list_live(database, ada, at=now) == []
    assert len(await list_live(database, bob, at=now)) == 1


async def test_touch_notes_when_and_from_where_and_nothing_else(database: Database, ada: UUID, now: datetime) -> None:
    """A use of a session moves its last use, address and agent on, not its end."""
    session_id = await insert_session(database, ada, now=now)
    (before,) = await list_live(database, ada, at=now)
    await sessions.touch(
        database, session_id=SessionId(session_id), now=now + TICK, client_ip="192.0.2.1", client_user_agent="agent"
    )
    (after,) = await list_live(database, ada, at=now)
    assert after == replace(before, last_used_at=now + TICK, client_ip="192.0.2.1", client_user_agent="agent")


async def test_standing_is_of_the_session_and_of_its_account(database: Database, ada: UUID, now: datetime) -> None:
    """What a token stands for is read from the session's row and the account's, each in its place."""
    session_id = await insert_session(database, ada, now=now)
    await database.execute("update users set disabled_at = $2 where user_id = $1", ada, now + TICK)
    (session,) = await list_live(database, ada, at=now)
    assert await sessions.find_standing(database, session_id=SessionId(session_id)) == sessions.Standing(
        session_id=SessionId(session_id),
        origin_jti=session.origin_jti,
        amr=["pwd"],
        auth_time=now,
        generation=0,
        last_used_at=now,
        expires_at=now + DAY,
        revoked_at=None,
        user_id=UserId(ada),
        username="Ada",
        username_key=UsernameKey("ada"),
        status=UserStatus.CONFIRMED,
        disabled_at=now + TICK,
    )
    assert await sessions.find_standing(database, session_id=SessionId(uuid4())) is None


async def test_purge_takes_expired_sessions_with_their_refresh_tokens(
    database: Database, ada: UUID, now: datetime
) -> None:
    """A session goes once its end is not after the given time, its refresh tokens with it, so many at a time."""
    for number in range(4):
        late = timedelta(microseconds=number == 3)
        await insert_session(database, ada, now=now, expires_at=now + DAY + late, refresh_digest=bytes([number]))

    async def purge() -> int:
        return await ended.purge(database, what=Ended.SESSIONS, before=now + DAY, limit=2)

    assert [await purge() for _ in range(3)] == [2, 1, 0]
    assert [row["digest"] for row in await database.fetch("select digest from refresh_tokens")] == [bytes([3])]
