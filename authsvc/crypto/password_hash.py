"""Argon2id (RFC 9106), and imported hashes until their first sign-in, in bounded pools of low-priority threads.

A hash takes tens of milliseconds and megabytes. The pool has as many threads as cores, so memory is bounded; the queue
before it is short, so waiting is; and its threads are nicer by 10, so the event loop is scheduled first. argon2-cffi
releases the GIL while it hashes.

Whatever name a password is tried at, it costs one hash of today's settings here. Where a hash by others is stored, it
is the one that takes its place if the password is right; that one is verified besides, in a line apart if it is dearer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError

from authsvc.clock import monotonic, pause
from authsvc.crypto.foreign_hashes import StoredHash, parse_hash
from authsvc.crypto.foreign_line import RETRY, ForeignBounds, ForeignLine
from authsvc.crypto.hash_fields import HashParameters, HashRefused
from authsvc.errors import NotAuthorized, Overloaded

_T = TypeVar("_T")

# The dearest hash that the settings allow to be made: whatever was stored once can be verified.
DEAREST = HashParameters(time_cost=32, memory_kib=1_048_576, parallelism=16)
# Of hashes by former settings, and perhaps of imported ones.
OWN_KIND = "$argon2id$v=19$"
# How much the threads are nicer than the process; the nicest is 19.
NICE = 10
# Weight of the newest duration in the running mean that RetryInfo is made of.
_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class Verified:
    """Tell whether a password is right, and its hash by today's settings if it is and the stored one is by others."""

    is_right: bool
    rehashed: str | None = field(default=None, repr=False)


class PasswordHasher:
    """Hash and verify passwords, at most `threads` at once and `queue` waiting; dear ones of others apart."""

    def __init__(
        self, *, parameters: HashParameters, threads: int, queue: int, foreign: ForeignBounds | None = None
    ) -> None:
        self._parameters = parameters
        self._foreign = ForeignLine(bounds=foreign or ForeignBounds(), initializer=_lower_priority)
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

    @asynccontextmanager
    async def place_for_try(self, source: str) -> AsyncIterator[HashPlace]:
        """Take a place for a try of a source at a password; a refusal inside is told no sooner than for any name.

        Raises:
            Overloaded: the queue is full, or the source has as many tries at once as it may.
        """
        with self._foreign.try_of(source):
            try:
                async with self.place() as place:
                    place.is_try = True
                    yield place
            except NotAuthorized:
                # With the place given back: what waits costs nothing.
                await pause(place.owed)
                raise

    async def learn(self, samples: Iterable[tuple[str, str]]) -> timedelta:
        """Measure what hashes by other settings or systems cost, by one of each cost in use; return what refusals take.

        What is no hash is left out: whose it is will be told.
        """
        costs: dict[str, Callable[[], object]] = {}
        for cost, hash_ in samples:
            if self.needs_rehash(hash_):
                with contextlib.suppress(HashRefused):
                    costs[cost] = partial(parse_hash(hash_, DEAREST).verify, b"")
        await self._foreign.learn(costs)
        return self._foreign.level

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
        self._foreign.close()

    async def _judge(self, place: HashPlace, hash_: str | None, password: str, *, typed: str) -> Verified:
        forms = list(dict.fromkeys((password, typed)))
        if hash_ is None or not self.needs_rehash(hash_):
            own = parse_hash(hash_ or self._dummy, DEAREST)
            is_right = await self._run(place, lambda: own.verify(password.encode())) and hash_ is not None
            verified, taken, has_room = Verified(is_right), 0.0, not self._foreign.is_full
        else:
            foreign = parse_hash(hash_, DEAREST)
            # What any name costs: here it is the hash that takes the place of the stored one.
            rehashed = await self._run(place, lambda: self._argon2.hash(password))
            has_room, is_dear, started = not self._foreign.is_full, not self._costs_no_more(hash_), monotonic()
            if is_dear and not has_room:
                raise Overloaded(retry_after=RETRY)
            # Other systems hash what was typed, we its normal form: one of both, where it is certain whose hash it is.
            tried = forms if hash_.startswith(OWN_KIND) else [typed]
            is_right = await self._verify_foreign(place, lambda: _has_one_of(foreign, tried), is_dear=is_dear)
            taken = monotonic() - started
            verified = Verified(is_right, rehashed if is_right else None)
            self._foreign.note(taken / len(tried))
        if place.is_try and not verified.is_right:
            if not has_room:
                # As it would be with a dear hash.
                raise Overloaded(retry_after=RETRY)
            # Whoever types what is not normal may have two forms verified, so all are owed the time of two.
            place.owed += max(self._foreign.level * len(forms) - timedelta(seconds=taken), timedelta())
        return verified

    async def _verify_foreign(self, place: HashPlace, work: Callable[[], bool], *, is_dear: bool) -> bool:
        """Verify a hash by others: in the line apart if it is dearer than our own."""
        if not is_dear:
            return await self._run(place, work)
        place.job = job = self._foreign.submit(work)
        return await asyncio.wrap_future(job)

    def _costs_no_more(self, hash_: str) -> bool:
        """Tell whether a hash is an Argon2 that costs no more than today's: by former settings, in most cases."""
        try:
            cost = extract_parameters(hash_)
        except InvalidHashError:
            return False
        most = self._parameters
        return (
            cost.time_cost <= most.time_cost
            and cost.memory_cost <= most.memory_kib
            and cost.parallelism <= most.parallelism
        )

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
    """Stand for one place in the hash queue.

    In that of a try at a password, `owed` is what a refusal has to wait for still, to be like that of any other name.
    """

    __slots__ = ("_hasher", "is_try", "job", "owed")

    def __init__(self, *, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self.job: Future[Any] | None = None
        self.is_try = False
        self.owed = timedelta()

    async def hash(self, password: str) -> str:
        """Return a new Argon2id hash in PHC string format."""
        return await self._hasher._run(self, lambda: self._hasher._argon2.hash(password))  # noqa: SLF001  # one module, two halves

    async def verify(self, hash_: str | None, password: str, *, typed: str | None = None) -> Verified:
        """Verify a password; None in the place of a hash, for an unknown user, costs the same and is never right.

        `typed` is the password before it was normalised: a hash of another system may be of that.

        Raises:
            HashRefused: what is stored is no hash.
            Overloaded: too many hashes of other systems wait: this is one of them, or a try that is wrong.
        """
        return await self._hasher._judge(self, hash_, password, typed=typed or password)  # noqa: SLF001  # as above


def _has_one_of(stored: StoredHash, forms: list[str]) -> bool:
    """Tell whether one of a password's forms has a hash."""
    return any(stored.verify(form.encode()) for form in forms)


def _lower_priority() -> None:
    # On Linux a thread has a nice value of its own. It begins with the process's, which may be anything: a fixed one
    # could be a higher priority, which takes a privilege.
    thread = threading.get_native_id()
    # Where a sandbox forbids even this, hashing at the same priority will do: a failure here ends the pool for good.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICE)
