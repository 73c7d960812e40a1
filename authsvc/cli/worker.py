"""One of the processes of `authsvc serve --workers`; started by the supervisor, not by people."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import click
import uvloop

from authsvc.cli import metrics
from authsvc.cli.process import serving
from authsvc.cli.settings import read_settings
from authsvc.config import Settings
from authsvc.telemetry.logs import set_up_logs


@click.command(hidden=True)
def command() -> None:
    """Serve until standard input ends, and say on standard output when it listens."""
    settings = read_settings("database", "keys", "mail", "files")
    set_up_logs(settings.log)
    # It may outlive its supervisor, if that is killed.
    with metrics.inherited_folder():
        uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # The end of the pipe is the order to stop, and what is left of a supervisor that was killed.
    loop.add_reader(sys.stdin, _stop_reading, loop, stop)
    # A service manager may send SIGTERM to every process of the service; it means no more than the supervisor's order.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as port:
        # A supervisor that died meanwhile does not read it.
        with contextlib.suppress(BrokenPipeError):
            print(port, flush=True)
        await stop.wait()


def _stop_reading(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.remove_reader(sys.stdin)
    stop.set()
