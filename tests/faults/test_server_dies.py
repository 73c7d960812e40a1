"""The server is killed between the commit of a mail and its arrival."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import code_in
from authsvc.v1 import auth_service_pb2 as pb
from tests.client import email_of
from tests.mail.smtp_server import Received, SmtpServer
from tests.processes import ServerProcess, environment, serving
from tests.service import PASSWORD
from tests.waiting import until

# The shortest that the settings allow.
LEASE_SECONDS = 30


class ForgetfulSmtpServer(SmtpServer):
    """Keep the mail for some recipients, but never say so."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps_silent_to: set[str] = set()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the content."""
        reply = await super().handle_DATA(server, session, envelope)
        if self.keeps_silent_to & set(envelope.rcpt_tos):
            await self.release.wait()
        return reply

    def mails_to(self, recipient: str) -> list[Received]:
        """Return what came for one recipient."""
        return [mail for mail in self.received if mail.recipient == recipient]


@pytest.fixture
async def smtp() -> AsyncIterator[ForgetfulSmtpServer]:
    """Run the SMTP server that holds mails up."""
    async with ForgetfulSmtpServer() as running:
        yield running


async def test_mails_of_a_killed_server(
    smtp: ForgetfulSmtpServer, database_url: str, master_key: MasterKey, tmp_path: Path
) -> None:
    """SIGKILL finds one mail under way, one taken but not confirmed, one waiting: after a restart all have arrived.

    The one that was taken comes a second time, with the same Message-ID; and every code works.
    """
    env = environment(
        database_url,
        master_key=master_key.line(),
        smtp_port=smtp.port,
        MAIL_CONCURRENCY="2",
        MAIL_SEND_TIMEOUT_SECONDS=str(LEASE_SECONDS // 2),
        MAIL_LEASE_SECONDS=str(LEASE_SECONDS),
        MAIL_POLL_INTERVAL_SECONDS="0.5",
    )
    smtp.hangs.add(email_of("underway"))
    smtp.keeps_silent_to.add(email_of("taken"))
    server = ServerProcess(env, tmp_path / "server.log")
    async with serving(server):
        await sign_up(server, "underway")
        await sign_up(server, "taken")
        await smtp.wait_until_asked(email_of("underway"))
        await smtp.wait_for(1)
        await sign_up(server, "waiting")
        await server.kill()
    assert [mail.recipient for mail in smtp.received] == [email_of("taken")]

    smtp.hangs.clear()
    smtp.keeps_silent_to.clear()
    smtp.release.set()
    async with serving(server):
        # Nobody has leased it.
        await until_came(smtp, "waiting", times=1, patience=5)
        await until_came(smtp, "underway", times=1, patience=LEASE_SECONDS + 5)
        await until_came(smtp, "taken", times=2, patience=LEASE_SECONDS + 5)
        assert len(smtp.received) == 4
        first, second = smtp.mails_to(email_of("taken"))
        assert first.message["Message-ID"] == second.message["Message-ID"]
        for username in ("waiting", "underway", "taken"):
            code = code_in(smtp.mails_to(email_of(username))[0].message)
            await server.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username=username, confirmation_code=code or ""))


async def sign_up(server: ServerProcess, username: str) -> None:
    """Have an account made, and its mail owed."""
    attributes = {"email": email_of(username)}
    await server.stub.SignUp(pb.SignUpRequest(username=username, password=PASSWORD, attributes=attributes))


async def until_came(smtp: ForgetfulSmtpServer, username: str, *, times: int, patience: float) -> None:
    """Return once so many mails to a user have come."""

    async def has_come() -> bool:
        return len(smtp.mails_to(email_of(username))) >= times

    await until(has_come, patience=patience)
