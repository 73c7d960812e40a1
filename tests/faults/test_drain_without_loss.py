"""SIGTERM under load: clients that follow the retry policy of docs/deploy.md lose no call."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from authsvc.config import Settings
from authsvc.crypto.sealing import MasterKey
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import FakeClock
from tests.docker_files import DEPLOY
from tests.processes import ServerProcess, environment, serving
from tests.rpc.conftest import changed
from tests.rpc.running import running, stub_of
from tests.service import fails

if TYPE_CHECKING:
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

CALLERS = 40


def service_config(*, watches_health: bool) -> str:
    """Return what docs/deploy.md tells clients to be configured with."""
    config = json.loads(DEPLOY.partition("```json\n")[2].partition("```")[0])
    if not watches_health:
        del config["healthCheckConfig"]
    return json.dumps(config)


@pytest.mark.parametrize("watches_health", [True, False], ids=["with health checks", "without"])
async def test_a_server_that_ends_under_load_loses_no_call(
    database_url: str, master_key: MasterKey, tmp_path: Path, watches_health: bool
) -> None:
    """With 40 callers over two servers, the SIGTERM of one is seen by none of them (AIP-194, gRFC A6)."""
    slow = {"PASSWORDS_ARGON2_TIME_COST": "2", "PASSWORDS_ARGON2_MEMORY_KIB": "4096"}
    env = environment(database_url, master_key=master_key.line(), smtp_port=1, **slow)
    servers = [ServerProcess(env, tmp_path / f"{name}.log") for name in ("leaving", "staying")]
    ends: Counter[str] = Counter()
    over = asyncio.Event()

    async def keep_calling(stub: AuthServiceAsyncStub, number: int) -> None:
        tries = 0
        while not over.is_set():
            try:
                if number % 5:
                    await stub.FetchAuthSession(pb.FetchAuthSessionRequest())
                else:
                    tries += 1
                    await stub.SignIn(pb.SignInRequest(username=f"user-{number}-{tries}", password="Tr0mbone"))
            except grpc.aio.AioRpcError as error:
                ends[str(error.code())] += 1
            else:
                ends["OK"] += 1

    async with serving(*servers):
        target = "ipv4:" + ",".join(f"127.0.0.1:{server.port}" for server in servers)
        options = [("grpc.service_config", service_config(watches_health=watches_health))]
        async with grpc.aio.insecure_channel(target, options=options) as channel, asyncio.TaskGroup() as tasks:
            for number in range(CALLERS):
                tasks.create_task(keep_calling(stub_of(channel), number))
            await asyncio.sleep(0.5)
            servers[0].send(signal.SIGTERM)
            assert await servers[0].wait() == 0
            await asyncio.sleep(0.2)
            over.set()
    # What a sign-in without an account ends with.
    assert set(ends) == {"OK", "StatusCode.UNAUTHENTICATED"}, ends


async def test_a_call_that_outlives_the_drain_is_told_to_come_again(settings: Settings, clock: FakeClock) -> None:
    """What is in work at the end of the drain timeout is UNAVAILABLE with RetryInfo, and new calls are meanwhile."""
    brief = changed(settings, server={"drain_timeout": 1})
    async with running(brief, clock) as server, server.channel() as channel:
        stub = stub_of(channel)
        await stub.FetchAuthSession(pb.FetchAuthSessionRequest(), wait_for_ready=True)
        # A message that does not come keeps its call in work.
        sign_out: Any = channel.stream_unary("/authsvc.v1.AuthService/SignOut", request_serializer=bytes)
        held = sign_out(_never())
        await asyncio.sleep(0.2)
        server.stop.set()
        await asyncio.sleep(0.4)
        async with fails("OVERLOADED") as refused:
            await stub.FetchAuthSession(pb.FetchAuthSessionRequest())
        async with fails("OVERLOADED") as cut:
            await held
        for failures in (refused, cut):
            assert failures[0].code is grpc.StatusCode.UNAVAILABLE
            assert failures[0].metadata["stopping"] == "true"
            assert failures[0].retry_after


async def _never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""
