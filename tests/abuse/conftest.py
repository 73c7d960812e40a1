"""Fixtures: the service as it comes, which believes callers of this machine about the addresses of end users."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rpc.conftest import Run, run
from tests.service import Service

__all__ = ["run"]

TRUSTING = {"trusted_callers": "127.0.0.0/8"}


@pytest.fixture
async def door(run: Run) -> AsyncIterator[Service]:
    """Run the service for end users with addresses of their own."""
    async with run(server=TRUSTING) as service:
        yield service
