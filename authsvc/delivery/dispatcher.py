"""Send what the outbox holds: a worker of this kind runs in every process of the service.

No message is ever in one process's memory alone. A worker leases messages, sends them and notes how it went; one that
dies says nothing, its leases end, and another worker sends the messages with the same ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from authsvc.delivery.attempts import Attempts, log_failure
from authsvc.delivery.backoff import backoff, jittered
from authsvc.domain import Medium
from authsvc.store import outbox

# Waits for a database that is away.
RECONNECT_FIRST = timedelta(milliseconds=500)
RECONNECT_MAX = timedelta(seconds=30)
# Deaf for that long, a worker still polls.
LISTEN_AGAIN = timedelta(seconds=3)
# Routers forget idle connections after some minutes.
PING_EVERY = timedelta(minutes=1)
EXPIRE_AT_ONCE = 1000


class Dispatcher:
    """Take messages from the outbox to who tries to bring them.

    Those of a medium without a carrier are left to the workers that have one. Each medium has `concurrency` places of
    its own, so that none waits for another. `on_queue_age` is told, now and then, how long the message of a medium that
    is due longest has waited.
    """

    def __init__(self, *, attempts: Attempts, on_queue_age: Callable[[Medium, timedelta], None]) -> None:
        self._attempts = attempts
        self._database = attempts.database
        self._settings = attempts.settings
        self._clock = attempts.clock
        self._on_queue_age = on_queue_age
        self._wake = asyncio.Event()
        self._in_flight: Counter[Medium] = Counter()
        self._is_serving = False
        self._is_stopping = False

    async def run_once(self) -> int:
        """Send what is due, at most `concurrency` messages of each medium, and return how many were tried.

        Raises:
            DatabaseUnavailable: nothing was claimed.
        """
        await self._sweep()
        async with asyncio.TaskGroup() as sends:
            return await self._start_sends(sends)

    async def run(self) -> None:
        """Send what comes while the process serves, whatever fails, until `stop`.

        Cancelling is safe too: the leases see to the rest.
        """
        async with asyncio.TaskGroup() as helpers:
            duties = (
                self._keep_doing(self._listen, pause=LISTEN_AGAIN, failed="outbox hints lost"),
                self._keep_doing(self._sweep, pause=self._settings.poll_interval, failed="outbox unavailable"),
            )
            running = [helpers.create_task(duty) for duty in duties]
            try:
                async with asyncio.TaskGroup() as sends:
                    await self._keep_sending(sends)
            finally:
                self._is_stopping = True
                for helper in running:
                    helper.cancel()

    def set_serving(self, serving: bool) -> None:
        """Say whether this process serves; until then, and while it does not, it claims nothing.

        What keeps it from serving, a wrong master key for one, keeps it from sending too, and a message that it claims
        is lost to the others for so long.
        """
        self._is_serving = serving
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is in flight has come to its end."""
        self._is_stopping = True
        self._wake.set()

    async def _keep_sending(self, sends: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._is_stopping:
            # Before the claim: a hint that comes meanwhile must not be lost.
            self._wake.clear()
            try:
                if self._is_serving:
                    await self._start_sends(sends)
            except Exception as error:  # nobody would start it again
                failures += 1
                log_failure("outbox unavailable", error)
                await self._wait(backoff(RECONNECT_FIRST, RECONNECT_MAX, failures))
            else:
                failures = 0
                # For a hint, for a finished send that makes room, or until it is time to look regardless.
                await self._wait(jittered(self._settings.poll_interval))

    async def _wait(self, at_most: timedelta) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most.total_seconds()):
                await self._wake.wait()

    async def _start_sends(self, sends: asyncio.TaskGroup) -> int:
        return sum([await self._start_sends_over(medium, sends) for medium in self._attempts.carriers])

    async def _start_sends_over(self, medium: Medium, sends: asyncio.TaskGroup) -> int:
        room = self._settings.concurrency - self._in_flight[medium]
        if room <= 0:
            return 0
        now = self._clock.now()
        all_claimed = await outbox.claim(
            self._database, medium=medium, now=now, leased_until=now + self._settings.lease, limit=room
        )
        for claimed in all_claimed:
            self._in_flight[medium] += 1
            sends.create_task(self._attempts.make(claimed)).add_done_callback(lambda _: self._make_room(medium))
        return len(all_claimed)

    def _make_room(self, medium: Medium) -> None:
        self._in_flight[medium] -= 1
        self._wake.set()

    async def _keep_doing(self, work: Callable[[], Awaitable[None]], *, pause: timedelta, failed: str) -> None:
        while not self._is_stopping:
            try:
                await work()
            except Exception as error:  # as above
                log_failure(failed, error)
            await self._clock.sleep(jittered(pause))

    async def _listen(self) -> None:
        await outbox.listen(self._database, on_hint=self._wake.set, ping_every=PING_EVERY)

    async def _sweep(self) -> None:
        """End the expired messages, and measure the queues."""
        now = self._clock.now()
        for expired in await outbox.expire(self._database, now=now, limit=EXPIRE_AT_ONCE):
            self._attempts.tell(expired, "expired", level=logging.ERROR)
        # Of every medium: a queue that no worker has a carrier for must be seen to grow.
        for medium in Medium:
            oldest = await outbox.find_oldest_due(self._database, medium=medium, now=now)
            self._on_queue_age(medium, now - oldest if oldest else timedelta())
