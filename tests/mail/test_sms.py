"""What becomes of an SMS, by the answers of a webhook; the rules of the outbox it shares with mail."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authsvc.clock import SystemClock
from authsvc.domain import Medium
from tests.clock import TICK, FakeClock
from tests.mail.post_office import CODE, PostOffice, running
from tests.mail.sms_office import KIND, NUMBER, carried, owe
from tests.mail.smtp_server import SmtpServer, make_tls
from tests.mail.webhook import KEY, Webhook


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 408, 425, 429, 500, 502, 503])
async def test_refusal_for_now_is_tried_again_alike(
    sms: PostOffice, webhook: Webhook, clock: FakeClock, status: int
) -> None:
    """What is not about the message is tried again after the backoff, with the same body and a signature of its own."""
    webhook.status, webhook.headers = status, {"Location": webhook.url}
    await owe(sms)
    start = clock.now()
    assert await sms.worker().run_once() == 1
    waiting = await sms.row()
    first = sms.settings.backoff_first
    assert first / 2 <= waiting.not_before - start <= first
    assert (waiting.state, waiting.is_wiped, waiting.last_error) == ("QUEUED", False, f"not taken: {status}")
    webhook.status = 200
    clock.advance(first)
    assert await sms.worker().run_once() == 1
    one, other = webhook.posted
    assert one.body == other.body
    assert one.headers["authsvc-signature"] != other.headers["authsvc-signature"]
    assert one.is_signed()
    assert other.is_signed()
    assert sms.outcomes == [("SMS", KIND, "retried"), ("SMS", KIND, "sent")]


@pytest.mark.parametrize("status", [400, 410, 413, 422, 451])
async def test_refusal_of_the_message_is_final(sms: PostOffice, webhook: Webhook, status: int) -> None:
    """What the webhook will never take is dead at once: wiped, with the status and nothing of the answer's text."""
    webhook.status = status
    await owe(sms)
    assert await sms.worker().run_once() == 1
    row = await sms.row()
    assert (row.state, row.is_wiped, row.last_error) == ("DEAD", True, f"refused: {status}")
    assert sms.outcomes == [("SMS", KIND, "dead")]


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        ("120", timedelta(seconds=120)),
        (format_datetime(datetime.fromisoformat("2030-01-15T12:02:07Z"), usegmt=True), timedelta(seconds=120)),
        # Bounded, however it is asked.
        ("86400", timedelta(minutes=30)),
        ("9999999999999999999999", None),
        # Not earlier than the backoff.
        ("0", None),
        ("soon", None),
        (format_datetime(datetime.fromisoformat("2029-01-15T12:00:00Z"), usegmt=True), None),
    ],
)
async def test_wait_that_was_asked_for(
    sms: PostOffice, webhook: Webhook, clock: FakeClock, asked: str, pause: timedelta | None
) -> None:
    """Retry-After is heeded between the backoff and the longest wait; what is none is passed over."""
    webhook.status, webhook.headers = 429, {"Retry-After": asked}
    await owe(sms)
    await sms.worker().run_once()
    waits = (await sms.row()).not_before - clock.now()
    if pause is None:
        assert sms.settings.backoff_first / 2 <= waits <= sms.settings.backoff_first
    else:
        assert waits == pause


async def test_silent_webhook_is_given_up(office: PostOffice, webhook: Webhook) -> None:
    """A webhook that does not answer is left after the time for all."""
    webhook.is_silent = True
    async with carried(office, webhook, webhook_timeout=timedelta(seconds=0.3)):
        await owe(office)
        async with asyncio.timeout(5):
            assert await office.worker().run_once() == 1
    row = await office.row()
    assert (row.state, row.last_error, row.is_leased) == ("QUEUED", "timed out", False)


async def test_cut_connection_is_tried_again(sms: PostOffice, webhook: Webhook) -> None:
    """A connection that is reset before the answer may have brought the SMS: it is brought again, with the same id."""
    webhook.hangs_up = True
    await owe(sms)
    await sms.worker().run_once()
    row = await sms.row()
    assert row.state == "QUEUED"
    assert row.last_error is not None
    assert row.last_error.startswith(("connection lost", "no connection"))


async def test_webhook_away_is_tried_again(office: PostOffice, clock: FakeClock) -> None:
    """SMS that find nobody wait, and go out once somebody is there."""
    async with Webhook() as webhook:
        pass
    async with carried(office, webhook):
        await owe(office)
        await office.worker().run_once()
        assert (await office.row()).last_error == "no connection: Connection refused"
        clock.advance(office.settings.backoff_first)
        async with webhook:
            await office.worker().run_once()
    assert [posted.message["to"] for posted in webhook.posted] == [NUMBER]


