"""The real server, in a thread of its own, and the calls of the walk: what each answers, or the reason why not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc

from authsvc.config import Settings
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator, new_key
from tests.clock import FakeClock
from tests.rpc.conftest import changed
from tests.service import Service, failure_of

PATIENCE_SECONDS = 30
_T = TypeVar("_T")


class Driver:
    """Run the server with ever other settings on one database and one clock."""

    def __init__(self, settings: Settings, clock: FakeClock, folder: Path) -> None:
        self.service: Service
        self.operator: Operator
        self._settings = settings
        self._clock = clock
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stop = asyncio.Event()
        self._running: Future[None] | None = None
        self._thread.start()
        self._key = self.run(self._make_key())

    def run(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Wait for what runs in the server's thread."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(PATIENCE_SECONDS)

    def start(self, mode: str, kinds: frozenset[str]) -> None:
        """Start the server anew, with other settings."""
        self.stop()
        accounts: dict[str, object] = {"mfa": mode, "mfa_types": ",".join(sorted(kinds))}
        settings = changed(self._settings, accounts=accounts)
        ready: Future[None] = Future()
        self._running = asyncio.run_coroutine_threadsafe(self._serve(settings, ready), self._loop)
        wait({ready, self._running}, PATIENCE_SECONDS, FIRST_COMPLETED)
        if self._running.done():
            self._running.result()
        ready.result(PATIENCE_SECONDS)

    def stop(self) -> None:
        """Stop the server."""
        if self._running is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._running.result(PATIENCE_SECONDS)
            self._running = None

    def close(self) -> None:
        """Stop the server and its thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    @property
    def now(self) -> datetime:
        """Return the server's time."""
        return self._clock.now()

    def advance(self, duration: timedelta) -> None:
        """Move the server's time on."""

        async def advance() -> None:
            self._clock.advance(duration)

        self.run(advance())

    def call(self, method: str, request: Any, *, bearer: str | None = None) -> Any:
        """Call AuthService; return the answer, or what the status of the failure says."""
        metadata = [("authorization", f"Bearer {bearer}")] if bearer is not None else None
        return self._outcome(getattr(self.service.stub, method)(request, metadata=metadata))

    def operate(self, method: str, request: Any) -> Any:
        """Call AdminService with a key."""
        return self._outcome(self.operator.call(method, request))

    def answer(self, session: str, kind: str, value: Any) -> Any:
        """Answer a step."""
        answer: dict[str, Any] = {kind: value}
        return self.call("ConfirmSignIn", pb.ConfirmSignInRequest(session=session, **answer))

    def last_message(self) -> int:
        """Return the number of the last message that arrived."""
        return self.service.catcher.last_number()

    def code(self, address: str, *, after: int) -> str:
        """Wait for a message with a code and read it."""
        return self.run(self.service.code(address, after=after))

    def _outcome(self, call: Any) -> Any:
        async def outcome() -> Any:
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                return failure_of(error)

        return self.run(outcome())

    async def _serve(self, settings: Settings, ready: Future[None]) -> None:
        self._stop.clear()
        async with Service.run(settings, self._clock, self._folder) as service:
            self.service, self.operator = service, Operator(service.channel, self._key)
            ready.set_result(None)
            await self._stop.wait()

    async def _make_key(self) -> str:
        return await new_key(self._settings, self._clock, "model", timedelta(days=3650))
