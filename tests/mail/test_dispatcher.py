"""How workers share the outbox, and that no death of anything loses mail."""

import asyncio
from collections import Counter
from datetime import timedelta
from email.message import EmailMessage

import pytest

from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.delivery.mail.smtp import SmtpSender
from authsvc.domain import Medium
from authsvc.errors import DatabaseUnavailable
from authsvc.store.db import Database
from tests.clock import TICK, FakeClock
from tests.mail.post_office import PostOffice, running
from tests.mail.smtp_server import SmtpServer


@pytest.fixture
def patient(office: PostOffice) -> PostOffice:
    """Return a post office in real time, whose workers would poll only after the test's end."""
    office.change(poll_interval=timedelta(minutes=5))
    office.clock = SystemClock()
    return office


async def test_two_workers_send_fifty_mails_once(patient: PostOffice, server: SmtpServer) -> None:
    """Two workers at once empty the queue, and every mail arrives exactly once."""
    recipients = [f"user{number}@example.com" for number in range(50)]
    await patient.owe(*recipients)
    async with running(patient.worker(), patient.worker()):
        rows = await patient.wait_until_done()
    assert Counter(mail.recipient for mail in server.received) == Counter(recipients)
    assert {(row.state, row.attempts) for row in rows} == {("SENT", 1)}


async def test_mail_goes_out_when_it_is_owed(patient: PostOffice, server: SmtpServer) -> None:
    """A waiting worker sends on the hint of the flow's commit, long before it would look by itself."""
    async with running(patient.worker()):
        await patient.owe("ada@example.com")
        await patient.wait_until_done()
        await patient.owe("bob@example.com")
        await patient.wait_until_done()
    assert [mail.recipient for mail in server.received] == ["ada@example.com", "bob@example.com"]


async def test_mail_goes_out_without_a_hint(office: PostOffice, server: SmtpServer) -> None:
    """A mail that becomes due by time alone, with no hint, is found by polling."""
    office.change(poll_interval=timedelta(milliseconds=100), backoff_first=timedelta(milliseconds=300))
    office.clock = SystemClock()
    server.replies["RCPT"] = "450 later"
    await office.owe("ada@example.com")
    async with running(office.worker()):
        await server.wait_until_asked("RCPT")
        server.replies.clear()
        await office.wait_until_done()
    assert len(server.received) == 1
    assert office.outcomes[-1] == ("EMAIL", "SIGN_UP_CODE", "sent")
    assert office.ages


async def test_slow_mail_holds_up_no_other(patient: PostOffice, server: SmtpServer) -> None:
    """While one send hangs, the places beside it go on through the queue."""
    patient.change(concurrency=2)
    server.hangs.add("slow@example.com")
    others = [f"user{number}@example.com" for number in range(6)]
    await patient.owe("slow@example.com", *others)
    async with running(patient.worker()):
        await server.wait_for(6)
        assert {mail.recipient for mail in server.received} == set(others)
        server.release.set()
        await patient.wait_until_done()
    assert len(server.received) == 7


async def test_sends_at_once_are_limited(patient: PostOffice, server: SmtpServer) -> None:
    """A worker leases no more than it can send at once, so the rest is free for other workers."""
    patient.change(concurrency=3)
    server.hangs.add("DATA")
    await patient.owe(*(f"user{number}@example.com" for number in range(5)))
    async with running(patient.worker()):
        for number in range(3):
            await server.wait_until_asked(f"user{number}@example.com")
        assert sum(row.is_leased for row in await patient.rows()) == 3
        server.release.set()
        await patient.wait_until_done()
    assert len(server.received) == 5


async def test_slow_smtp_holds_no_connection(office: PostOffice, server: SmtpServer, settings: Settings) -> None:
    """While sends hang, every connection of the pool can be had, and no transaction is open."""
    server.hangs.add("DATA")
    await office.owe(*(f"user{number}@example.com" for number in range(4)))
    async with asyncio.TaskGroup() as group:
        group.create_task(office.worker().run_once())
        for number in range(4):
            await server.wait_until_asked(f"user{number}@example.com")
        size = settings.database.pool_size
        everyone = asyncio.Barrier(size)
        async with asyncio.TaskGroup() as holders:
            for _ in range(size):
                holders.create_task(hold_connection(office.database, everyone))
        server.release.set()
    assert len(server.received) == 4


async def hold_connection(database: Database, everyone: asyncio.Barrier) -> None:
    """Hold a connection of the pool until everyone has one; see that no other connection is at work."""
    async with database.connection() as connection:
        await everyone.wait()
        assert not await connection.fetchval(
            "select exists (select 1 from pg_stat_activity"
            " where datname = current_database() and state like 'idle in%')"
        )