async def test_unknown_certificate_is_refused(office: PostOffice, tmp_path: Path) -> None:
    """A webhook is posted to only under a certificate that somebody vouches for."""
    tls, ca_file = make_tls(tmp_path)
    async with Webhook(tls) as webhook:
        async with carried(office, webhook):
            await owe(office)
            await office.worker().run_once()
        assert webhook.posted == []
        assert (await office.row()).last_error == "certificate refused: self-signed certificate"
        async with carried(office, webhook, webhook_ca_file=ca_file):
            await owe(office)
            await office.worker().run_once()
        assert len(webhook.posted) == 1


async def test_certificate_of_another_name_is_refused(office: PostOffice, tmp_path: Path) -> None:
    """A good certificate of another server is refused."""
    tls, ca_file = make_tls(tmp_path, "sms.example.net")
    async with Webhook(tls) as webhook, carried(office, webhook, webhook_ca_file=ca_file):
        await owe(office)
        await office.worker().run_once()
    assert webhook.posted == []
    assert (await office.row()).last_error == (
        "certificate refused: Hostname mismatch, certificate is not valid for 'localhost'."
    )


@pytest.mark.parametrize(("after", "outcome"), [(-TICK, "sent"), (timedelta(), "expired"), (TICK, "expired")])
async def test_sms_is_not_sent_after_its_code_expired(
    sms: PostOffice, webhook: Webhook, clock: FakeClock, after: timedelta, outcome: str
) -> None:
    """An SMS goes out until the tick before its code expires; from then on it is dead."""
    await owe(sms, expires_in=timedelta(seconds=60))
    clock.advance(timedelta(seconds=60) + after)
    await sms.worker().run_once()
    assert sms.outcomes == [("SMS", KIND, outcome)]
    assert len(webhook.posted) == (outcome == "sent")


async def test_superseded_sms_is_never_sent(sms: PostOffice, webhook: Webhook, server: SmtpServer) -> None:
    """Of a mail and two SMS under one key only the last one goes out."""
    await sms.owe("ada@example.com", key="sign-in 1")
    await owe(sms, "+4915100000001", key="sign-in 1")
    await owe(sms, key="sign-in 1")
    await sms.worker().run_once()
    assert [posted.message["to"] for posted in webhook.posted] == [NUMBER]
    assert server.received == []


async def test_slow_webhook_holds_up_no_mail(office: PostOffice, webhook: Webhook, server: SmtpServer) -> None:
    """While the webhook keeps every place for SMS busy, mail goes out; no worker leases more SMS than it has places."""
    office.change(concurrency=2, poll_interval=timedelta(minutes=5))
    office.clock = SystemClock()
    webhook.is_silent = True
    async with carried(office, webhook):
        await owe(office, *(f"+491511234567{number}" for number in range(5)))
        async with running(office.worker()):
            await webhook.wait_for(2)
            await office.owe("ada@example.com")
            await server.wait_for(1)
            assert sum(row.state == "QUEUED" and not row.is_leased for row in await office.rows()) == 3
            webhook.release.set()
            await office.wait_until_done()
    assert len(webhook.posted) == 5


async def test_worker_without_webhook_leaves_sms_alone(office: PostOffice, clock: FakeClock) -> None:
    """A replica that has no webhook takes no SMS, lets the metrics see them wait, and ends those that expired."""
    await owe(office, expires_in=timedelta(seconds=60))
    clock.advance(timedelta(seconds=59))
    assert await office.worker().run_once() == 0
    row = await office.row()
    assert (row.state, row.attempts) == ("QUEUED", 0)
    assert office.ages[-1] == (Medium.SMS, timedelta(seconds=59))
    clock.advance(timedelta(seconds=1))
    await office.worker().run_once()
    assert office.outcomes == [("SMS", KIND, "expired")]


async def test_logs_name_sms_not_people(sms: PostOffice, webhook: Webhook) -> None:
    """Every outcome is logged with id, medium, kind and try, and never with a number, a code or the key."""
    with capture_logs() as logs:
        for status in (500, 400, 204):
            webhook.status = status
            await owe(sms)
            await sms.worker().run_once()
    assert [entry["event"] for entry in logs] == ["mail retried", "mail dead", "mail sent"]
    assert all(entry.keys() >= {"mail_id", "medium", "kind", "attempt"} for entry in logs)
    for secret in (NUMBER, NUMBER[-8:], CODE, KEY, "localhost"):
        assert secret not in json.dumps(logs, default=str)
