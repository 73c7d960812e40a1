"""The load driver: keeps calls in flight, or starts them at a fixed pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from bench.window import Window, cpu_seconds

# Makes the n-th call.
Call = Callable[[int], Awaitable[object]]


async def saturate(call: Call, *, pid: int, in_flight: int, seconds: float) -> Window:
    """Keep `in_flight` calls going for a while; return what they cost the process `pid`."""
    end = time.monotonic() + seconds
    calls = 0

    async def repeat() -> None:
        nonlocal calls
        while time.monotonic() < end:
            calls += 1
            await call(calls)

    started, cpu_before = time.monotonic(), cpu_seconds(pid)
    await asyncio.gather(*(repeat() for _ in range(in_flight)))
    return Window(calls, time.monotonic() - started, cpu_seconds(pid) - cpu_before)


async def pace(call: Call, *, per_second: int, seconds: float) -> list[float]:
    """Start calls at a fixed pace, however long the earlier ones take; return the seconds that each took."""
    times: list[float] = []

    async def timed(number: int) -> None:
        started = time.perf_counter()
        await call(number)
        times.append(time.perf_counter() - started)

    loop = asyncio.get_running_loop()
    start = loop.time()
    async with asyncio.TaskGroup() as calls:
        for number in range(int(per_second * seconds)):
            await asyncio.sleep(start + number / per_second - loop.time())
            calls.create_task(timed(number))
    return times


def percentile(times: Sequence[float], share: float) -> float:
    """Return the time within which `share` of the calls ended."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
