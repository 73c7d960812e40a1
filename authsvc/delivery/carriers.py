"""What is brought to a reader, and what brings it: one carrier for each medium."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from authsvc.core.messages.kinds import Message, Recipient
from authsvc.domain import MailId

# Hands one message over; raises TemporaryFailure or PermanentFailure if it is not taken.
Send = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """Hold one message on its way: what it says, to whom, and what stands on it, alike at every try."""

    message: Message
    recipient: Recipient
    message_id: MailId
    created_at: datetime
    expires_at: datetime | None


class Carrier(Protocol):
    """Bring messages to their readers over one medium, each within `send_timeout` in all."""

    send_timeout: timedelta

    def prepare(self, outgoing: Outgoing) -> Send:
        """Render a message, alike at every try, and return what hands it over.

        Raises:
            ValueError: it can't go over this medium.
        """
        ...
