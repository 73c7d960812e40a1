"""What the canary run stands on: a Postgres and an SMTP server that turn bad, and a server that logs all it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import code_in
from authsvc.dev.postgres import EmbeddedPostgres
from tests.canary.scanner import Secrets
from tests.mail.smtp_server import SmtpServer, make_tls
from tests.mail.webhook import KEY, Webhook
from tests.processes import ServerProcess, environment, free_port, serving
from tests.starts import run
from tests.waiting import until

SMTP_LOGIN = ("mailer", "smtp-password-of-the-canary")
DATABASE_PASSWORD = "database-password-of-the-canary"


class GossipingSmtpServer(SmtpServer):
    """Quote whatever it was told in its refusals."""

    refuses_logins = False
    # Parts of the addresses that get a 4xx or 5xx with the mail's content in it.
    refuses_for_now: str | None = None
    refuses_for_good: str | None = None

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        login, password = data.login.decode(), data.password.decode()
        if self.refuses_logins:
            return AuthResult(success=False, handled=False, message=f"535 5.7.8 {login} {password} refused")
        return AuthResult(success=(login, password) == SMTP_LOGIN, handled=False, auth_data=data)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Refuse with a quotation, or take the content."""
        address = envelope.rcpt_tos[0]
        quotation = f"{address} {(envelope.original_content or b'').decode().split('is ', 1)[-1][:10]}".split("\r")[0]
        if self.refuses_for_now is not None and self.refuses_for_now in address:
            return f"451 4.2.0 {quotation}"
        if self.refuses_for_good is not None and self.refuses_for_good in address:
            return f"554 5.6.0 {quotation}"
        return await super().handle_DATA(server, session, envelope)


@dataclass(frozen=True)
class Stage:
    """Hold the parts, and the secrets that they know."""

    postgres: EmbeddedPostgres
    smtp: GossipingSmtpServer
    webhook: Webhook
    server: ServerProcess
    secrets: Secrets

    @asynccontextmanager
    async def database(self) -> AsyncIterator[asyncpg.Connection]:
        """Look into the database."""
        connection = await asyncpg.connect(self.postgres.dsn())
        try:
            yield connection
        finally:
            await connection.close()

    async def execute(self, statement: str, *args: object) -> None:
        """Turn something in the database bad, or good again."""
        async with self.database() as connection:
            await connection.execute(statement, *args)

    async def code(self, address: str, *, after: int = 0) -> str:
        """Wait for a code in a mail to an address, beyond those that came before, and remember it."""

        def codes() -> list[str]:
            mails = [mail.message for mail in self.smtp.received if mail.recipient == address]
            return [code for mail in mails if (code := code_in(mail))]

        async def has_come() -> bool:
            return len(codes()) > after

        await until(has_come)
        self.secrets.add("code", codes()[after])
        return codes()[after]

    async def sms_code(self, *, after: int) -> str:
        """Wait for an SMS beyond those that came before, and remember its code."""
        await self.webhook.wait_for(after + 1)
        code = str(self.webhook.posted[after].message["code"])
        self.secrets.add("code", code)
        return code

    async def until_outbox(self, condition: str) -> None:
        """Return once there is a mail of which an SQL condition is true."""
        async with self.database() as connection:

            async def is_true() -> bool:
                statement = f"select exists (select from outbox where {condition})"  # noqa: S608 - our own words
                return bool(await connection.fetchval(statement))

            await until(is_true)

    async def tables(self) -> dict[str, list[asyncpg.Record]]:
        """Return all that the database holds, by table, as a dump has it."""
        async with self.database() as connection:
            names = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
            return {name: await connection.fetch(f'select * from "{name}"') for (name,) in names}  # noqa: S608 - ours


@asynccontextmanager
async def set_up(folder: Path, master_key: MasterKey) -> AsyncIterator[Stage]:
    """Run everything; the server with debug logs, in Python's development mode, on a port for metrics too."""
    secrets = Secrets()
    secrets.add("master key", master_key.line().partition(":")[2])
    secrets.add("SMTP password", SMTP_LOGIN[1])
    secrets.add("database password", DATABASE_PASSWORD)
    secrets.add("webhook key", KEY)
    tls, ca_file = make_tls(folder)
    with EmbeddedPostgres(folder=folder / "pg") as postgres:
        dsn = await _as_a_role_with_password(postgres)
        async with GossipingSmtpServer(tls=tls, login=SMTP_LOGIN) as smtp, Webhook() as webhook:
            env = environment(
                dsn,
                master_key=master_key.line(),
                smtp_port=smtp.port,
                MAIL_SMTP_TLS="starttls",
                MAIL_SMTP_CA_FILE=str(ca_file),
                MAIL_SMTP_USERNAME=SMTP_LOGIN[0],
                MAIL_SMTP_PASSWORD=SMTP_LOGIN[1],
                MAIL_SEND_TIMEOUT_SECONDS="5",
                MAIL_BACKOFF_FIRST_SECONDS="1",
                MAIL_BACKOFF_MAX_SECONDS="10",
                MAIL_POLL_INTERVAL_SECONDS="0.2",
                CODES_SENDS_PER_HOUR="100",
                SMS_WEBHOOK_URL=webhook.url,
                SMS_WEBHOOK_SECRET=KEY,
                LOG_LEVEL="debug",
                SERVER_METRICS_PORT=str(free_port()),
                SERVER_REFLECTION="true",
            )
            (await asyncio.to_thread(run, "migrate", environment=env)).check_returncode()
            server = ServerProcess({**env, "PYTHONDEVMODE": "1"}, folder / "server.log")
            async with serving(server):
                yield Stage(postgres, smtp, webhook, server, secrets)


async def _as_a_role_with_password(postgres: EmbeddedPostgres) -> str:
    """Return the database's URL with a password in it."""
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(f"create role canary superuser login password '{DATABASE_PASSWORD}'")
    await connection.close()
    url = urlsplit(postgres.dsn())
    host = url.netloc.rpartition("@")[2]
    return url._replace(netloc=f"canary:{DATABASE_PASSWORD}@{host}").geturl()
