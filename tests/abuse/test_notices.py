"""Mail that a user has sent in masses keeps nobody's codes back, and hides nothing from the account's owner."""

from __future__ import annotations

from datetime import timedelta

from authsvc.core.messages.notices import INTERVAL
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.rpc.account_calls import add_authenticator
from tests.rpc.calls import settle
from tests.service import Account, Service

CALLS = 20


async def make_codes(service: Service, user: Account) -> None:
    """Make recovery codes, of which the user is told."""
    await service.stub.GenerateRecoveryCodes(pb.GenerateRecoveryCodesRequest(), metadata=user.bearer)


async def told(database: Database) -> dict[str, int]:
    """Count the notices of changed factors by what became of them."""
    rows = await database.fetch("select state, count(*) from outbox where kind = 'MFA_CHANGED' group by state")
    return {row["state"]: row["count"] for row in rows}


async def test_notices_alike_become_one(service: Service, database: Database) -> None:
    """Of twenty notices alike within a minute the first goes at once, and the last stands for the others at its end.

    So the flood tells once, and whoever changes something behind it is told of too. OWASP ASVS 5, 6.3.7: users are
    notified after updates to authentication details.
    """
    user = await service.enrolled("ada")
    await settle(service, database)
    service.clock.advance(INTERVAL)
    before = await told(database)
    await make_codes(service, user)
    await settle(service, database)
    for _ in range(CALLS):
        await make_codes(service, user)
    assert await told(database) == {"SENT": before["SENT"] + 1, "QUEUED": 1}
    service.clock.advance(INTERVAL - TICK)
    assert await told(database) == {"SENT": before["SENT"] + 1, "QUEUED": 1}
    service.clock.advance(TICK)
    await settle(service, database)
    assert await told(database) == {"SENT": before["SENT"] + 2}


async def test_notice_hides_behind_no_other(service: Service, database: Database) -> None:
    """An authenticator that is added right after recovery codes were made is told of at once: they are not alike."""
    user = await service.enrolled("ada")
    await settle(service, database)
    service.clock.advance(INTERVAL)
    before = await told(database)
    await make_codes(service, user)
    service.clock.advance(timedelta(seconds=1))
    await add_authenticator(service, user.tokens)
    await settle(service, database)
    assert await told(database) == {"SENT": before["SENT"] + 2}
