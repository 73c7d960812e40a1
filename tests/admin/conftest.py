"""Fixtures: the service as its operators' tests have it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.rpc.conftest import Run, run
from tests.service import Service

__all__ = ["run"]


@pytest.fixture
async def run_trusting(run: Run) -> AsyncIterator[Service]:
    """Run the service so that it believes what callers from this machine say of their users."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}) as service:
        yield service
