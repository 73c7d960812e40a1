"""Operators of both servers, with one key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import grpc

from authsvc.clock import SystemClock
from authsvc.config import load
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing, parse_master_keys
from authsvc.store.db import Database
from tests.admin.operator import Operator
from tests.races.conftest import Arena


@asynccontextmanager
async def operators(arena: Arena, name: str) -> AsyncIterator[tuple[Operator, Operator]]:
    """Lend an operator of each server."""
    environment = arena.servers[0].environment
    ring = KeyRing(parse_master_keys(environment["AUTHSVC_KEYS_MASTER"]))
    database = await Database.open(load(environment).database, size=1)
    clock = SystemClock()
    made = await AdminKeys(database, ring, Audit(database, ring, clock), clock).create(name, timedelta(hours=1))
    await database.close()
    assert made is not None
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
            for server in arena.servers
        ]
        yield Operator(channels[0], made[0]), Operator(channels[1], made[0])
