"""Operators of both servers, with one key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import grpc

from authsvc.clock import SystemClock
from authsvc.config import load
from tests.admin.operator import Operator, new_key
from tests.races.conftest import Arena


@asynccontextmanager
async def operators(arena: Arena, name: str) -> AsyncIterator[tuple[Operator, Operator]]:
    """Lend an operator of each server."""
    key = await new_key(load(arena.servers[0].environment), SystemClock(), name, timedelta(hours=1))
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
            for server in arena.servers
        ]
        first, second = (Operator(channel, key) for channel in channels)
        yield first, second
