"""ListMail and RetryMail: the outbox in the hands of operators."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import DELIVERY_MEDIUM_EMAIL
from authsvc.v1.mail_pb2 import MAIL_STATE_QUEUED, MAIL_STATE_SENT, Mail
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.calls import settle
from tests.rpc.conftest import Run
from tests.service import Service, fails
from tests.waiting import until


async def list_mail(operator: Operator, **fields: Any) -> list[Mail]:
    """Return a page of mail."""
    page: pb.ListMailResponse = await operator.call("ListMail", pb.ListMailRequest(**fields))
    return list(page.mail)


async def test_mail_is_listed_without_what_it_says(service: Service, operator: Operator, database: Database) -> None:
    """Sent mail is told with its kind and times, latest first, in pages, and neither with an address nor a code."""
    for name in ("ada", "bob", "eve"):
        await service.sign_up(name)
        service.clock.advance(timedelta(seconds=1))
    await settle(service, database)
    first = await operator.call("ListMail", pb.ListMailRequest(page_size=2, state=MAIL_STATE_SENT))
    rest = await operator.call("ListMail", pb.ListMailRequest(state=MAIL_STATE_SENT, page_token=first.next_page_token))
    mails = [*first.mail, *rest.mail]
    assert [(mail.kind, mail.state, mail.attempts) for mail in mails] == [("SIGN_UP_CODE", MAIL_STATE_SENT, 1)] * 3
    times = [mail.created_at.ToDatetime() for mail in mails]
    assert times == sorted(times, reverse=True)
    assert all(mail.HasField("finished_at") and not mail.HasField("next_try_at") for mail in mails)
    assert {mail.medium for mail in mails} == {DELIVERY_MEDIUM_EMAIL}
    assert "example.com" not in str(mails)
    assert await list_mail(operator, state=MAIL_STATE_QUEUED) == []
    async with fails("INVALID_FIELDS"):
        await operator.call("ListMail", pb.ListMailRequest(page_token=first.next_page_token))


async def test_waiting_mail_is_tried_at_once(run: Run, key: str, database: Database) -> None:
    """A mail that waits for its next turn after a failure is sent when an operator asks for it, and not before."""
    async with run(mail={"backoff_first": 600, "poll_interval": 0.1}) as service:
        operator = Operator(service.channel, key)
        await service.sign_up("ada")
        await settle(service, database)
        # As after a failed try.
        mail_id = await database.fetchval(
            "update outbox set state = 'QUEUED', finished_at = null, sealed_parameters = '\\x00',"
            " not_before = not_before + interval '10 minutes', expires_at = null returning mail_id"
        )
        (waiting,) = await list_mail(operator, state=MAIL_STATE_QUEUED)
        assert waiting.mail_id == str(mail_id)
        assert waiting.next_try_at.ToDatetime() - waiting.created_at.ToDatetime() == timedelta(minutes=10)
        await operator.call("RetryMail", pb.RetryMailRequest(mail_id=str(mail_id)))

        async def was_tried() -> bool:
            (mail,) = await list_mail(operator)
            return mail.attempts == 2

        await until(was_tried)
    events = await database.fetch("select actor, details from audit_events where kind = 'ADMIN_RETRY_MAIL'")
    assert [(event["actor"], event["details"]) for event in events] == [
        ("operator:ops", {"mail_id": str(mail_id), "scope": "support"})
    ]


async def test_mail_with_an_end_is_not_tried_again(service: Service, operator: Operator, database: Database) -> None:
    """A mail that was sent, or never was, is MAIL_NOT_FOUND: what it said is gone."""
    await service.sign_up("ada")
    await settle(service, database)
    (sent,) = await list_mail(operator)
    for mail_id in (sent.mail_id, str(uuid4())):
        async with fails("MAIL_NOT_FOUND"):
            await operator.call("RetryMail", pb.RetryMailRequest(mail_id=mail_id))
    async with fails("INVALID_FIELDS"):
        await operator.call("RetryMail", pb.RetryMailRequest(mail_id="x"))


async def test_expired_mail_is_not_tried_again(service: Service, operator: Operator, database: Database) -> None:
    """A waiting mail can be tried until the tick before its code expires; then it is MAIL_NOT_FOUND, swept or not."""
    await service.sign_up("ada")
    await settle(service, database)
    # Its lease keeps workers from it, and it from being swept.
    mail_id = await database.fetchval(
        "update outbox set state = 'QUEUED', finished_at = null, leased_until = expires_at + interval '1 day'"
        " returning mail_id"
    )
    request = pb.RetryMailRequest(mail_id=str(mail_id))
    expires_at = await database.fetchval("select expires_at from outbox")
    service.clock.advance(expires_at - service.clock.now() - TICK)
    await operator.call("RetryMail", request)
    service.clock.advance(TICK)
    async with fails("MAIL_NOT_FOUND"):
        await operator.call("RetryMail", request)
