"""An SMS webhook that does to a sender what networks, proxies and operators do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web

from tests.waiting import until

KEY = "the-key-of-the-webhook-in-mail-tests"


@dataclass(frozen=True)
class Posted:
    """Hold one request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        """Return what the body says."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def is_signed(self, key: str = KEY) -> bool:
        """Tell whether one of the signatures is right, worked out from docs/hooks.md and not from the code."""
        signed = f"{self.headers['authsvc-timestamp']}.".encode() + self.body
        wanted = f"v1={hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()}"
        return wanted in self.headers["authsvc-signature"].split(",")


class Webhook:
    """Take SMS by HTTP, and answer `status` and `headers`; or hang up, or stay silent until `release`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.posted: list[Posted] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        self.hangs_up = False
        self.is_silent = False
        self.release = asyncio.Event()
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Return the URL to post to."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}/sms"

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(_catch_all(self._answer), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "localhost", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def wait_for(self, count: int) -> None:
        """Return once so many requests have come."""

        async def have_come() -> bool:
            return len(self.posted) >= count

        await until(have_come)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posted.append(Posted(request.method, request.path, headers, body))
        if self.is_silent:
            await self.release.wait()
        if self.hangs_up:
            assert request.transport is not None
            request.transport.abort()
        # Some quote what they were told.
        return web.Response(status=self.status, headers=self.headers, body=body)


def _catch_all(answer: Any) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    return application
