"""Sessions that end before they would: those that nobody uses, and those that are too many."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.session_pb2 import Session
from authsvc.v1.tokens_pb2 import Tokens
from tests.clock import TICK
from tests.rpc.calls import fetch, is_live, refresh
from tests.rpc.conftest import Run
from tests.service import Service, bearer, fails

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ALONE: dict[str, object] = {"mfa": "OFF"}


async def sign_in(service: Service) -> Tokens:
    """Sign in where a password does."""
    return (await service.sign_in()).tokens


async def listed(service: Service, tokens: Tokens) -> list[Session]:
    """List the user's sessions."""
    return list((await service.stub.ListSessions(pb.ListSessionsRequest(), metadata=bearer(tokens))).sessions)


@pytest.mark.parametrize("late", [-TICK, timedelta(), TICK], ids=["a tick before", "at", "a tick after"])
async def test_idle_session_ends(run: Run, late: timedelta) -> None:
    """NIST SP 800-63B-4 section 5.2, ASVS 5 V7.3.1: a session that was given no tokens for so long is over."""
    async with run(accounts=ALONE, tokens={"session_idle": HOUR, "access_ttl": 30 * MINUTE}) as service:
        await service.confirmed("ada")
        tokens = await sign_in(service)
        service.clock.advance(40 * MINUTE)
        used = await refresh(service, tokens.refresh_token)
        idle = await sign_in(service)
        (latest, *_) = await listed(service, idle)
        assert latest.expires_at.ToDatetime(UTC) == service.clock.now() + HOUR
        service.clock.advance(50 * MINUTE)
        used = await refresh(service, used.refresh_token)
        service.clock.advance(10 * MINUTE + late)
        if late < timedelta():
            assert await is_live(service, await refresh(service, idle.refresh_token))
            return
        async with fails("TOKEN_EXPIRED"):
            await refresh(service, idle.refresh_token)
        assert await is_live(service, used)
        assert len(await listed(service, used)) == 1


async def test_no_session_is_idle_by_default(service: Service) -> None:
    """Without the setting a session lives as long as it may, and there may be any number."""
    ada = await service.enrolled("ada")
    await service.sign_in_fully(ada)
    service.clock.advance(timedelta(days=29))
    assert len(await listed(service, await refresh(service, ada.tokens.refresh_token))) == 2


async def test_oldest_session_makes_room(run: Run) -> None:
    """ASVS 5 V7.1.2: one sign-in too many ends the session that was used longest ago, at once, and no other user's."""
    async with run(accounts=ALONE, tokens={"sessions_per_user": 2}) as service:
        for username in ("ada", "bob"):
            await service.confirmed(username)
        bob = (await service.sign_in("bob")).tokens
        first, second = await sign_in(service), None
        service.clock.advance(MINUTE)
        second = await sign_in(service)
        service.clock.advance(MINUTE)
        first = await refresh(service, first.refresh_token)
        third = await sign_in(service)
        assert [await is_live(service, each) for each in (first, second, third, bob)] == [True, False, True, True]
        async with fails("TOKEN_REVOKED"):
            await refresh(service, second.refresh_token)


async def test_sign_ins_at_once_leave_no_more(run: Run) -> None:
    """ASVS 5 V7.1.2, V2.3.4: of many sign-ins at once as many sessions are left as there may be."""
    async with run(accounts=ALONE, tokens={"sessions_per_user": 3}, limits={"lock_from": 50}) as service:
        await service.confirmed("ada")
        signed_in = await asyncio.gather(*(sign_in(service) for _ in range(20)))
        live = [tokens for tokens in signed_in if (await fetch(service, tokens)).is_signed_in]
        assert len(live) == 3
