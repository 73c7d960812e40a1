"""Every mail as it may look: to try templates out, and to be read before users read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

from authsvc.core.messages.notices import MailKind, MailParameters, MfaChange
from authsvc.domain import MailId
from authsvc.mail.messages import CODE_MAILS, Messages

RECIPIENT = "ada@example.com"
CREATED_AT = datetime(2030, 1, 15, 12, 0, tzinfo=UTC)
TEMPORARY_PASSWORD = "violet-otter-42"  # noqa: S105  # nobody has it
_LIVES_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold one mail; `name` is that of its kind, and of what is special about it if there are several."""

    name: str
    kind: MailKind
    parameters: MailParameters
    lives_for: timedelta | None = None

    def render(self, messages: Messages, *, mail_id: MailId, created_at: datetime) -> EmailMessage:
        """Return the message."""
        expires_at = None if self.lives_for is None else created_at + self.lives_for
        return messages.render(
            self.kind, self.parameters, mail_id=mail_id, created_at=created_at, expires_at=expires_at
        )


def samples(kind: MailKind, *, to: str = RECIPIENT, locale: str = "") -> Iterator[Sample]:
    """Yield mails of a kind, one for each thing that it may say; the first is the usual one."""
    name = kind.lower()
    to_ada = MailParameters(to=to, username="ada", locale=locale)
    match kind:
        case _ if kind in CODE_MAILS:
            code = "48151623" if kind is MailKind.RESET_PASSWORD_CODE else "481516"
            yield Sample(name, kind, replace(to_ada, code=code), _LIVES_FOR)
        case MailKind.INVITATION:
            yield Sample(name, kind, replace(to_ada, temporary_password=TEMPORARY_PASSWORD), _LIVES_FOR)
        case MailKind.EMAIL_CHANGED:
            yield Sample(name, kind, replace(to_ada, new_email="n***@e***"))
            yield Sample(f"{name}-removed", kind, to_ada)
        case MailKind.MFA_CHANGED:
            yield Sample(name, kind, to_ada)
            for change in MfaChange:
                yield Sample(f"{name}-{change.lower()}", kind, replace(to_ada, change=change))
        case MailKind.RECOVERY_CODE_USED:
            yield Sample(name, kind, replace(to_ada, recovery_codes_left=9))
            yield Sample(f"{name}-next_to_last", kind, replace(to_ada, recovery_codes_left=1))
            yield Sample(f"{name}-last", kind, replace(to_ada, recovery_codes_left=0))
        case _:
            yield Sample(name, kind, to_ada)
