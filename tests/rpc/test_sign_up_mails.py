"""How many sign-up mails an address can be sent."""

from __future__ import annotations

from datetime import timedelta

from authsvc.store.db import Database
from tests.clock import TICK
from tests.rpc.calls import resend, settle
from tests.service import Service


async def test_an_address_is_sent_ten_an_hour(service: Service, database: Database) -> None:
    """Who signs up again and again with somebody's address is answered alike; the address gets ten mails an hour."""
    answers = [await service.sign_up(f"user-{number}", email="victim@example.com") for number in range(12)]
    assert {answer.next_step.code_delivery.destination for answer in answers} == {"v***@e***"}
    assert len(await settle(service, database)) == 10
    await resend(service, "user-0")
    assert len(await settle(service, database)) == 10
    await service.sign_up("somebody", email="other@example.com")
    service.clock.advance(timedelta(hours=1) - TICK)
    await resend(service, "user-0")
    assert len(await settle(service, database)) == 11
    service.clock.advance(TICK)
    await resend(service, "user-0")
    assert len(await settle(service, database)) == 12