async def test_killed_worker_loses_no_mail(office: PostOffice, server: SmtpServer, clock: FakeClock) -> None:
    """A mail whose worker dies in the middle is sent by another one, at the tick when the lease ends and not before."""
    server.hangs.add("DATA")
    await office.owe("ada@example.com")
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(office.worker().run_once())
        await server.wait_until_asked("DATA")
        sending.cancel()
    row = await office.row()
    assert (row.state, row.attempts, row.is_leased, office.outcomes) == ("QUEUED", 1, True, [])
    server.hangs.clear()
    clock.advance(office.settings.lease - TICK)
    assert await office.worker().run_once() == 0
    clock.advance(TICK)
    assert await office.worker().run_once() == 1
    (received,) = server.received
    assert received.message["Message-ID"] == f"<{row.mail_id}@authsvc.invalid>"


class Lingering:
    """A sender that never comes back from a mail that the server took."""

    def __init__(self, sender: SmtpSender) -> None:
        self._sender = sender

    async def send(self, message: EmailMessage) -> None:
        """Send, and wait for the end."""
        await self._sender.send(message)
        await asyncio.Event().wait()


async def test_second_copy_has_the_same_message_id(office: PostOffice, server: SmtpServer, clock: FakeClock) -> None:
    """A worker that dies between the server's yes and its own note causes a second copy, which can be told as one."""
    await office.owe("ada@example.com")
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(office.worker(Lingering(SmtpSender(settings=office.settings))).run_once())
        await server.wait_for(1)
        sending.cancel()
    clock.advance(office.settings.lease)
    assert await office.worker().run_once() == 1
    first, second = (mail.message for mail in server.received)
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]


async def test_stop_finishes_what_is_in_flight(patient: PostOffice, server: SmtpServer) -> None:
    """A worker told to stop sends what it has begun, begins nothing, and then returns."""
    patient.change(concurrency=1)
    server.hangs.add("DATA")
    worker = patient.worker()
    async with asyncio.TaskGroup() as group:
        run = group.create_task(worker.run())
        await patient.owe("ada@example.com")
        await server.wait_until_asked("DATA")
        await patient.owe("bob@example.com")
        worker.stop()
        await asyncio.sleep(0.1)
        assert not run.done()
        server.release.set()
        async with asyncio.timeout(5):
            await run
    assert [mail.recipient for mail in server.received] == ["ada@example.com"]
    assert sorted(row.state for row in await patient.rows()) == ["QUEUED", "SENT"]


async def test_a_process_that_does_not_serve_claims_nothing(patient: PostOffice, server: SmtpServer) -> None:
    """A worker leaves mail to others while its process does not serve, and takes it at once when it does."""
    worker = patient.worker()
    worker.set_serving(False)
    await patient.owe("ada@example.com")
    async with running(worker):
        await asyncio.sleep(0.2)
        row = await patient.row()
        assert (row.attempts, row.is_leased) == (0, False)
        worker.set_serving(True)
        await server.wait_for(1)


async def test_cancelled_worker_ends_at_once(patient: PostOffice, server: SmtpServer) -> None:
    """A worker that is cancelled in the middle of everything leaves nothing running and nothing lost."""
    server.hangs.add("DATA")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        run = group.create_task(patient.worker().run())
        await patient.owe("ada@example.com")
        await server.wait_until_asked("DATA")
        run.cancel()
    assert (await patient.row()).state == "QUEUED"


async def test_lost_connections_are_made_anew(patient: PostOffice, server: SmtpServer) -> None:
    """A worker whose connections Postgres ended sends on, and hears hints again."""
    async with running(patient.worker()):
        await patient.owe("ada@example.com")
        await server.wait_for(1)
        await patient.database.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await owe_when_possible(patient, "bob@example.com")
        await server.wait_for(2)
        await patient.owe("eve@example.com")
        await server.wait_for(3)


async def owe_when_possible(office: PostOffice, recipient: str) -> None:
    """Owe a mail as a client would that retries."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await office.owe(recipient)
            except DatabaseUnavailable:
                await asyncio.sleep(0.05)


async def test_run_once_says_that_the_database_is_away(office: PostOffice) -> None:
    """Whoever sends once is told when nothing could be claimed."""
    await office.database.close()
    with pytest.raises(DatabaseUnavailable):
        await office.worker().run_once()


async def test_age_of_the_queue_is_reported(office: PostOffice, server: SmtpServer, clock: FakeClock) -> None:
    """The age is how long the mail due longest has waited, and nothing when none is due."""
    await office.worker().run_once()
    await office.owe("ada@example.com")
    clock.advance(timedelta(seconds=90))
    await office.worker().run_once()
    await office.worker().run_once()
    mail, sms = ([age for medium, age in office.ages if medium is each] for each in (Medium.EMAIL, Medium.SMS))
    assert mail == [timedelta(), timedelta(seconds=90), timedelta()]
    assert sms == [timedelta()] * 3
