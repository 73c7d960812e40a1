"""Password hashing: a bounded number of places, given back whatever happens to who took them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta

import pytest
from argon2 import Type, extract_parameters

from authsvc.crypto.hash_fields import HashParameters, HashRefused
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.errors import Overloaded
from tests.waiting import until

CHEAPEST = HashParameters(time_cost=1, memory_kib=8, parallelism=1)
THREADS, QUEUE = 1, 2


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    """Make a hasher with one thread and room for two more."""
    made = PasswordHasher(parameters=CHEAPEST, threads=THREADS, queue=QUEUE)
    yield made
    made.close()


@contextmanager
def busy(hasher: PasswordHasher) -> Iterator[None]:
    """Keep the thread busy, so that what is submitted waits."""
    release = threading.Event()
    hasher._executor.submit(release.wait)
    try:
        yield
    finally:
        release.set()


async def hash_one(hasher: PasswordHasher, password: str = "password") -> str:
    """Take a place and hash."""
    async with hasher.place() as place:
        return await place.hash(password)


async def until_waiting(hasher: PasswordHasher, count: int) -> None:
    """Return once so many places are taken."""

    async def is_so() -> bool:
        return hasher.waiting == count

    await until(is_so)


async def test_password_is_verified_against_its_hash(hasher: PasswordHasher) -> None:
    """The right password has its hash, another hasn't, and two hashes of one password differ."""
    hashes = [await hash_one(hasher) for _ in range(2)]
    assert hashes[0] != hashes[1]
    async with hasher.place() as place:
        assert [await place.verify(hash_, "password") for hash_ in hashes] == [True, True]
        assert not await place.verify(hashes[0], "Password")


async def test_hash_is_argon2id_with_the_parameters_of_the_settings() -> None:
    """The stored hash tells the algorithm and the cost that the settings ask for."""
    hasher = PasswordHasher(parameters=HashParameters(time_cost=3, memory_kib=64, parallelism=2), threads=1, queue=1)
    made = extract_parameters(await hash_one(hasher))
    hasher.close()
    assert (made.type, made.version) == (Type.ID, 19)
    assert (made.time_cost, made.memory_cost, made.parallelism) == (3, 64, 2)
    assert (made.hash_len, made.salt_len) == (32, 16)


async def test_unknown_user_costs_the_same_and_is_never_right(hasher: PasswordHasher) -> None:
    """Without a hash a dummy of the same cost is verified, and not even the dummy's password is right."""
    assert extract_parameters(hasher._dummy) == extract_parameters(await hash_one(hasher))
    async with hasher.place() as place:
        assert not await place.verify(None, "password")
        assert hasher._verify(hasher._dummy, "no password has this hash", None)
        assert not await place.verify(None, "no password has this hash")


async def test_damaged_hash_is_a_fault_and_no_wrong_password(hasher: PasswordHasher) -> None:
    """What is no hash is told, not answered as a mismatch."""
    async with hasher.place() as place:
        with pytest.raises(HashRefused):
            await place.verify("garbage", "password")
    assert hasher.waiting == 0


async def test_hash_of_other_parameters_needs_a_rehash(hasher: PasswordHasher) -> None:
    """A hash of today's cost stays; one of another cost, or of another algorithm, is made anew."""
    hash_ = await hash_one(hasher)
    dearer = PasswordHasher(parameters=HashParameters(2, 8, 1), threads=1, queue=1)
    assert not hasher.needs_rehash(hash_)
    assert dearer.needs_rehash(hash_)
    assert hasher.needs_rehash(await hash_one(dearer))
    assert hasher.needs_rehash("$2b$12$abcdefghijklmnopqrstuv")
    dearer.close()


async def test_one_place_more_than_threads_and_queue_is_refused(hasher: PasswordHasher) -> None:
    """As many callers as there are threads and places in the queue get one; the next is told how long to wait."""
    async with AsyncExitStack() as stack:
        for _ in range(THREADS + QUEUE):
            await stack.enter_async_context(hasher.place())
        assert hasher.waiting == THREADS + QUEUE
        with pytest.raises(Overloaded) as refused:
            await stack.enter_async_context(hasher.place())
        assert refused.value.retry_after == hasher.expected_wait()
        assert hasher.expected_wait() > timedelta()
    assert hasher.waiting == 0
    assert await hash_one(hasher)


async def test_more_hashes_wait_longer(hasher: PasswordHasher) -> None:
    """The expected wait grows with the places taken and with what hashes have taken so far."""
    hasher._mean_seconds = 1.0
    assert hasher.expected_wait() == timedelta(seconds=1)
    async with hasher.place():
        assert hasher.expected_wait() == timedelta(seconds=2)
    for _ in range(50):
        await hash_one(hasher)
    assert hasher.expected_wait() < timedelta(seconds=0.5)


async def test_place_is_given_back_after_an_error(hasher: PasswordHasher) -> None:
    """A caller that fails between taking a place and hashing leaves none taken."""
    with pytest.raises(ZeroDivisionError):
        async with hasher.place():
            raise ZeroDivisionError
    assert hasher.waiting == 0


async def test_cancelled_caller_that_waits_leaves_the_queue_at_once(hasher: PasswordHasher) -> None:
    """A hash that has not begun is not computed for a caller that has gone, and its place is free."""
    with busy(hasher):
        callers = [asyncio.ensure_future(hash_one(hasher)) for _ in range(THREADS + QUEUE)]
        await until_waiting(hasher, THREADS + QUEUE)
        callers[0].cancel()
        await asyncio.wait(callers[:1])
        assert callers[0].cancelled()
        assert hasher.waiting == THREADS + QUEUE - 1
        another = asyncio.ensure_future(hash_one(hasher))
        await until_waiting(hasher, THREADS + QUEUE)
    await asyncio.gather(*callers[1:], another)
    assert hasher.waiting == 0


async def test_cancelled_caller_whose_hash_runs_keeps_the_place_until_it_ends(hasher: PasswordHasher) -> None:
    """A thread can't be stopped: its place is taken until it is free, so memory stays bounded."""
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        release.wait()

    try:
        async with hasher.place() as place:
            running = asyncio.ensure_future(hasher._run(place, work))
            await asyncio.to_thread(begun.wait)
            running.cancel()
            await asyncio.wait({running})
        assert running.cancelled()
        assert hasher.waiting == 1
    finally:
        release.set()
    await until_waiting(hasher, 0)


async def test_event_loop_runs_while_a_password_is_hashed() -> None:
    """A hash is computed beside the loop, which goes on meanwhile."""
    hasher = PasswordHasher(
        parameters=HashParameters(time_cost=2, memory_kib=64 * 1024, parallelism=1), threads=1, queue=1
    )
    hashing = asyncio.ensure_future(hash_one(hasher))
    turns = 0
    while not hashing.done():
        await asyncio.wait({hashing}, timeout=0.001)
        turns += 1
    hasher.close()
    assert turns > 10


async def test_closing_drops_what_waits() -> None:
    """After the end nothing is computed any more for those who waited."""
    hasher = PasswordHasher(parameters=CHEAPEST, threads=1, queue=2)
    with busy(hasher):
        waiting = asyncio.ensure_future(hash_one(hasher))
        await until_waiting(hasher, 1)
        closing = asyncio.ensure_future(asyncio.to_thread(hasher.close))
        await asyncio.wait({waiting})
        assert waiting.cancelled()
    await closing
