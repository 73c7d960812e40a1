"""An SMTP server in the test's own event loop, which takes mail or misbehaves as it is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern_policy
from pathlib import Path
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Received:
    """One mail as it arrived, and how."""

    recipient: str
    content: bytes
    is_encrypted: bool
    is_logged_in: bool
    is_utf8: bool

    @property
    def message(self) -> EmailMessage:
        """Return the mail as a mail program reads it."""
        return BytesParser(policy=modern_policy).parsebytes(self.content)


class Conversation(SMTP):
    """Serve one client, and tell when it is gone."""

    def __init__(self, on_end: Callable[[], None], handler: SmtpServer, **options: Any) -> None:
        super().__init__(handler, **options)
        self._on_end = on_end

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        super().connection_lost(error)
        self._on_end()


class SmtpServer:
    """Take mail on a free port, or the one given.

    `replies` maps a command (EHLO, MAIL, RCPT, DATA) or a recipient's address to what is answered instead of OK;
    `hangs` and `drops` name those that get no answer, or the end of the connection. `release` lets what hangs go on.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        is_implicit: bool = False,
        login: tuple[str, str] | None = None,
        knows_utf8: bool = True,
        port: int = 0,
    ) -> None:
        self.port = port
        self.received: list[Received] = []
        self.replies: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.drops: set[str] = set()
        # The commands that came and have hooks, with their first argument.
        self.commands: list[tuple[str, str]] = []
        self.release = asyncio.Event()
        # Set once a client has gone.
        self.left = asyncio.Event()
        self._news = asyncio.Condition()
        self._tls = tls
        self._is_implicit = is_implicit
        self._login = login
        self._knows_utf8 = knows_utf8
        self._server: asyncio.Server | None = None
        self._conversations: weakref.WeakSet[SMTP] = weakref.WeakSet()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = self._tls if self._is_implicit else None
        self._server = await loop.create_server(self._converse, "127.0.0.1", self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.release.set()
        for conversation in self._conversations:
            if conversation.transport is not None:
                conversation.transport.close()
        await self._server.wait_closed()
        # The transports close in the loop's next rounds.
        await asyncio.sleep(0.01)

    def _converse(self) -> SMTP:
        conversation = Conversation(
            self.left.set,
            self,
            hostname="mx.example.com",
            enable_SMTPUTF8=self._knows_utf8,
            tls_context=None if self._is_implicit else self._tls,
            authenticator=self._authenticate if self._login else None,
            auth_required=self._login is not None,
            loop=asyncio.get_running_loop(),
        )
        self._conversations.add(conversation)
        return conversation

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        is_right = (data.login.decode(), data.password.decode()) == self._login
        return AuthResult(success=is_right, handled=False, auth_data=data)

    async def wait_for(self, count: int) -> list[Received]:
        """Return the mails once there are so many."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def wait_until_asked(self, command: str) -> None:
        """Return once a client has sent the command."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: any(command in asked for asked in self.commands))

    async def _decide(self, server: SMTP, command: str, argument: str) -> str | None:
        async with self._news:
            self.commands.append((command, argument))
            self._news.notify_all()
        names = {command, argument}
        if names & self.hangs:
            await self.release.wait()
        if names & self.drops:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            # Until the end of the connection cancels this.
            await asyncio.Event().wait()
        return next((reply for name, reply in self.replies.items() if name in names), None)

    # The names are aiosmtpd's.

    async def handle_EHLO(
        self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        """Greet."""
        refusal = await self._decide(server, "EHLO", hostname)
        session.host_name = hostname
        return [refusal] if refusal else lines

    async def handle_MAIL(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begin a mail."""
        if refusal := await self._decide(server, "MAIL", address):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient."""
        if refusal := await self._decide(server, "RCPT", address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the content."""
        if refusal := await self._decide(server, "DATA", envelope.rcpt_tos[0]):
            return refusal
        async with self._news:
            self.received += [
                Received(
                    recipient=recipient,
                    content=envelope.original_content or b"",
                    is_encrypted=self._is_implicit or session.ssl is not None,
                    is_logged_in=bool(session.authenticated),
                    is_utf8=envelope.smtp_utf8,
                )
                for recipient in envelope.rcpt_tos
            ]
            self._news.notify_all()
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, _session: Session, _envelope: Envelope) -> str:
        """Say goodbye."""
        return await self._decide(server, "QUIT", "") or "221 Bye"


def make_tls(folder: Path, name: str = "localhost") -> tuple[ssl.SSLContext, Path]:
    """Return the TLS context of a server called `name` on 127.0.0.1, and the file of the CA that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file
