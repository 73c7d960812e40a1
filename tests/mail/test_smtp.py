"""How a message reaches an SMTP server, and what is made of each way in which it doesn't."""

import asyncio
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from authsvc.clock import Clock
from authsvc.config import MailSettings
from authsvc.core.messages.kinds import Recipient, SignUpCode
from authsvc.crypto.tokens import new_id
from authsvc.delivery.carriers import Outgoing
from authsvc.delivery.failures import PermanentFailure, TemporaryFailure
from authsvc.delivery.mail.rendering import MailRenderer
from authsvc.delivery.mail.smtp import SmtpSender
from authsvc.domain import MailId
from tests.mail.reading import text_of
from tests.mail.smtp_server import SmtpServer, make_tls

TO = "ada.private@example.com"
PASSWORD = "correct horse"
LOGIN = ("mailer", PASSWORD)


def mail_settings(server: SmtpServer, **changes: Any) -> MailSettings:
    """Return settings that send to the server, in clear unless changed."""
    defaults = {"smtp_host": "127.0.0.1", "smtp_port": server.port, "smtp_tls": "none"}
    return MailSettings(**{**defaults, **changes})


async def send(settings: MailSettings, clock: Clock, to: str = TO) -> None:
    """Send one mail."""
    async with asyncio.timeout(10):
        await SmtpSender(settings=settings).send(message(settings, clock, to))


def message(settings: MailSettings, clock: Clock, to: str = TO) -> EmailMessage:
    """Return a mail."""
    return MailRenderer(settings=settings).render(
        Outgoing(
            message=SignUpCode("481516"),
            recipient=Recipient(to=to, username="ada"),
            message_id=MailId(new_id()),
            created_at=clock.now(),
            expires_at=None,
        )
    )


async def test_message_arrives_as_it_was_made(server: SmtpServer, clock: Clock) -> None:
    """A server that says yes has the message, once, for its recipient; it is greeted by the sender's domain."""
    settings = mail_settings(server, from_address="no-reply@auth.example.com")
    sent = message(settings, clock)
    await SmtpSender(settings=settings).send(sent)
    (received,) = server.received
    assert received.recipient == TO
    assert not received.is_utf8
    assert received.message["Message-ID"] == sent["Message-ID"]
    assert text_of(received.message) == text_of(sent)
    assert text_of(received.message, "html") == text_of(sent, "html")
    assert server.commands[:3] == [
        ("EHLO", "auth.example.com"),
        ("MAIL", "no-reply@auth.example.com"),
        ("RCPT", TO),
    ]


async def test_address_beyond_ascii_needs_smtputf8(server: SmtpServer, clock: Clock) -> None:
    """A local part beyond ASCII is sent with SMTPUTF8; a domain alone travels in ASCII without it."""
    settings = mail_settings(server)
    await send(settings, clock, "zoë@example.com")
    await send(settings, clock, "ada@straße.example.com")
    assert [(mail.recipient, mail.is_utf8) for mail in server.received] == [
        ("zoë@example.com", True),
        ("ada@xn--strae-oqa.example.com", False),
    ]


async def test_server_without_smtputf8_never_takes_such_an_address(clock: Clock) -> None:
    """A server that can't carry the address makes the failure permanent."""
    async with SmtpServer(knows_utf8=False) as server:
        with pytest.raises(PermanentFailure, match="SMTPUTF8"):
            await send(mail_settings(server), clock, "zoë@example.com")
        await send(mail_settings(server), clock)


