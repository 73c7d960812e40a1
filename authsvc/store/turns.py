"""Turns: of the calls that want the row of one account, one at a time comes to a connection.

A row lock is waited for on a connection. Without turns a user who calls often enough at once has every connection of a
process wait for one row, and nobody else gets any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from authsvc.errors import Overloaded

# About what a full line of the default length takes.
RETRY_TURN = timedelta(milliseconds=500)


@dataclass(slots=True)
class _Line:
    """Hold whose turn it is, and how many calls have come and not gone."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: int = 0


class Turns:
    """Let calls that want the same thing come one after the other, in the order in which they came."""

    def __init__(self, *, queue: int) -> None:
        """Let at most `queue` calls wait for one thing."""
        self._capacity = queue + 1
        self._lines: dict[Hashable, _Line] = {}

    @asynccontextmanager
    async def take(self, what: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and hold it. Not to be taken by who has one for the same thing.

        Raises:
            Overloaded: too many wait for the same thing.
        """
        line = self._lines.setdefault(what, _Line())
        if line.calls >= self._capacity:
            raise Overloaded(retry_after=RETRY_TURN)
        line.calls += 1
        try:
            async with line.turn:
                yield
        finally:
            line.calls -= 1
            if not line.calls:
                del self._lines[what]
