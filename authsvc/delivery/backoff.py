"""Waits between tries, spread so that many workers don't come back as one."""

from __future__ import annotations

from datetime import timedelta

from authsvc.crypto.tokens import jitter


def backoff(first: timedelta, most: timedelta, failures: int) -> timedelta:
    """Return the wait after so many failures in a row: from half of `first`, doubled each time, to the whole of it."""
    # The exponent is bounded, not only the result: 2^100 seconds is no timedelta.
    longest = min(first * (1 << min(failures - 1, 20)), most)
    return longest * (0.5 + jitter() / 2)


def jittered(interval: timedelta) -> timedelta:
    """Return three quarters of an interval, up to the whole."""
    return interval * (0.75 + jitter() / 4)
