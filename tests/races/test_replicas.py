"""Replicas that start at once, and replicas whose clocks differ."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from authsvc.core.factors.kinds import PASSWORD
from authsvc.crypto.sealing import MasterKey
from authsvc.domain import STRANGERS, UsernameKey
from authsvc.store import throttle
from authsvc.store.db import Database
from authsvc.store.throttle import FailureKey
from authsvc.v1 import auth_service_pb2 as pb
from tests.processes import ServerProcess, environment, free_port
from tests.races.gate import SIGNING_KEYS, gate


async def test_first_signing_key(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """Two replicas start on a database without signing keys, and both find none: they end up with the same one."""
    settings = environment(database_url, master_key=master_key.line(), smtp_port=free_port())
    servers = [ServerProcess(settings, tmp_path / f"server{number}.log") for number in range(2)]
    try:
        async with gate(database_url, SIGNING_KEYS) as closed:
            await asyncio.gather(*(server.start() for server in servers))
            await closed.open_for(2)
        published = []
        for server in servers:
            await server.wait_for_health("SERVING")
            published.append((await server.stub.GetSigningKeys(pb.GetSigningKeysRequest())).keys)
    finally:
        await asyncio.gather(*(server.kill() for server in servers))
    assert len(published[0]) == 1
    assert published[0] == published[1]


async def test_clocks_that_differ(database: Database) -> None:
    """A try that comes to a replica whose clock is behind the one of the try before is let through, not locked out."""
    now = datetime.now(UTC)
    for clock in (now, now - timedelta(seconds=2), now + timedelta(seconds=2), now):
        assert await throttle.spend_failure(
            database,
            key=FailureKey(UsernameKey("ada"), PASSWORD.guarded.key, STRANGERS),
            now=clock,
            bounds=throttle.FailureBounds(lock_from=5, lock_max=timedelta(minutes=15), close_at=100),
        )
