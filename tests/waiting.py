"""Waiting for what happens in other processes: nobody there can set an event here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

# Generous: the machine may be busy with other tests.
PATIENCE = 20.0
POLL_SECONDS = 0.02


async def until(condition: Callable[[], Awaitable[bool]], *, patience: float = PATIENCE) -> None:
    """Return once a condition holds.

    Raises:
        TimeoutError: it did not for so many seconds.
    """
    async with asyncio.timeout(patience):
        while not await condition():  # noqa: ASYNC110  # another process sets no event
            await asyncio.sleep(POLL_SECONDS)
