"""What becomes of one mail, at each way in which a try can end."""

import asyncio
import json
from datetime import timedelta
from email.message import EmailMessage
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from authsvc.core.messages.kinds import SignUpCode
from authsvc.crypto.sealing import KeyRing, MasterKey, Purpose
from authsvc.delivery.mail.smtp import SmtpSender
from authsvc.domain import MailId, Medium
from authsvc.store import outbox
from authsvc.store.outbox import ClaimedMail
from tests.clock import TICK, FakeClock
from tests.mail.post_office import CODE, PostOffice
from tests.mail.reading import text_of
from tests.mail.smtp_server import SmtpServer

SIGN_UP = SignUpCode.kind


async def claim(office: PostOffice) -> ClaimedMail:
    """Claim the only mail that is due."""
    now = office.clock.now()
    (mail,) = await outbox.claim(
        office.database, medium=Medium.EMAIL, now=now, leased_until=now + office.settings.lease, limit=10
    )
    return mail


async def test_mail_is_sent_once_and_wiped(office: PostOffice, server: SmtpServer) -> None:
    """A mail that the server takes is sent, with what the flow put in, and nothing of it stays in the outbox."""
    await office.owe("ada@example.com")
    assert await office.worker().run_once() == 1
    (received,) = server.received
    row = await office.row()
    assert received.recipient == "ada@example.com"
    assert received.message["Message-ID"] == f"<{row.mail_id}@authsvc.invalid>"
    assert CODE in text_of(received.message)
    assert (row.state, row.is_wiped, row.is_leased, row.last_error) == ("SENT", True, False, None)
    assert await office.worker().run_once() == 0
    assert office.outcomes == [("EMAIL", SIGN_UP, "sent")]
    assert len(server.received) == 1


async def test_temporary_refusal_puts_off_that_mail_alone(
    office: PostOffice, server: SmtpServer, clock: FakeClock
) -> None:
    """A 4xx makes the mail wait for its backoff, to the tick, while another mail goes out at once."""
    server.replies["grey@example.com"] = "451 4.7.1 greylisted"
    await office.owe("grey@example.com", "ada@example.com")
    start = clock.now()
    assert await office.worker().run_once() == 2
    assert [mail.recipient for mail in server.received] == ["ada@example.com"]
    (waiting,) = [row for row in await office.rows() if row.state == "QUEUED"]
    first = office.settings.backoff_first
    assert first / 2 <= waiting.not_before - start <= first
    assert (waiting.last_error, waiting.is_wiped, waiting.is_leased) == (
        "recipient refused: 451 4.7.1",
        False,
        False,
    )
    server.replies.clear()
    clock.advance(waiting.not_before - start - TICK)
    assert await office.worker().run_once() == 0
    clock.advance(TICK)
    assert await office.worker().run_once() == 1
    assert [mail.recipient for mail in server.received] == ["ada@example.com", "grey@example.com"]
    assert sorted(office.outcomes) == [
        ("EMAIL", SIGN_UP, "retried"),
        ("EMAIL", SIGN_UP, "sent"),
        ("EMAIL", SIGN_UP, "sent"),
    ]


async def test_waits_grow_until_the_mail_is_dead(office: PostOffice, server: SmtpServer, clock: FakeClock) -> None:
    """Each failed try doubles the wait up to its limit; after the last one the mail is dead, and wiped."""
    office.change(max_attempts=6, backoff_first=timedelta(seconds=8), backoff_max=timedelta(seconds=60))
    server.replies["RCPT"] = "450 later"
    await office.owe("ada@example.com")
    for longest in (8, 16, 32, 60, 60):
        assert await office.worker().run_once() == 1
        pause = (await office.row()).not_before - clock.now()
        assert timedelta(seconds=longest / 2) <= pause <= timedelta(seconds=longest)
        clock.advance(pause)
    assert await office.worker().run_once() == 1
    row = await office.row()
    assert (row.state, row.attempts, row.is_wiped) == ("DEAD", 6, True)
    assert row.last_error == "recipient refused: 450"
    assert office.outcomes == [("EMAIL", SIGN_UP, "retried")] * 5 + [("EMAIL", SIGN_UP, "dead")]
    assert server.received == []


async def test_permanent_refusal_is_final(office: PostOffice, server: SmtpServer, clock: FakeClock) -> None:
    """A 5xx about the recipient makes the mail dead at once: wiped, with the codes of the reply and no address."""
    server.replies["RCPT"] = "550 5.1.1 <ada@example.com>: no such user"
    await office.owe("ada@example.com")
    assert await office.worker().run_once() == 1
    row = await office.row()
    assert (row.state, row.is_wiped, row.last_error) == ("DEAD", True, "recipient refused: 550 5.1.1")
    assert office.outcomes == [("EMAIL", SIGN_UP, "dead")]
    clock.advance(timedelta(days=1))
    assert await office.worker().run_once() == 0


