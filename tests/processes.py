"""Server processes as an operator runs them: `authsvc serve` on a real port, with a real clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from authsvc.core.access.throttle import Action
from authsvc.crypto.password_hash import NICE
from authsvc.rpc.server import AUTH_SERVICE
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.starts import Process, start
from tests.waiting import PATIENCE, POLL_SECONDS, until

if TYPE_CHECKING:
    # The stub of an asyncio channel has a type of its own, but no class.
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

HEALTHY = health_pb2.HealthCheckResponse.ServingStatus

# Hashes that cost nothing, and source limits that don't get in the way: every call here comes from one address.
CHEAP_HASHES = {
    "AUTHSVC_PASSWORDS_ARGON2_TIME_COST": "1",
    "AUTHSVC_PASSWORDS_ARGON2_MEMORY_KIB": "8",
    "AUTHSVC_PASSWORDS_HASH_QUEUE": "1000",
}
# Three times as long as the default ones.
DEAR_HASHES = {"PASSWORDS_ARGON2_TIME_COST": "32", "PASSWORDS_ARGON2_MEMORY_KIB": "4096"}
NO_SOURCE_LIMITS = {f"AUTHSVC_LIMITS_{action}_PER_SOURCE": "1000000" for action in Action}


def environment(dsn: str, *, master_key: str, smtp_port: int, **changes: str) -> dict[str, str]:
    """Return what a server process is started with; `changes` are settings without their prefix.

    Nothing of this process's own settings gets through.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTHSVC_")}
    return {
        **inherited,
        **CHEAP_HASHES,
        **NO_SOURCE_LIMITS,
        "AUTHSVC_DATABASE_URL": dsn,
        "AUTHSVC_KEYS_MASTER": master_key,
        "AUTHSVC_MAIL_SMTP_HOST": "127.0.0.1",
        "AUTHSVC_MAIL_SMTP_PORT": str(smtp_port),
        "AUTHSVC_MAIL_SMTP_TLS": "none",
        "AUTHSVC_SERVER_PORT": "0",
        **{f"AUTHSVC_{name}": value for name, value in changes.items()},
    }


class ServerProcess:
    """Run one server process; its log, and all else it writes, goes to the end of a file."""

    stub: AuthServiceAsyncStub

    def __init__(self, environment: Mapping[str, str], log_file: Path) -> None:
        self.environment = dict(environment)
        self.port = 0
        self._log_file = log_file
        self._log_begin = 0
        self._process: Process | subprocess.Popen[bytes] | None = None
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start a new process and return when it listens, whether it serves or not."""
        self._log_begin = self._log_file.stat().st_size if self._log_file.exists() else 0
        with self._log_file.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            self._process = await asyncio.to_thread(
                start, "serve", environment=self.environment, stdin=nothing, output=log, errors=log
            )
        self.port = int((await self.wait_for_event("listening"))["port"])
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub = AuthServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    @property
    def pid(self) -> int:
        """Return the process's id."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Return the exit status once the process has ended by itself."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, PATIENCE)

    async def kill(self) -> None:
        """End the process by SIGKILL; do nothing if it has ended."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        if self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def health(self) -> str:
        """Return what the health service says of AuthService."""
        request = health_pb2.HealthCheckRequest(service=AUTH_SERVICE)
        answer = await self._health.Check(request, wait_for_ready=True, timeout=PATIENCE)
        return str(HEALTHY.Name(answer.status))

    def watch_health(self) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Follow what the health service says of AuthService."""
        call = self._health.Watch(health_pb2.HealthCheckRequest(service=AUTH_SERVICE))
        watch: AsyncIterator[health_pb2.HealthCheckResponse] = aiter(call)
        return watch

    async def wait_for_health(self, status: str) -> None:
        """Return once the health service says `status`."""

        async def says_so() -> bool:
            return await self.health() == status

        await until(says_so)

    def log(self) -> str:
        """Return what the present process has written."""
        with self._log_file.open("rb") as log:
            log.seek(self._log_begin)
            return log.read().decode()

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Return the first log line with `event`, as soon as it is there."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = self._process.poll() is not None
            for line in self.log().splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    fields: dict[str, Any] = json.loads(line)
                    if fields["event"] == event:
                        return fields
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"the server did not say {event!r}:\n{self.log()}")
            await asyncio.sleep(POLL_SECONDS)

    def hash_cpu_seconds(self) -> float:
        """Return the processor time that the threads for password hashes have taken: they alone run at that nice."""
        assert self._process is not None
        total = 0.0
        for thread in psutil.Process(self._process.pid).threads():
            if os.getpriority(os.PRIO_PROCESS, thread.id) == NICE:
                total += thread.user_time + thread.system_time
        return total

    async def metrics(self) -> str:
        """Return the page of the Prometheus endpoint, which `METRICS_PORT` must have turned on."""
        url = f"http://127.0.0.1:{self.environment['AUTHSVC_SERVER_METRICS_PORT']}/metrics"

        def read() -> str:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(read)


@asynccontextmanager
async def serving(*servers: ServerProcess) -> AsyncIterator[None]:
    """Run server processes, started all at the same time, from when they serve."""
    try:
        await asyncio.gather(*(server.start() for server in servers))
        await asyncio.gather(*(server.wait_for_health("SERVING") for server in servers))
        yield
    finally:
        await asyncio.gather(*(server.kill() for server in servers))


def free_port() -> int:
    """Return a port that nothing listens on, of those that the kernel gives to nobody who asks for any."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(1024, first_given) if first_given > 2048 else 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free: int = probe.getsockname()[1]
            return free
