"""Several server processes on one port: start them, replace those that die, end them together.

Processes of their own, not forks: gRPC's threads don't survive a fork. All of them listen with SO_REUSEPORT, so the
kernel spreads connections over them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from prometheus_client.multiprocess import mark_process_dead

from authsvc.cli import metrics
from authsvc.cli.failures import Failed
from authsvc.cli.ports import PORT_SETTING, reserved
from authsvc.cli.settings import environment
from authsvc.cli.signals import stop_by_signal
from authsvc.clock import monotonic
from authsvc.config import ServerSettings

# Waits before a dead worker is replaced: one that dies again and again must not use up the machine.
BACKOFF_FIRST = timedelta(milliseconds=500)
BACKOFF_MAX = timedelta(seconds=30)
# The death of a worker that has lived so long is not one of a series.
STABLE_SECONDS = 60

_WORKER = (sys.executable, "-m", "authsvc", "worker")

_log = structlog.get_logger()


class Supervisor:
    """Run as many workers as the settings say; they read all other settings themselves."""

    def __init__(self, *, settings: ServerSettings) -> None:
        self._settings = settings
        self._environment = environment() | {
            "AUTHSVC_SERVER_WORKERS": str(settings.workers),
            "AUTHSVC_SERVER_METRICS_PORT": "0",
        }
        self._metrics_folder: str | None = None
        self._running: set[Process] = set()
        # The workers' standard input. Nothing is ever written to it: its end tells them to stop, and comes as well when
        # this process is killed.
        input_, order = os.pipe()
        self._input = os.fdopen(input_, "rb")
        self._order = os.fdopen(order, "wb")

    async def run(self) -> None:
        """Serve until a signal comes, then wait until the workers have finished their calls.

        Raises:
            Failed: the port is taken, or the workers don't start.
        """
        stop = stop_by_signal(before_death=self._kill_all)
        with reserved(self._settings.host, self._settings.port, chosen_by=PORT_SETTING) as port, self._metrics():
            self._environment[PORT_SETTING] = str(port)
            try:
                workers = [await self._start() for _ in range(self._settings.workers)]
                if not all(await asyncio.gather(*map(_listens, workers))):
                    raise Failed("the workers can't start; the reason is above")
                _log.info("listening", host=self._settings.host, port=port, workers=len(workers))
                async with asyncio.TaskGroup() as tasks:
                    for worker in workers:
                        tasks.create_task(self._replace_when_dead(worker, stop))
                    await stop.wait()
                    _log.info("draining")
                    self._order.close()
            finally:
                self._order.close()
                await asyncio.gather(*(worker.wait() for worker in self._running))
        _log.info("stopped")

    async def _start(self) -> Process:
        worker = await asyncio.create_subprocess_exec(
            *_WORKER,
            stdin=self._input,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C at the terminal is for us, who tell the workers
        )
        self._running.add(worker)
        return worker

    async def _replace_when_dead(self, worker: Process, stop: asyncio.Event) -> None:
        pause = BACKOFF_FIRST
        started = monotonic()
        while True:
            status = await worker.wait()
            self._running.discard(worker)
            if self._metrics_folder:
                mark_process_dead(worker.pid, self._metrics_folder)  # type: ignore[no-untyped-call]  # has no types
            if stop.is_set():
                return
            if monotonic() - started > STABLE_SECONDS:
                pause = BACKOFF_FIRST
            _log.error("worker died", pid=worker.pid, status=status, replaced_in_seconds=pause.total_seconds())
            if await _is_set_within(pause, stop):
                return
            pause = min(pause * 2, BACKOFF_MAX)
            started = monotonic()
            worker = await self._start()

    def _kill_all(self) -> None:
        for worker in self._running:
            worker.kill()

    @contextmanager
    def _metrics(self) -> Iterator[None]:
        if not self._settings.metrics_port:
            yield
            return
        with metrics.new_folder() as folder:
            self._metrics_folder = self._environment[metrics.FOLDER_VARIABLE] = str(folder)
            metrics.publish(self._settings, metrics.sum_of_processes(str(folder)))
            yield


async def _listens(worker: Process) -> bool:
    """Wait until the worker says that it listens; False if it ends before."""
    assert worker.stdout is not None  # noqa: S101 - for mypy: it was started with a pipe
    return bool(await worker.stdout.readline())


async def _is_set_within(pause: timedelta, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(pause.total_seconds()):
            return await event.wait()
    except TimeoutError:
        return False
