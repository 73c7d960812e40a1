"""Run the service in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from authsvc.app import App
from authsvc.cli import metrics as endpoint
from authsvc.cli.failures import expected
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.rpc.server import TransportError
from authsvc.telemetry.metrics import Metrics


async def serve(settings: Settings, stop: asyncio.Event, on_listening: Callable[[int], None]) -> None:
    """Serve until `stop` is set; call `on_listening` with the port.

    Raises:
        Failed: the server or its metrics endpoint can't listen.
    """
    metrics = Metrics()
    if settings.server.metrics_port:
        endpoint.publish(settings.server, metrics.registry)
    async with App.open(settings, SystemClock(), metrics) as app:
        with expected(TransportError):
            port = await app.start()
        on_listening(port)
        await app.run(stop)
