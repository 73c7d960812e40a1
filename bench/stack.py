"""What the load runs against: a durable Postgres with accounts in it, and servers as processes of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from authsvc.clock import SystemClock
from authsvc.config import Settings, load
from authsvc.crypto.sealing import MasterKey
from authsvc.crypto.tokens import new_id
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.domain import User, UserId, UsernameKey, UserStatus
from authsvc.store import passwords, users
from authsvc.store.db import Database
from authsvc.store.migrate import migrate, read_migrations
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from bench.hashing import make_hash

if TYPE_CHECKING:
    # Only the stubs of the stubs have it.
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

ACCOUNTS = 300
START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Running:
    """Hold a server process and a channel to it."""

    pid: int
    port: int
    channel: grpc.aio.Channel
    stub: AuthServiceAsyncStub


class Stack:
    """Hold the database and the settings that the servers share."""

    def __init__(self, *, environment: dict[str, str]) -> None:
        self._environment = environment
        self.settings: Settings = load(environment)

    @classmethod
    @asynccontextmanager
    async def open(cls, accounts: int = ACCOUNTS) -> AsyncIterator[Stack]:
        """Start Postgres in a folder that is removed afterwards, and put the accounts in."""
        with tempfile.TemporaryDirectory(prefix="authsvc-bench-") as folder:
            postgres = EmbeddedPostgres(folder=Path(folder) / "postgres", durable=True)
            await asyncio.to_thread(postgres.start)
            try:
                stack = cls(environment=_environment(postgres.dsn()))
                await stack._fill(accounts)
                yield stack
            finally:
                await asyncio.to_thread(postgres.stop)

    @asynccontextmanager
    async def server(self, **variables: str) -> AsyncIterator[Running]:
        """Run a server, with further settings, until the end of the block."""
        process = subprocess.Popen(  # noqa: ASYNC220  # starting it takes no longer than a call
            [sys.executable, "-m", "bench.server"],
            env={**os.environ, **self._environment, **variables},
            stdout=subprocess.PIPE,
            # As in production: every line is made and written.
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            port = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), START_SECONDS)
            if not port:
                raise SystemExit(f"the server ended with status {process.wait()} instead of listening")
            async with grpc.aio.insecure_channel(f"127.0.0.1:{int(port)}") as channel:
                yield Running(process.pid, int(port), channel, AuthServiceStub(channel))
        finally:
            process.terminate()
            await asyncio.to_thread(process.communicate)

    async def _fill(self, accounts: int) -> None:
        database = await Database.open(self.settings.database, size=2)
        clock = SystemClock()
        await migrate(database, read_migrations(), clock)
        # One hash for all: verifying it costs the same, making 300 takes ten seconds.
        hash_ = make_hash(self.settings.passwords)
        async with database.transaction() as transaction:
            for number in range(accounts):
                user_id = new_id()
                await users.insert(
                    transaction,
                    user=User(
                        user_id=UserId(user_id),
                        username=username(number),
                        username_key=UsernameKey(username(number)),
                        status=UserStatus.CONFIRMED,
                        created_at=clock.now(),
                    ),
                )
                await passwords.put(transaction, user_id=UserId(user_id), hash_=hash_, now=clock.now())
        await database.close()


def username(number: int) -> str:
    """Return the name of the n-th account, starting over when there are no more."""
    return f"bench-{number % ACCOUNTS}"


def _environment(dsn: str) -> dict[str, str]:
    # No limits by source: every call comes from here. No account has a second factor, so that SignIn does all its work
    # in one call: the password, the session, the tokens.
    return {
        "AUTHSVC_DATABASE_URL": dsn,
        "AUTHSVC_KEYS_MASTER": MasterKey.generate().line(),
        "AUTHSVC_SERVER_PORT": "0",
        "AUTHSVC_ACCOUNTS_MFA": "OPTIONAL",
        "AUTHSVC_LIMITS_SIGN_IN_PER_SOURCE": "1000000",
        "AUTHSVC_LIMITS_SIGN_IN_CONFIRM_PER_SOURCE": "1000000",
        "AUTHSVC_LIMITS_SIGN_IN_GLOBAL": "1000000",
    }
