"""Fixtures: an operator with a key, beside the service of AuthService's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from tests.admin.operator import Operator
from tests.clock import FakeClock
from tests.rpc.conftest import Run, run
from tests.service import Service

__all__ = ["run"]


@pytest.fixture
def admin_keys(database: Database, ring: KeyRing, clock: FakeClock) -> AdminKeys:
    """Make the keys of operators, as the command line does."""
    return AdminKeys(database, ring, Audit(database, ring, clock), clock)


@pytest.fixture
async def key(admin_keys: AdminKeys) -> str:
    """Make an admin key for a year."""
    made = await admin_keys.create("ops", timedelta(days=365))
    assert made is not None
    return made[0]


@pytest.fixture
def operator(service: Service, key: str) -> Operator:
    """Return an operator of the running service."""
    return Operator(service.channel, key)


@pytest.fixture
async def run_trusting(run: Run) -> AsyncIterator[Service]:
    """Run the service so that it believes what callers from this machine say of their users."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}) as service:
        yield service
