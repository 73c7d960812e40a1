"""What becomes of a temporary password on its way to its user."""

from __future__ import annotations

from structlog.testing import capture_logs

from authsvc.core.messages.kinds import Invitation, Recipient
from authsvc.core.messages.notices import Notices
from authsvc.delivery.mail.samples import TEMPORARY_PASSWORD
from tests.clock import FakeClock
from tests.mail.post_office import PostOffice
from tests.mail.reading import text_of
from tests.mail.smtp_server import SmtpServer


async def test_temporary_password_is_in_its_mail_alone(
    office: PostOffice, server: SmtpServer, clock: FakeClock
) -> None:
    """It waits sealed, is in no log even when the server quotes it, and is wiped once the mail is sent."""
    invitation, ada = Invitation(TEMPORARY_PASSWORD), Recipient(to="ada@example.com", username="ada")
    async with office.database.transaction() as transaction:
        await Notices(ring=office.ring).enqueue(transaction, invitation, ada, now=clock.now())
    server.replies["RCPT"] = f"451 4.7.1 {TEMPORARY_PASSWORD}"
    with capture_logs() as logs:
        await office.worker().run_once()
        waiting = await office.database.fetch("select * from outbox")
        server.replies.clear()
        clock.advance(office.settings.backoff_first)
        await office.worker().run_once()
    sent = await office.database.fetch("select * from outbox")
    assert [log["event"] for log in logs] == ["mail retried", "mail sent"]
    for told in (logs, [tuple(row) for row in waiting], [tuple(row) for row in sent], invitation):
        assert TEMPORARY_PASSWORD not in repr(told)
    assert waiting[0]["sealed_parameters"] is not None
    assert sent[0]["sealed_parameters"] is None
    (received,) = server.received
    assert f"Your temporary password is {TEMPORARY_PASSWORD}\n" in text_of(received.message)
