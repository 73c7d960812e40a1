"""The bare hash: nothing but password verifications, in a process of its own, on as many threads as the server has."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

from authsvc.config import PasswordsSettings
from bench.window import Window

PASSWORD = "Tr0mbone-under-9-lakes"  # noqa: S105  # of accounts that live for a minute


def make_hash(settings: PasswordsSettings) -> str:
    """Hash the password of every account."""
    return _hasher(settings).hash(PASSWORD)


def verify_repeatedly(settings: PasswordsSettings, threads: int, seconds: float) -> Window:
    """Verify the password on all threads for a while."""
    hasher = _hasher(settings)
    hash_ = hasher.hash(PASSWORD)
    end = time.monotonic() + seconds

    def repeat(_thread: int) -> int:
        calls = 0
        while time.monotonic() < end:
            hasher.verify(hash_, PASSWORD)
            calls += 1
        return calls

    with ThreadPoolExecutor(threads) as executor:
        started, cpu_before = time.monotonic(), time.process_time()
        calls = sum(executor.map(repeat, range(threads)))
        return Window(calls, time.monotonic() - started, time.process_time() - cpu_before)


def _hasher(settings: PasswordsSettings) -> PasswordHasher:
    return PasswordHasher(
        time_cost=settings.argon2_time_cost,
        memory_cost=settings.argon2_memory_kib,
        parallelism=settings.argon2_parallelism,
    )