@pytest.mark.parametrize(
    ("command", "reply", "failure", "text"),
    [
        ("RCPT", "550 5.1.1 <ada.private@example.com> unknown", PermanentFailure, "recipient refused: 550 5.1.1"),
        ("RCPT", "553 <ada.private@example.com> malformed", PermanentFailure, "recipient refused: 553"),
        ("RCPT", "450 4.2.0 ada.private@example.com greylisted", TemporaryFailure, "recipient refused: 450 4.2.0"),
        ("RCPT", "530 5.7.0 Authentication required", TemporaryFailure, "recipient refused: 530 5.7.0"),
        ("RCPT", "421 4.3.2 shutting down", TemporaryFailure, "recipient refused: 421 4.3.2"),
        ("DATA", "554 5.7.1 spam: 481516", PermanentFailure, "content refused: 554 5.7.1"),
        ("DATA", "552 too big", PermanentFailure, "content refused: 552"),
        ("DATA", "452 4.3.1 disk full", TemporaryFailure, "content refused: 452 4.3.1"),
        ("DATA", "650 what", TemporaryFailure, "content refused: 650"),
        ("MAIL", "550 5.7.1 no-reply@authsvc.invalid is not yours", TemporaryFailure, "sender refused: 550 5.7.1"),
        ("MAIL", "451 4.3.0 later", TemporaryFailure, "sender refused: 451 4.3.0"),
        ("EHLO", "421 4.3.2 go away, 127.0.0.1", TemporaryFailure, "connection refused by the server: 421 4.3.2"),
        ("EHLO", "nonsense", TemporaryFailure, "connection refused by the server: -1"),
    ],
)
async def test_reply_decides_between_later_and_never(
    server: SmtpServer,
    clock: Clock,
    command: str,
    reply: str,
    failure: type[TemporaryFailure | PermanentFailure],
    text: str,
) -> None:
    """Only a 5xx about this recipient or content is for good; the text keeps the codes, and nothing that was quoted."""
    server.replies[command] = reply
    with pytest.raises(failure) as caught:
        await send(mail_settings(server), clock)
    assert str(caught.value).startswith(text)
    assert "@" not in str(caught.value)
    assert "481516" not in str(caught.value)
    assert server.received == []


async def test_one_refusal_is_not_the_next_ones(server: SmtpServer, clock: Clock) -> None:
    """A sender works on after a failure."""
    sender = SmtpSender(settings=mail_settings(server))
    server.replies["RCPT"] = "550 no"
    with pytest.raises(PermanentFailure):
        await sender.send(message(mail_settings(server), clock))
    server.replies.clear()
    await sender.send(message(mail_settings(server), clock))
    assert len(server.received) == 1


@pytest.mark.parametrize("command", ["EHLO", "MAIL", "RCPT", "DATA"])
async def test_lost_connection_is_temporary(server: SmtpServer, clock: Clock, command: str) -> None:
    """A connection that breaks, wherever it does, is worth another try."""
    server.drops.add(command)
    with pytest.raises(TemporaryFailure, match="connection"):
        await send(mail_settings(server), clock)


async def test_server_that_is_down_is_temporary(clock: Clock) -> None:
    """A refused connection says so, without addresses."""
    async with SmtpServer() as server:
        settings = mail_settings(server)
    with pytest.raises(TemporaryFailure) as caught:
        await send(settings, clock)
    assert str(caught.value) == "no connection: Connection refused"


