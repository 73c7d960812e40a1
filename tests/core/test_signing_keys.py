"""Tokens that were verified before, and the keys that verified them."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from authsvc.config import Settings
from authsvc.core.sessions.signing_keys import REFRESH_INTERVAL, SigningKeys, VerifiedToken
from authsvc.crypto.jwt import ACCESS_TOKEN_TYPE
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import SessionId
from authsvc.errors import TokenInvalid
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import NOON, TICK, FakeClock
from tests.service import Service
from tests.signing_keys import signing_keys_of

END = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
async def keys(database: Database, ring: KeyRing, settings: Settings, clock: FakeClock) -> SigningKeys:
    """Make the keys of one process, with a first key."""
    made = signing_keys_of(database, ring, settings.tokens, clock)
    await made.ensure_one()
    return made


@pytest.fixture
def other_process(database: Database, ring: KeyRing, settings: Settings, clock: FakeClock) -> SigningKeys:
    """Make the keys of another process on the same database."""
    return signing_keys_of(database, ring, settings.tokens, clock)


async def token_of(keys: SigningKeys, session_id: UUID) -> str:
    """Sign a minimal access token."""
    key = await keys.current()
    claims = {"iss": "authsvc", "aud": "authsvc", "sub": str(uuid4()), "sid": str(session_id), "amr": ["pwd"]}
    times = {"auth_time": int(NOON.timestamp()), "exp": int(END.timestamp())}
    return key.sign({**claims, **times}, typ=ACCESS_TOKEN_TYPE)


def said(session_id: UUID) -> VerifiedToken:
    """Return what such a token says."""
    return VerifiedToken(session_id=SessionId(session_id), auth_time=NOON, amr=("pwd",), generation=0, expires_at=END)


async def test_token_says_the_same_every_time(keys: SigningKeys) -> None:
    """A token stands for its own session and end, however often and among whichever others it is shown."""
    sessions = [uuid4() for _ in range(3)]
    tokens = [await token_of(keys, session_id) for session_id in sessions]
    for _ in range(2):
        seen = [await keys.verify_access_token(token) for token in tokens]
        assert seen == [said(session_id) for session_id in sessions]


async def test_changed_copy_of_a_token_that_was_seen_is_refused(keys: SigningKeys) -> None:
    """That a token proved right says nothing of one that differs from it in a single character of its signature."""
    token = await token_of(keys, uuid4())
    await keys.verify_access_token(token)
    body, _, signature = token.rpartition(".")
    changed = f"{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for _ in range(2):
        with pytest.raises(TokenInvalid):
            await keys.verify_access_token(changed)
    await keys.verify_access_token(token)


async def test_token_that_was_seen_ends_with_its_key(keys: SigningKeys) -> None:
    """A key that is replaced at once takes the tokens with it that this process has verified before."""
    token = await token_of(keys, uuid4())
    await keys.verify_access_token(token)
    await keys.rotate(immediately=True)
    with pytest.raises(TokenInvalid):
        await keys.verify_access_token(token)


async def test_token_that_was_seen_ends_with_its_key_in_other_processes(
    keys: SigningKeys, other_process: SigningKeys, clock: FakeClock
) -> None:
    """A process that did not rotate the key itself refuses its tokens from its next look at the keys on."""
    token = await token_of(keys, uuid4())
    await other_process.verify_access_token(token)
    await keys.rotate(immediately=True)
    clock.advance(REFRESH_INTERVAL - timedelta(microseconds=1))
    await other_process.verify_access_token(token)
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(TokenInvalid):
        await other_process.verify_access_token(token)


async def test_token_of_a_key_that_is_new_to_this_process_is_accepted(
    keys: SigningKeys, other_process: SigningKeys, clock: FakeClock
) -> None:
    """A token under an unknown key makes a process look for the key, at most once a second."""
    await other_process.published()
    clock.advance(timedelta(milliseconds=1))
    await keys.rotate(immediately=True)
    token = await token_of(keys, uuid4())
    with pytest.raises(TokenInvalid):
        await other_process.verify_access_token(token)
    clock.advance(timedelta(seconds=1))
    await other_process.verify_access_token(token)


async def test_token_that_was_seen_ends_in_time(service: Service) -> None:
    """That a token proved right before keeps it alive no longer than it says."""
    account = await service.enrolled()
    request = pb.FetchAuthSessionRequest()
    first = await service.stub.FetchAuthSession(request, metadata=account.bearer)
    service.clock.advance(first.expires_at.ToDatetime(UTC) - TICK - service.clock.now())
    assert (await service.stub.FetchAuthSession(request, metadata=account.bearer)).is_signed_in
    service.clock.advance(TICK)
    assert not (await service.stub.FetchAuthSession(request, metadata=account.bearer)).is_signed_in


async def test_clock_behind_that_of_the_first_keys_maker(
    keys: SigningKeys, database: Database, ring: KeyRing, settings: Settings, clock: FakeClock
) -> None:
    """A replica whose clock is behind signs with the first key all the same."""
    behind = signing_keys_of(database, ring, settings.tokens, FakeClock(clock.now() - timedelta(seconds=2)))
    assert (await behind.current()).kid == (await keys.current()).kid


class Late(Database):
    """Let the answer to the first question be the last to arrive."""

    has_key: asyncio.Event | None = None

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows, those of the first call once a key was made, or a while is over."""
        if self.has_key is None:
            self.has_key = asyncio.Event()
            rows = await super().fetch(query, *args)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.has_key.wait(), 0.2)
        else:
            rows = await super().fetch(query, *args)
        if rows:
            self.has_key.set()
        return rows


async def test_what_was_read_before_a_key_was_made_replaces_nothing(
    ring: KeyRing, settings: Settings, clock: FakeClock
) -> None:
    """A call that comes while a server makes its first key doesn't leave it without one until its next look."""
    database = await Late.open(settings.database, size=2)
    starting = signing_keys_of(database, ring, settings.tokens, clock)
    await asyncio.gather(starting.published(), starting.ensure_one())
    assert await starting.published()
    await database.close()