async def test_slow_server_is_given_up_after_the_time_for_all(office: PostOffice, clock: FakeClock) -> None:
    """A server that keeps dribbling is left after the total time, however lively each single read is."""

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"220-not yet\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(dribble, "127.0.0.1", 0) as slow:
        office.change(smtp_port=slow.sockets[0].getsockname()[1], send_timeout=timedelta(seconds=0.4))
        await office.owe("ada@example.com")
        async with asyncio.timeout(5):
            assert await office.worker().run_once() == 1
        await asyncio.sleep(0.2)
    row = await office.row()
    assert (row.state, row.last_error, row.is_leased) == ("QUEUED", "timed out", False)


async def test_superseded_mail_is_never_sent(office: PostOffice, server: SmtpServer) -> None:
    """Of two mails under one key only the later goes out."""
    await office.owe("old@example.com", key="reset ada")
    await office.owe("new@example.com", key="reset ada")
    assert await office.worker().run_once() == 1
    assert [mail.recipient for mail in server.received] == ["new@example.com"]
    assert {(row.state, row.is_wiped) for row in await office.rows()} == {("DROPPED", True), ("SENT", True)}


async def test_mail_superseded_after_its_claim_is_not_sent(office: PostOffice, server: SmtpServer) -> None:
    """A worker asks once more right before it sends."""
    await office.owe("old@example.com", key="reset ada")
    mail = await claim(office)
    await office.owe("new@example.com", key="reset ada")
    await office.attempts().make(mail)
    assert server.received == []
    assert office.outcomes == [("EMAIL", SIGN_UP, "unwanted")]


@pytest.mark.parametrize(("after", "outcome"), [(-TICK, "sent"), (timedelta(), "unwanted"), (TICK, "unwanted")])
async def test_mail_that_expires_after_its_claim_is_not_sent(
    office: PostOffice, server: SmtpServer, clock: FakeClock, after: timedelta, outcome: str
) -> None:
    """A claimed mail goes out until the tick before it expires."""
    await office.owe("ada@example.com", expires_in=timedelta(seconds=60))
    mail = await claim(office)
    clock.advance(timedelta(seconds=60) + after)
    await office.attempts().make(mail)
    assert office.outcomes == [("EMAIL", SIGN_UP, outcome)]
    assert len(server.received) == (outcome == "sent")


@pytest.mark.parametrize(("after", "outcome"), [(-TICK, "sent"), (timedelta(), "expired"), (TICK, "expired")])
async def test_expired_mail_is_dead(
    office: PostOffice, server: SmtpServer, clock: FakeClock, after: timedelta, outcome: str
) -> None:
    """A mail that waited until its code expired is not sent, but wiped and counted."""
    await office.owe("ada@example.com", expires_in=timedelta(seconds=60))
    clock.advance(timedelta(seconds=60) + after)
    await office.worker().run_once()
    row = await office.row()
    assert office.outcomes == [("EMAIL", SIGN_UP, outcome)]
    assert (row.state, row.is_wiped) == ("SENT" if outcome == "sent" else "DEAD", True)
    assert len(server.received) == (outcome == "sent")


@pytest.mark.parametrize(("left", "outcome"), [(TICK, "sent"), (timedelta(), "unwanted"), (-TICK, "unwanted")])
async def test_worker_that_stood_still_does_not_send_on_a_short_lease(
    office: PostOffice, server: SmtpServer, clock: FakeClock, left: timedelta, outcome: str
) -> None:
    """A mail is sent only if its lease outlasts the longest send; otherwise it waits for the next worker."""
    await office.owe("ada@example.com")
    mail = await claim(office)
    clock.advance(office.settings.lease - office.settings.send_timeout - left)
    await office.attempts().make(mail)
    assert office.outcomes == [("EMAIL", SIGN_UP, outcome)]
    assert (await office.row()).state == ("SENT" if outcome == "sent" else "QUEUED")
    assert len(server.received) == (outcome == "sent")