@pytest.mark.parametrize("greeting", [b"554 no SMTP here\r\n", b"421 busy\r\n", b"hello\r\n", b""])
async def test_greeting_is_not_about_the_message(clock: Clock, greeting: bytes) -> None:
    """Whatever a server says instead of a greeting, the message may be taken later."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        settings = MailSettings(smtp_host="127.0.0.1", smtp_port=server.sockets[0].getsockname()[1], smtp_tls="none")
        with pytest.raises(TemporaryFailure):
            await send(settings, clock)


async def test_slow_goodbye_does_not_undo_a_sent_message(server: SmtpServer, clock: Clock) -> None:
    """A server that took the message and never answers QUIT keeps nobody waiting, and no connection open."""
    server.hangs.add("QUIT")
    await send(mail_settings(server), clock)
    assert len(server.received) == 1
    async with asyncio.timeout(5):
        await server.left.wait()


@pytest.mark.parametrize("to", ["ada> SIZE=1@example.com", "ada b@example.com", "ada\x00@example.com"])
async def test_address_cannot_add_to_the_command(server: SmtpServer, clock: Clock, to: str) -> None:
    """An address that is none never gets near the server."""
    with pytest.raises((PermanentFailure, ValueError)):
        await send(mail_settings(server), clock, to)
    assert not any(command in {"MAIL", "RCPT"} for command, _ in server.commands)


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_mail_is_encrypted_and_logged_in(tmp_path: Path, clock: Clock, mode: str) -> None:
    """With TLS the mail is encrypted, by a certificate of the CA that the settings name, and then comes the login."""
    tls, ca_file = make_tls(tmp_path)
    async with SmtpServer(
        tls=tls, is_implicit=mode == "implicit", login=LOGIN if mode == "starttls" else None
    ) as server:
        settings = mail_settings(
            server,
            smtp_tls=mode,
            smtp_ca_file=ca_file,
            smtp_username=LOGIN[0] if mode == "starttls" else "",
            smtp_password=SecretStr(PASSWORD),
        )
        await send(settings, clock)
        (received,) = server.received
    assert received.is_encrypted
    assert received.is_logged_in == (mode == "starttls")


@pytest.mark.parametrize("username", ["", LOGIN[0]])
async def test_starttls_is_never_given_up(server: SmtpServer, clock: Clock, username: str) -> None:
    """A server, or somebody between, that offers no STARTTLS gets neither login nor mail."""
    settings = mail_settings(server, smtp_tls="starttls", smtp_username=username, smtp_password=SecretStr(PASSWORD))
    with pytest.raises(TemporaryFailure, match="STARTTLS extension not supported"):
        await send(settings, clock)
    assert {command for command, _ in server.commands} <= {"EHLO", "QUIT"}


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_unknown_certificate_is_refused(tmp_path: Path, clock: Clock, mode: str) -> None:
    """A certificate that the system's CAs don't vouch for is refused, for as long as the operator leaves it so."""
    tls, _ = make_tls(tmp_path)
    async with SmtpServer(tls=tls, is_implicit=mode == "implicit") as server:
        with pytest.raises(TemporaryFailure, match="certificate refused: self-signed certificate"):
            await send(mail_settings(server, smtp_tls=mode), clock)
        assert server.received == []


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_certificate_of_another_name_is_refused(tmp_path: Path, clock: Clock, mode: str) -> None:
    """A good certificate of another server is refused."""
    tls, ca_file = make_tls(tmp_path, "mx.example.net")
    async with SmtpServer(tls=tls, is_implicit=mode == "implicit") as server:
        with pytest.raises(TemporaryFailure, match="certificate refused: IP address mismatch"):
            await send(mail_settings(server, smtp_tls=mode, smtp_ca_file=ca_file), clock)
        assert server.received == []


async def test_implicit_tls_to_a_plain_port_fails(server: SmtpServer, tmp_path: Path, clock: Clock) -> None:
    """A server that speaks in clear where TLS is expected gets nothing."""
    with pytest.raises(TemporaryFailure, match="TLS failed: WRONG_VERSION_NUMBER"):
        await send(mail_settings(server, smtp_tls="implicit"), clock)


async def test_refused_login_is_temporary(tmp_path: Path, clock: Clock) -> None:
    """A wrong login loses no mail: an operator can mend it; the text names neither user nor password."""
    tls, ca_file = make_tls(tmp_path)
    async with SmtpServer(tls=tls, login=LOGIN) as server:
        settings = mail_settings(
            server,
            smtp_tls="starttls",
            smtp_ca_file=ca_file,
            smtp_username="mailer",
            smtp_password=SecretStr("wrong"),
        )
        with pytest.raises(TemporaryFailure) as caught:
            await send(settings, clock)
        assert str(caught.value) == "login refused: 535 5.7.8"
        with pytest.raises(TemporaryFailure, match="sender refused: 530"):
            await send(mail_settings(server, smtp_tls="starttls", smtp_ca_file=ca_file), clock)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_bad_ca_file_is_found_at_the_start(tmp_path: Path, content: str | None) -> None:
    """A CA file that is missing or empty of certificates fails when the sender is made."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises((OSError, ssl.SSLError)):
        SmtpSender(settings=MailSettings(smtp_host="mx.example.com", smtp_ca_file=path))
