"""Every mail as it may look: to try templates out, and to be read before users read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from authsvc.core.messages.kinds import (
    CodeMessage,
    EmailChanged,
    Invitation,
    Message,
    MfaChange,
    MfaChanged,
    Recipient,
    RecoveryCodeUsed,
    ResetPasswordCode,
)
from authsvc.delivery.carriers import Outgoing
from authsvc.delivery.mail.rendering import MailRenderer
from authsvc.domain import MailId

RECIPIENT = "ada@example.com"
CREATED_AT = datetime(2030, 1, 15, 12, 0, tzinfo=UTC)
TEMPORARY_PASSWORD = "violet-otter-42"  # noqa: S105  # nobody has it
_LIVES_FOR = timedelta(hours=1)
# What kinds say that need more than a code of six digits, by what is special about it.
_MESSAGES: Mapping[type[Message], Mapping[str, Message]] = {
    ResetPasswordCode: {"": ResetPasswordCode("48151623")},
    Invitation: {"": Invitation(TEMPORARY_PASSWORD)},
    EmailChanged: {"": EmailChanged("n***@e***"), "removed": EmailChanged()},
    MfaChanged: {"": MfaChanged(), **{change.lower(): MfaChanged(change) for change in MfaChange}},
    RecoveryCodeUsed: {"": RecoveryCodeUsed(9), "next_to_last": RecoveryCodeUsed(1), "last": RecoveryCodeUsed(0)},
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold one message; `name` is that of its kind, and of what is special about it if there are several."""

    name: str
    message: Message
    recipient: Recipient

    def render(self, renderer: MailRenderer, *, message_id: MailId, created_at: datetime) -> EmailMessage:
        """Return the mail."""
        return renderer.render(
            Outgoing(
                message=self.message,
                recipient=self.recipient,
                message_id=message_id,
                created_at=created_at,
                expires_at=created_at + _LIVES_FOR if self.message.expires else None,
            )
        )


def samples(kind: type[Message], *, to: str = RECIPIENT, locale: str = "") -> Iterator[Sample]:
    """Yield messages of a kind, one for each thing that it may say; the first is the usual one."""
    ada = Recipient(to=to, username="ada", locale=locale)
    messages = _MESSAGES.get(kind) or {"": kind("481516") if issubclass(kind, CodeMessage) else kind()}
    for special, message in messages.items():
        yield Sample("-".join(filter(None, (kind.kind.lower(), special))), message, ada)
