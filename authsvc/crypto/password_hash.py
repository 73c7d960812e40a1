"""Argon2id (RFC 9106), and imported hashes until their first sign-in, in a bounded pool of low-priority threads.

A hash takes tens of milliseconds and megabytes. The pool has as many threads as cores, so memory is bounded; the queue
before it is short, so waiting is; and its threads are nicer by 10, so the event loop is scheduled first. argon2-cffi
releases the GIL while it hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError

from authsvc.clock import monotonic
from authsvc.crypto.foreign_hashes import parse_hash
from authsvc.crypto.hash_fields import HashParameters
from authsvc.errors import Overloaded

_T = TypeVar("_T")

# The dearest hash that the settings allow to be made: whatever was stored once can be verified.
DEAREST = HashParameters(time_cost=32, memory_kib=1_048_576, parallelism=16)
# How much the threads are nicer than the process; the nicest is 19.
NICE = 10
# Weight of the newest duration in the running mean that RetryInfo is made of.
_SMOOTHING = 0.1


class PasswordHasher:
    """Hash and verify passwords, at most `threads` at once and `queue` waiting."""

    def __init__(self, *, parameters: HashParameters, threads: int, queue: int) -> None:
        self._parameters = parameters
        self._argon2 = Argon2(
            time_cost=parameters.time_cost, memory_cost=parameters.memory_kib, parallelism=parameters.parallelism
        )
        self._threads = threads
        self._capacity = threads + queue
        self._taken = 0
        self._mean_seconds = 0.03
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="password-hash", initializer=_lower_priority)
        # Verified in place of an unknown user's hash, so that names which don't exist cost the same.
        self._dummy = self._argon2.hash("no password has this hash")

    @property
    def waiting(self) -> int:
        """Count the places taken: hashes that run, wait, or are about to."""
        return self._taken

    @asynccontextmanager
    async def place(self) -> AsyncIterator[HashPlace]:
        """Take a place in the queue before anything is counted or looked up for the work that needs it.

        Raises:
            Overloaded: the queue is full; `retry_after` is its expected length.
        """
        if self._taken >= self._capacity:
            raise Overloaded(retry_after=self.expected_wait())
        place, loop = HashPlace(hasher=self), asyncio.get_running_loop()
        self._taken += 1
        try:
            yield place
        finally:
            if place.job is None or place.job.done():
                self._leave()
            else:
                # Once its thread is free: a cancelled caller's hash still runs and still takes memory.
                place.job.add_done_callback(lambda _: self._leave_from_thread(loop))

    def expected_wait(self) -> timedelta:
        """Estimate how long a hash that comes now would take to finish."""
        return timedelta(seconds=max(0.05, (self._taken + 1) * self._mean_seconds / self._threads))

    def needs_rehash(self, hash_: str) -> bool:
        """Tell whether a hash was made with other parameters than today's, or by another system."""
        try:
            return self._argon2.check_needs_rehash(hash_)
        except InvalidHashError:
            return True

    def stored_form(self, hash_: str) -> str:
        """Return the text in which a hash of another system is stored.

        Raises:
            HashRefused: it is of no known kind, malformed, or would cost too much.
        """
        return parse_hash(hash_, self._parameters).text

    def close(self) -> None:
        """Stop the threads once what runs has finished; what waits is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _verify(self, hash_: str | None, password: str, typed: str | None) -> bool:
        stored = parse_hash(hash_ or self._dummy, DEAREST)
        is_right = stored.verify(password.encode())
        if hash_ is None:
            return False
        if is_right or typed in (None, password) or not self.needs_rehash(hash_):
            return is_right
        # Other systems hash what was typed, not its normal form.
        return stored.verify(str(typed).encode())

    async def _run(self, place: HashPlace, work: Callable[[], _T]) -> _T:
        def timed() -> tuple[_T, float]:
            started = monotonic()
            return work(), monotonic() - started

        place.job = job = self._executor.submit(timed)
        # A cancelled caller takes its job out of the queue if it has not begun.
        result, seconds = await asyncio.wrap_future(job)
        self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)
        return result

    def _leave_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed, and nobody counts any more
            loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._taken -= 1


class HashPlace:
    """Stand for one place in the hash queue."""

    __slots__ = ("_hasher", "job")

    def __init__(self, *, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self.job: Future[Any] | None = None

    async def hash(self, password: str) -> str:
        """Return a new Argon2id hash in PHC string format."""
        return await self._hasher._run(self, lambda: self._hasher._argon2.hash(password))  # noqa: SLF001  # one module, two halves

    async def verify(self, hash_: str | None, password: str, *, typed: str | None = None) -> bool:
        """Tell whether `password` has `hash_`; None, for an unknown user, costs the same and is never right.

        `typed` is the password before it was normalised: a hash of another system may be of that.

        Raises:
            HashRefused: what is stored is no hash.
        """
        return await self._hasher._run(self, lambda: self._hasher._verify(hash_, password, typed))  # noqa: SLF001  # one module, two halves


def _lower_priority() -> None:
    # On Linux a thread has a nice value of its own. It begins with the process's, which may be anything: a fixed one
    # could be a higher priority, which takes a privilege.
    thread = threading.get_native_id()
    # Where a sandbox forbids even this, hashing at the same priority will do: a failure here ends the pool for good.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)
