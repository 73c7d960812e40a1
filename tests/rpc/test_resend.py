"""New sign-up codes."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import DELIVERY_MEDIUM_EMAIL
from tests.clock import TICK
from tests.rpc.calls import confirm, recipients, resend, settle
from tests.service import Service, fails
from tests.waiting import until

HOUR = timedelta(hours=1)


async def test_new_code_comes_by_mail(service: Service) -> None:
    """ResendSignUpCode says where the new code went, and it went there."""
    await service.sign_up("ada")
    await service.mail("ada@example.com")
    before = service.catcher.last_number()
    sent = await service.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username="ADA"))
    delivery = sent.code_delivery
    assert (delivery.destination, delivery.medium, delivery.attribute_name) == (
        "a***@e***",
        DELIVERY_MEDIUM_EMAIL,
        "email",
    )
    await confirm(service, "ada", await service.code("ada@example.com", after=before))


async def test_five_an_hour(service: Service, database: Database) -> None:
    """An account gets five new codes an hour from the first on; RetryInfo tells when the next can be had."""
    await service.sign_up("ada")
    await resend(service, "ada")
    service.clock.advance(timedelta(minutes=20))
    for _ in range(4):
        await resend(service, "ada")
    async with fails("LIMIT_EXCEEDED") as failures:
        await resend(service, "ada")
    assert failures[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
    wait = failures[0].retry_after
    assert wait is not None
    assert timedelta(minutes=40) <= wait < timedelta(minutes=40, seconds=1)
    mails = len(await settle(service, database))

    service.clock.advance(timedelta(minutes=40) - TICK)
    async with fails("LIMIT_EXCEEDED"):
        await resend(service, "ada")
    assert len(await settle(service, database)) == mails
    service.clock.advance(TICK)
    await resend(service, "ada")
    assert len(await settle(service, database)) == mails + 1


async def test_limit_is_of_one_account(service: Service) -> None:
    """Codes of one account don't use up another's."""
    await service.sign_up("ada")
    await service.sign_up("bob")
    for _ in range(5):
        await resend(service, "ada")
    async with fails("LIMIT_EXCEEDED"):
        await resend(service, "Ada")
    await resend(service, "bob")


async def test_confirmed_account_gets_none(service: Service, database: Database) -> None:
    """A confirmed account is answered like any other, and gets no mail."""
    await service.confirmed("ada")
    mails = await settle(service, database)
    assert await resend(service, "ada") == "a***@e***"
    assert len(await settle(service, database)) == len(mails)


async def test_expired_sign_up_gets_a_new_code(service: Service) -> None:
    """An unconfirmed account whose code has expired, and whose name nobody took, goes on with a new code."""
    await service.sign_up("ada")
    await service.mail("ada@example.com")
    service.clock.advance(timedelta(days=2))
    before = service.catcher.last_number()
    await resend(service, "ada")
    await confirm(service, "ada", await service.code("ada@example.com", after=before))


@pytest.mark.parametrize("username", ["nobody", "ada"])
async def test_mail_goes_to_the_stored_address_alone(service: Service, database: Database, username: str) -> None:
    """Nobody but the one who signed up gets a mail, whatever name is asked for."""
    await service.sign_up("ada", email="real@example.com")
    await service.mail("real@example.com")
    await resend(service, username)
    assert set(recipients(await settle(service, database))) == {"real@example.com"}


async def test_superseded_mail_is_dropped(service: Service, database: Database) -> None:
    """A code that was replaced before its mail was sent is never mailed."""

    async def has_failed() -> bool:
        # A mail on the wire can't be dropped: each has to be back in the queue before the next one replaces it.
        return bool(
            await database.fetchval(
                "select attempts > 0 and leased_until is null from outbox where state = 'QUEUED'",
            )
        )

    await service.catcher.stop()
    await service.sign_up("ada")
    await until(has_failed)
    for _ in range(3):
        await resend(service, "ada")
        await until(has_failed)
    await service.catcher.start()
    service.clock.advance(timedelta(minutes=2))
    await service.mail("ada@example.com")
    mails = await settle(service, database)
    assert recipients(mails) == ["ada@example.com"]
    await confirm(service, "ada", await service.code("ada@example.com"))
