"""Run the service in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from authsvc.app import App
from authsvc.cli import metrics as endpoint
from authsvc.cli.failures import expected
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.rpc.server import TransportError
from authsvc.telemetry.metrics import Metrics


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    """Listen, and give the port; at the end finish the calls in flight, then stop.

    Raises:
        Failed: the server or its metrics endpoint can't listen.
    """
    stop = asyncio.Event()
    metrics = Metrics()
    if settings.server.metrics_port:
        endpoint.publish(settings.server, metrics.registry)
    async with App.open(settings, SystemClock(), metrics) as app:
        with expected(TransportError):
            port = await app.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(app.run(stop))
                try:
                    yield port
                finally:
                    stop.set()
                    # Before an error or a cancellation reaches the group, which would cut it off.
                    await asyncio.wait({running})
        except ExceptionGroup as group:
            # What ends the command leaves the group as it is, to be told in its own words.
            for error in group.exceptions:
                if isinstance(error, click.ClickException):
                    raise error from None
            raise
