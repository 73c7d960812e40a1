"""SIGTERM: what is in flight is finished, nothing new is begun."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import Mailbox
from authsvc.v1 import auth_service_pb2 as pb
from tests.client import Client
from tests.processes import DEAR_HASHES, ServerProcess, environment, serving

CALLS = 12


@pytest.fixture
async def server(
    database_url: str, master_key: MasterKey, catcher: MailCatcher, tmp_path: Path
) -> AsyncIterator[ServerProcess]:
    """Run a server whose hashes take long."""
    env = environment(database_url, master_key=master_key.line(), smtp_port=catcher.port, **DEAR_HASHES)
    running = ServerProcess(env, tmp_path / "server.log")
    async with serving(running):
        yield running


async def test_calls_in_flight(server: ServerProcess, mailbox: Mailbox) -> None:
    """Sign-ups that wait for their hashes at SIGTERM are answered, new calls are refused, the server ends with 0.

    What mail it did not get to comes from the next server.
    """
    client = Client(server.stub, mailbox)
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(client.sign_up(f"user-{number}")) for number in range(CALLS)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        assert sum(not call.done() for call in calls) > CALLS // 2, "most are in flight"
        server.send(signal.SIGTERM)
    assert await server.wait() == 0
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.sign_up("late")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    async with serving(server):
        for number in range(CALLS):
            await Client(server.stub, mailbox).code(f"user-{number}")


async def test_calls_that_have_arrived(server: ServerProcess) -> None:
    """Calls that the server had no time to take before SIGTERM are answered, not cancelled."""
    await server.stub.FetchAuthSession(pb.FetchAuthSessionRequest())
    server.send(signal.SIGSTOP)
    calls = [server.stub.FetchAuthSession(pb.FetchAuthSessionRequest()) for _ in range(50)]
    # Time for them to reach the standing server, which then finds them and the signal at once.
    await asyncio.sleep(0.3)
    server.send(signal.SIGTERM)
    server.send(signal.SIGCONT)
    assert [call.is_signed_in for call in await asyncio.gather(*calls)] == [False] * len(calls)
    assert await server.wait() == 0


async def test_health_watchers(server: ServerProcess) -> None:
    """Who watches the server's health hears of the end, and does not hold it up."""
    status = health_pb2.HealthCheckResponse
    watch = server.watch_health()
    assert (await anext(watch)).status == status.SERVING
    started = time.monotonic()
    server.send(signal.SIGTERM)
    assert (await anext(watch)).status == status.NOT_SERVING
    assert await server.wait() == 0
    assert time.monotonic() - started < 5
