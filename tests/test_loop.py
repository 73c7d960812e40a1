"""The event loop of the tests checks as asyncio's debug mode does."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest


async def test_calls_from_other_threads_are_refused() -> None:
    """Who schedules a callback from another thread, where it would be lost or come late, is told."""
    loop = asyncio.get_running_loop()
    with pytest.raises(RuntimeError, match="Non-thread-safe"):
        await asyncio.to_thread(loop.call_soon, print)


async def test_coroutines_are_no_callbacks() -> None:
    """A coroutine function as a callback, which would never run, is refused."""
    callback: Any = asyncio.sleep
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        asyncio.get_running_loop().call_soon(callback, 0)


async def test_sockets_that_block_are_refused() -> None:
    """A socket that would block the loop is refused."""
    with socket.socket() as blocking, pytest.raises(ValueError, match="must be non-blocking"):
        await asyncio.get_running_loop().sock_recv(blocking, 1)
