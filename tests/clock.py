"""A clock that tests move."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

# Some Tuesday; far from any boundary that code could care for.
NOON = datetime(2030, 1, 15, 12, 0, 7, tzinfo=UTC)
TICK = timedelta(microseconds=1)


class FakeClock:
    """Stand still until told otherwise; wake sleepers whose time has come."""

    def __init__(self, start: datetime = NOON) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the time last set."""
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        """Wait until the time has been moved on by `duration`."""
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + duration, woken))
        await woken

    def advance(self, duration: timedelta) -> None:
        """Move the time on."""
        self._now += duration
        due = [entry for entry in self._sleepers if entry[0] <= self._now]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._now]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)
