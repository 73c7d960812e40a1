"""A server in this process, started and stopped by the test, without the client that `Service` brings along."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2

from authsvc.app import App
from authsvc.config import Settings
from authsvc.telemetry.metrics import Metrics
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.clock import FakeClock

if TYPE_CHECKING:
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub


@dataclass(frozen=True)
class Running:
    """Hold a running server; `stop` begins its end and `task` is done at it."""

    port: int
    metrics: Metrics
    stop: asyncio.Event
    task: asyncio.Task[None]

    def channel(self) -> grpc.aio.Channel:
        """Return a channel to it, without TLS."""
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")


@asynccontextmanager
async def running(settings: Settings, clock: FakeClock) -> AsyncIterator[Running]:
    """Run a server on a free port, whether it can serve or not."""
    server = settings.server.model_copy(update={"port": 0})
    metrics, stop = Metrics(), asyncio.Event()
    async with (
        asyncio.TaskGroup() as tasks,
        App.open(settings.model_copy(update={"server": server}), clock, metrics) as app,
    ):
        port = await app.start()
        task = tasks.create_task(app.run(stop))
        try:
            yield Running(port, metrics, stop, task)
        finally:
            stop.set()
            await asyncio.wait({task})


def stub_of(channel: grpc.aio.Channel) -> AuthServiceAsyncStub:
    """Return a stub of AuthService."""
    stub: AuthServiceAsyncStub = AuthServiceStub(channel)
    return stub


async def health_of(channel: grpc.aio.Channel, service: str = "") -> str:
    """Return the health of a service, or of the server as a whole."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    response = await check(health_pb2.HealthCheckRequest(service=service))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
