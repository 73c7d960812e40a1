"""The event loop of the tests: asyncio's, checking all that it checks in debug mode, without keeping notes of it."""

from __future__ import annotations

import asyncio


class CheckingLoop(asyncio.SelectorEventLoop):
    """Check as in debug mode; don't take down, for each task, future and callback, the stack that made it.

    The notes cost more than half of the time that tests take. asyncio's own loop asks the attribute that `set_debug`
    sets before each check, and `get_debug` before each note. `PYTHONASYNCIODEBUG=1` brings the notes back.
    """

    def get_debug(self) -> bool:
        """Tell those who would keep notes that nobody reads them."""
        return False
