"""What brings messages to their readers, one carrier for each medium."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from email.message import EmailMessage
from typing import Protocol

from authsvc.config import MailSettings
from authsvc.core.messages.notices import MailKind, MailParameters
from authsvc.mail.messages import Messages
from authsvc.store.outbox import ClaimedMail

# Hands one message over; raises TemporaryFailure or PermanentFailure if it is not taken.
Send = Callable[[], Awaitable[object]]


class Carrier(Protocol):
    """Bring messages to their readers over one medium."""

    @property
    def send_timeout(self) -> timedelta:
        """Return the longest time for one message in all."""
        ...

    def prepare(self, mail: ClaimedMail, parameters: MailParameters) -> Send:
        """Render a message, alike at every try, and return what hands it over."""
        ...


class Sender(Protocol):
    """Hand over mails, as `SmtpSender` does."""

    async def send(self, message: EmailMessage) -> object:
        """Return once the message is taken; raise TemporaryFailure or PermanentFailure if it is not."""
        ...


class MailCarrier:
    """Bring messages by mail."""

    def __init__(self, settings: MailSettings, sender: Sender) -> None:
        self._sender = sender
        self._messages = Messages(settings)
        self._send_timeout = settings.send_timeout

    @property
    def send_timeout(self) -> timedelta:
        """Return the longest time for one mail in all."""
        return self._send_timeout

    def prepare(self, mail: ClaimedMail, parameters: MailParameters) -> Send:
        """Render a mail, alike at every try, and return what hands it over.

        Raises:
            ValueError: the kind is not known here, or the address can't stand in a mail.
        """
        message = self._messages.render(
            MailKind(mail.kind),
            parameters,
            mail_id=mail.mail_id,
            created_at=mail.created_at,
            expires_at=mail.expires_at,
        )
        return lambda: self._sender.send(message)
