"""Bring messages by mail."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Protocol

from authsvc.config import MailSettings
from authsvc.delivery.carriers import Outgoing, Send
from authsvc.delivery.mail.rendering import MailRenderer


class Sender(Protocol):
    """Hand over mails, as `SmtpSender` does."""

    async def send(self, mail: EmailMessage) -> object:
        """Return once the mail is taken; raise TemporaryFailure or PermanentFailure if it is not."""
        ...


class MailCarrier:
    """Render mails, and have them sent."""

    def __init__(self, *, settings: MailSettings, sender: Sender) -> None:
        self._sender = sender
        self._renderer = MailRenderer(settings=settings)
        self.send_timeout = settings.send_timeout

    def prepare(self, outgoing: Outgoing) -> Send:
        """Render a mail, alike at every try, and return what hands it over.

        Raises:
            ValueError: the address can't stand in a mail.
        """
        mail = self._renderer.render(outgoing)
        return lambda: self._sender.send(mail)