async def test_mail_that_cannot_be_opened_waits_for_who_can(
    office: PostOffice, server: SmtpServer, clock: FakeClock
) -> None:
    """A mail sealed under a key that this replica lacks goes out once a replica that has it comes by."""
    await office.owe("ada@example.com")
    ring = office.ring
    office.ring = KeyRing(keys=(MasterKey.generate(),))
    await office.worker().run_once()
    row = await office.row()
    assert (row.state, row.is_wiped, row.last_error) == ("QUEUED", False, "cannot be rendered: UnsealError")
    office.ring = ring
    clock.advance(office.settings.backoff_first)
    await office.worker().run_once()
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("kind", "parameters", "error"),
    [
        ("FROM_THE_FUTURE", {"to": "ada@example.com", "username": "ada"}, "ValueError"),
        ("MFA_CHANGED", {"username": "ada"}, "TypeError"),
        ("MFA_CHANGED", {"to": "ada@", "username": "ada"}, "ValueError"),
    ],
)
async def test_mail_that_cannot_be_rendered_dies_in_the_end(
    office: PostOffice,
    server: SmtpServer,
    clock: FakeClock,
    kind: str,
    parameters: dict[str, object],
    error: str,
) -> None:
    """A mail that no replica understands is tried as often as any, stops no other, and is dead after that."""
    office.change(max_attempts=2)
    mail_id = uuid4()
    await outbox.insert(
        office.database,
        mail=outbox.NewMail(
            mail_id=MailId(mail_id),
            kind=kind,
            medium=Medium.EMAIL,
            sealed_parameters=office.ring.seal(Purpose.MAIL, json.dumps(parameters).encode(), bound_to=str(mail_id)),
            supersede_key=None,
            expires_at=None,
        ),
        now=clock.now(),
    )
    await office.owe("bob@example.com")
    await office.worker().run_once()
    assert [mail.recipient for mail in server.received] == ["bob@example.com"]
    clock.advance(office.settings.backoff_first)
    await office.worker().run_once()
    (dead,) = [row for row in await office.rows() if row.mail_id == mail_id]
    assert (dead.state, dead.attempts, dead.is_wiped) == ("DEAD", 2, True)
    assert dead.last_error == f"cannot be rendered: {error}"
    assert office.outcomes == [("EMAIL", kind, "retried"), ("EMAIL", SIGN_UP, "sent"), ("EMAIL", kind, "dead")]


async def test_mail_that_kills_its_workers_is_given_up(
    office: PostOffice, server: SmtpServer, clock: FakeClock
) -> None:
    """A mail whose every try ended without a word is not tried again."""
    office.change(max_attempts=2)
    await office.owe("ada@example.com")
    for _ in range(2):
        await claim(office)
        clock.advance(office.settings.lease)
    await office.worker().run_once()
    assert (await office.row()).state == "DEAD"
    assert server.received == []
    assert office.outcomes == [("EMAIL", SIGN_UP, "dead")]


class Faulty:
    """A sender with a fault of its own, for some recipients."""

    def __init__(self, sender: SmtpSender) -> None:
        self._sender = sender

    async def send(self, message: EmailMessage) -> None:
        """Fail for bad addresses, in a way that nobody foresaw, and send the rest."""
        if message["To"].startswith("bad"):
            raise KeyError(message["To"])
        await self._sender.send(message)


async def test_fault_of_ours_is_one_mails_alone(office: PostOffice, server: SmtpServer) -> None:
    """An error that nobody foresaw is a failed try of that mail, which tells only the error's type."""
    await office.owe("bad@example.com", "ada@example.com")
    await office.worker(Faulty(SmtpSender(settings=office.settings))).run_once()
    assert [mail.recipient for mail in server.received] == ["ada@example.com"]
    (waiting,) = [row for row in await office.rows() if row.state == "QUEUED"]
    assert waiting.last_error == "cannot be sent: KeyError"


async def test_logs_name_mails_not_people(office: PostOffice, server: SmtpServer, clock: FakeClock) -> None:
    """Every outcome is logged with the mail's id, kind and try, and never with an address, a name or a code."""
    server.replies |= {"grey@example.com": "451 grey@example.com 481516", "gone@example.com": "550 gone@example.com"}
    with capture_logs() as logs:
        await office.owe("grey@example.com", "gone@example.com", "bad@", "ada@example.com")
        await office.owe("late@example.com", expires_in=TICK)
        clock.advance(TICK)
        await office.worker(Faulty(SmtpSender(settings=office.settings))).run_once()
    assert sorted(entry["event"] for entry in logs) == [
        "mail dead",
        "mail expired",
        "mail retried",
        "mail retried",
        "mail sent",
    ]
    assert all(entry.keys() >= {"mail_id", "medium", "kind", "attempt"} for entry in logs)
    for secret in ("@", "481516", "'ada'"):
        assert secret not in str(logs)
