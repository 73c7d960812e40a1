"""Hand one mail to the SMTP server, and say whether a failure is worth another try.

Permanent is only what the server says about this mail: its recipient or its content, by a 5xx reply (RFC 5321
§4.2.1). All else can change without it: networks come back, and operators mend certificates, logins and senders.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
from email.message import EmailMessage

import aiosmtplib

from authsvc.config import MailSettings
from authsvc.delivery.failures import PermanentFailure, TemporaryFailure

# RFC 3463, at the beginning of a reply's text. Only this is kept of it: servers quote addresses.
_ENHANCED_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
# The server wants a login, a better one, or encryption (RFC 4954 §6, RFC 3207 §4): 5xx, but not about the mail.
_LOGIN_WANTED = frozenset({530, 534, 535, 538})


class SmtpSender:
    """Send mails through one server, each over a connection of its own."""

    def __init__(self, *, settings: MailSettings) -> None:
        """Read the CA file.

        Raises:
            OSError: it can't be read, or holds no certificate.
        """
        self._settings = settings
        uses_tls = settings.smtp_tls != "none"
        self._tls = ssl.create_default_context(cafile=settings.smtp_ca_file) if uses_tls else None

    async def send(self, mail: EmailMessage) -> str:
        """Return the server's answer once it has taken responsibility for the mail; there is no time limit.

        Raises:
            TemporaryFailure: another try may succeed. It may also bring the mail a second time: the connection can
                break after the server accepted and before it said so.
            PermanentFailure: none will.
        """
        client = self._client(mail)
        try:
            await client.connect()
            _, answer = await client.send_message(mail)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # Without the cause, whose text may quote addresses.
            raise _failure(error) from None
        finally:
            _hang_up(client)
        return answer

    def _client(self, mail: EmailMessage) -> aiosmtplib.SMTP:
        settings = self._settings
        return aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username or None,
            password=settings.smtp_password.get_secret_value() if settings.smtp_username else None,
            use_tls=settings.smtp_tls == "implicit",
            # True, or never: None would encrypt only if the server, or somebody between, offers it.
            start_tls=settings.smtp_tls == "starttls",
            tls_context=self._tls,
            # The name for EHLO. A container's own is often no domain, and looking it up can take long.
            local_hostname=mail["From"].addresses[0].domain,
            timeout=None,
        )


def _hang_up(client: aiosmtplib.SMTP) -> None:
    """Say QUIT (RFC 5321 §4.1.1.10) and close, without waiting: a slow goodbye must not undo what was taken."""
    if client.protocol is not None:
        with contextlib.suppress(aiosmtplib.SMTPServerDisconnected):
            client.protocol.write(b"QUIT\r\n")
    client.close()


def _failure(error: aiosmtplib.SMTPException | OSError | ValueError) -> TemporaryFailure | PermanentFailure:
    match error:
        case aiosmtplib.SMTPRecipientsRefused(recipients=[refused, *_]):
            return _refusal("recipient refused", refused)
        case aiosmtplib.SMTPDataError():
            return _refusal("content refused", error)
        case aiosmtplib.SMTPNotSupported():
            return PermanentFailure("the address needs SMTPUTF8, which the server lacks")
        case aiosmtplib.SMTPSenderRefused():
            # Not about this mail, whatever the code: the same sender is in every one.
            return _refusal("sender refused", error, is_about_mail=False)
        case aiosmtplib.SMTPAuthenticationError():
            return _refusal("login refused", error, is_about_mail=False)
        case aiosmtplib.SMTPResponseException():
            return _refusal("connection refused by the server", error, is_about_mail=False)
        case aiosmtplib.SMTPException() | OSError():
            return TemporaryFailure(_describe(error))
        case _:
            return PermanentFailure("the address can't be sent to")


def _refusal(
    phrase: str, error: aiosmtplib.SMTPResponseException, *, is_about_mail: bool = True
) -> TemporaryFailure | PermanentFailure:
    status = _ENHANCED_STATUS.match(error.message)
    words = f"{phrase}: {error.code}" + (f" {status[0]}" if status else "")
    is_permanent = is_about_mail and 500 <= error.code < 600 and error.code not in _LOGIN_WANTED
    failure = PermanentFailure(words) if is_permanent else TemporaryFailure(words)
    failure.answer = f"{error.code} {error.message}"
    return failure


def _describe(error: aiosmtplib.SMTPException | OSError) -> str:
    # aiosmtplib wraps what happens while it connects, and quotes the peer's address.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    match cause:
        case ssl.SSLCertVerificationError():
            return f"certificate refused: {cause.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {cause.reason}"
        case socket.gaierror():
            return "the server's name was not found"
        case TimeoutError():
            return "the server did not answer"
        case OSError(errno=int(number)):
            return f"no connection: {os.strerror(number)}"
        case OSError():
            return "connection lost"
        case _:
            # A fixed text of the library's own: the server offers no STARTTLS, or no login.
            return cause.message
