"""Users who call without end take nothing from others."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest

from authsvc.app import READINESS_INTERVAL
from authsvc.config import Settings
from authsvc.v1 import auth_service_pb2 as pb
from tests.client import at_once, reasons
from tests.clock import FakeClock
from tests.rpc.conftest import Run, run
from tests.rpc.running import health_of
from tests.waiting import until

__all__ = ["run"]

CALLS = 300


async def waiting_for_rows(watch: asyncpg.Connection) -> int:
    """Count the connections to this database that wait for a lock of another."""
    return int(
        await watch.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
    )


async def are_waiting_for_rows(watch: asyncpg.Connection, count: int) -> bool:
    """Tell whether so many do."""
    return await waiting_for_rows(watch) >= count


@pytest.mark.parametrize("method", ["GenerateRecoveryCodes", "UpdateUserAttributes", "SignOut", "RefreshSession"])
async def test_one_account_takes_one_connection(settings: Settings, run: Run, method: str) -> None:
    """While an account's row is held, 300 calls about it take one connection of five; others are served meanwhile.

    OWASP ASVS 5, 2.4.1: anti-automation controls protect against excessive calls that exhaust resources.
    """
    url = settings.database.url.get_secret_value()
    holder, watch = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        # Over one connection, as by a backend that many users call through.
        async with run(server={"max_streams": 1_000, "max_calls": 10_000}) as service:
            flooder, other = await service.enrolled("ada"), await service.enrolled("bob")
            requests: dict[str, Any] = {
                "RefreshSession": pb.RefreshSessionRequest(refresh_token=flooder.tokens.refresh_token),
                "UpdateUserAttributes": pb.UpdateUserAttributesRequest(attributes={"nickname": "Ada"}),
            }
            request = requests.get(method) or getattr(pb, f"{method}Request")()
            call = getattr(service.stub, method)
            async with asyncio.TaskGroup() as tasks, holder.transaction(), asyncio.timeout(20):
                await holder.execute("select from users where username = 'ada' for update")
                flood = tasks.create_task(at_once(call(request, metadata=flooder.bearer) for _ in range(CALLS)))
                await until(lambda: are_waiting_for_rows(watch, 1))
                for _ in range(5):
                    session = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=other.bearer)
                    assert session.is_signed_in
                    assert (await service.sign_in("bob")).session
                    assert await waiting_for_rows(watch) == 1
    finally:
        await holder.close()
        await watch.close()
    refused = Counter(reasons(flood.result()))
    # One has the row, 100 wait for it; of those that were let in, none waited for a connection in vain.
    assert refused["OVERLOADED"] >= CALLS - settings.database.row_queue - 1
    assert set(refused) <= {"OVERLOADED", "TOKEN_REVOKED"}


async def test_readiness_has_a_connection_of_its_own(settings: Settings, clock: FakeClock, run: Run) -> None:
    """A process whose every connection waits is busy, and says that it serves: or its balancer has the rest flooded.

    OWASP ASVS 5, 2.4.1.
    """
    url = settings.database.url.get_secret_value()
    holder, watch = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with run(database={"acquire_timeout": 0.1}) as service:
            user = await service.enrolled("ada")
            async with asyncio.TaskGroup() as tasks, holder.transaction():
                await holder.execute("lock table sessions in access exclusive mode")
                fetches = [
                    service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=user.bearer) for _ in range(20)
                ]
                flood = tasks.create_task(at_once(fetches))
                # Of the others one listens for mail, and one may look for some.
                await until(lambda: are_waiting_for_rows(watch, settings.database.pool_size - 2))
                for _ in range(5):
                    clock.advance(READINESS_INTERVAL)
                    await asyncio.sleep(0.1)
                    assert await health_of(service.channel) == "SERVING"
        assert "DATABASE_UNAVAILABLE" in reasons(flood.result()), "the pool had connections left"
    finally:
        await holder.close()
        await watch.close()
