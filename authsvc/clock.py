"""The only reader of wall time, and the only sleeper."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tell the time and wait; handed to whatever needs either, so that tests can move time."""

    def now(self) -> datetime:
        """Return the current time as an aware UTC datetime."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Suspend the calling task for `duration`."""
        ...


class SystemClock:
    """Read the machine's clock, which the operator keeps in step with NTP: TOTP needs it within seconds."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the current time as an aware UTC datetime."""
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        """Suspend the calling task for `duration`."""
        await asyncio.sleep(duration.total_seconds())


def monotonic() -> float:
    """Return seconds on a clock that never steps, for durations."""
    return time.monotonic()
