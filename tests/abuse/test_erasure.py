"""What is deleted goes as a whole, however much there is, and when nobody is left to see to it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authsvc.core.audit import erasure
from authsvc.core.janitor import Janitor
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from tests.rpc.account_calls import delete_user
from tests.rpc.calls import settle
from tests.service import Service

BATCH = 5
PERSONAL = "select count(*) from audit_events where personal_salt is not null"


@pytest.fixture
def janitor(service: Service, database: Database, ring: KeyRing) -> Janitor:
    """Tidy up when told."""
    return Janitor(database=database, ring=ring, settings=service.settings, clock=service.clock)


async def test_account_with_many_events_is_deleted_in_batches(
    service: Service, database: Database, janitor: Janitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion erases one batch of events itself and notes the rest, which goes even if its process dies then.

    OWASP ASVS 5, 14.2.7: sensitive information is deleted when it is not needed any more.
    """
    monkeypatch.setattr(erasure, "BATCH", BATCH)
    user = await service.enrolled("ada")
    for _ in range(3 * BATCH):
        await service.sign_in("ada")
    await delete_user(service, user.tokens)
    left = await database.fetchval(PERSONAL)
    assert left > BATCH, "the whole was erased in one transaction"
    assert await database.fetchval("select count(*) from erasures") == 1
    await janitor.run_once()
    assert await database.fetchval(PERSONAL) == 0
    assert await database.fetchval("select count(*) from erasures") == 0


async def test_purged_account_leaves_no_personal_data(service: Service, database: Database, janitor: Janitor) -> None:
    """An account that nobody confirmed is purged, and its name and addresses go from the audit trail too.

    OWASP ASVS 5, 14.2.7.
    """
    await service.sign_up("ada")
    await settle(service, database)
    assert await database.fetchval(PERSONAL) > 0
    service.clock.advance(timedelta(days=8))
    await janitor.run_once()
    assert await database.fetchval("select count(*) from users") == 0
    assert await database.fetchval(PERSONAL) == 0
