"""Fixtures: a scripted hook in a process of its own, and what asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

import pytest

from authsvc.config import HooksSettings
from authsvc.core.access.caller import Caller
from authsvc.core.factors.custom_hook import ChallengeState, CustomChallenge
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import User, UsernameKey
from authsvc.rpc.challenge_hook import ChallengeHookClient
from authsvc.store import users
from authsvc.store.db import Database
from tests.clock import NOON
from tests.hooks.process import HookProcess
from tests.store.rows import insert_user

CALLER = Caller(source="192.0.2.7", ip="192.0.2.7", user_agent="app/1", request_id="r-1")
TIMEOUT = timedelta(milliseconds=300)
MOST_ROUNDS = 3
Challenging = Callable[..., AbstractAsyncContextManager[CustomChallenge]]


@pytest.fixture(scope="module")
def hook() -> Iterator[HookProcess]:
    """Run a scripted hook."""
    with HookProcess() as running:
        yield running


@pytest.fixture
def challenging(ring: KeyRing) -> Challenging:
    """Return what asks the hook at a target, with some settings changed."""

    @asynccontextmanager
    async def asking(target: str, **changes: object) -> AsyncIterator[CustomChallenge]:
        values = {"challenge_target": target, "challenge_timeout": TIMEOUT, **changes}
        client = ChallengeHookClient(settings=HooksSettings.model_validate(values))
        try:
            yield CustomChallenge(hook=client, ring=ring, max_rounds=MOST_ROUNDS)
        finally:
            await client.close()

    return asking


@pytest.fixture
async def custom(hook: HookProcess, challenging: Challenging) -> AsyncIterator[CustomChallenge]:
    """Ask the scripted hook, which has all the time that it needs."""
    async with challenging(hook.target, challenge_timeout=timedelta(seconds=10)) as asking:
        yield asking


async def user_named(database: Database, name: str) -> User:
    """Make an account; its name tells the scripted hook what to do."""
    await insert_user(database, name, now=NOON, email="ada@example.com")
    user = await users.find(database, username_key=UsernameKey(name))
    assert user is not None
    return user


async def begun(custom: CustomChallenge, user: User) -> ChallengeState:
    """Begin and return the first challenge."""
    state = await custom.begin(user, CALLER)
    assert isinstance(state, ChallengeState)
    return state
