"""Where dear hashes of other systems are verified: a line apart, and the time that tells none of them from others.

They may take a second each, an unknown name's hash some tens of milliseconds. So a refusal takes as long as the dearest
hash in use, whoever's name it was: those without such a hash wait, which costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from authsvc.clock import monotonic
from authsvc.errors import Overloaded

_T = TypeVar("_T")

# Beyond what was measured in quiet: verifications take a little more or less each time.
MARGIN = 1.25
# How much of what load added the next verification forgets.
_FORGETS = 0.05
# What one dear hash takes, for who is asked to come again.
RETRY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignBounds:
    """Bound what hashes of other systems cost: how many at once, how many wait, and how many tries of one source."""

    threads: int = 1
    queue: int = 16
    per_source: int = 8


class ForeignLine:
    """Verify hashes of other systems, a few at once, and know how long the dearest in use takes."""

    def __init__(self, *, bounds: ForeignBounds, initializer: Callable[[], None]) -> None:
        self._bounds = bounds
        self._executor = ThreadPoolExecutor(bounds.threads, thread_name_prefix="foreign-hash", initializer=initializer)
        self._jobs: set[Future[Any]] = set()
        self._sources: Counter[str] = Counter()
        # Seconds of each cost in use, as measured.
        self._measured: dict[str, float] = {}
        self._slowest = 0.0

    @property
    def level(self) -> timedelta:
        """Return how long a refusal takes beyond an unknown name's hash; nothing while no such hash is in use."""
        return timedelta(seconds=max(self._quiet, self._slowest) if self._measured else 0)

    @property
    def is_full(self) -> bool:
        """Tell whether none can be verified now."""
        self._jobs = {job for job in self._jobs if not job.done()}
        return len(self._jobs) >= self._bounds.threads + self._bounds.queue

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Begin work as soon as a thread is free; whether there is room was asked before."""
        job = self._executor.submit(work)
        self._jobs.add(job)
        return job

    def note(self, seconds: float) -> None:
        """Note what one verification took with its wait: for a while refusals take no less."""
        self._slowest = max(seconds, self._slowest - _FORGETS * (self._slowest - self._quiet))

    async def learn(self, costs: Mapping[str, Callable[[], object]]) -> None:
        """Measure the costs in use that are new, and forget those that are gone; to be called now and then."""
        # Load that is over is forgotten by and by, also where nobody tries an imported account.
        self._slowest -= (self._slowest - self._quiet) / 2
        for cost, work in costs.items():
            if cost not in self._measured:
                self._measured[cost] = await asyncio.wrap_future(self._executor.submit(_seconds_of, work))
        self._measured = {cost: seconds for cost, seconds in self._measured.items() if cost in costs}

    @contextmanager
    def try_of(self, source: str) -> Iterator[None]:
        """Count a try of a source for as long as it lasts, while hashes of other systems are in use.

        Whatever name it is at: what is bounded for some names alone would tell them apart.

        Raises:
            Overloaded: the source has as many tries at once as it may.
        """
        if self._measured and source and self._sources[source] >= self._bounds.per_source:
            raise Overloaded(retry_after=RETRY)
        self._sources[source] += 1
        try:
            yield
        finally:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    def close(self) -> None:
        """Stop the threads once what runs has finished; what waits is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    @property
    def _quiet(self) -> float:
        return MARGIN * max(self._measured.values(), default=0.0)


def _seconds_of(work: Callable[[], object]) -> float:
    started = monotonic()
    work()
    return monotonic() - started
