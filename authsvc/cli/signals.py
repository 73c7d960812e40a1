"""What SIGTERM and Ctrl-C do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_by_signal(before_death: Callable[[], None] = lambda: None) -> asyncio.Event:
    """Return an event that the first signal sets; the second one ends the process, after `before_death`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def end_in_order() -> None:
        stop.set()
        for number in _SIGNALS:
            loop.add_signal_handler(number, end_at_once, number)

    def end_at_once(number: int) -> None:
        before_death()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        # The first process of a container survives a signal without a handler.
        os._exit(128 + number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, end_in_order)
    return stop
