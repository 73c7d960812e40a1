"""A folder of mails and SMS, written by the catcher, readable by any process or person that can see the folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as modern_policy
from functools import lru_cache
from pathlib import Path

from authsvc.domain import Medium

_NAME = re.compile(r"(?P<number>\d{6,})-(?P<address>[a-z0-9@+._-]*)\.(?P<medium>eml|sms)")
_ENDINGS = {Medium.EMAIL: ".eml", Medium.SMS: ".sms"}
_MEDIA = {ending: medium for medium, ending in _ENDINGS.items()}
_UNSAFE_IN_NAME = re.compile(r"[^a-z0-9@+._-]")
_ADDRESS_IN_NAME_LENGTH = 100
_CODE = re.compile(r"(?<!\d)\d{6,8}(?!\d)")


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One mail or SMS as one recipient got it; numbers rise in the order of arrival, over both."""

    number: int
    medium: Medium
    recipient: str
    received_at: datetime
    message: EmailMessage


class Mailbox:
    """Keep messages in `folder`, one file each: `000001-jane@example.com.eml`, readable by any mail program.

    An SMS is kept in the same form as `000002-+14155550123.sms`.

    One process at a time may write; readers need no lock, since a file appears whole or not at all.
    """

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder
        self._last_number: int | None = None

    def create(self) -> None:
        """Create the folder, for its owner alone; do nothing if it is there."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, recipient: str, content: bytes, *, medium: Medium = Medium.EMAIL) -> CaughtMail:
        """Store one message, naming its recipient in a leading Delivered-To (RFC 9228); return it as read back.

        Raises:
            OSError: the folder cannot be written.
        """
        self.create()
        number = self.last_number() + 1
        delivered_to = legible(recipient)
        path = self._folder / f"{number:06d}-{_address_in_name(recipient)}{_ENDINGS[medium]}"
        unfinished = self._folder / ".unfinished"
        unfinished.write_bytes(f"Delivered-To: {delivered_to}\n".encode() + content.replace(b"\r\n", b"\n"))
        unfinished.replace(path)
        self._last_number = number
        return _read(path, number)

    def read(self, recipient: str | None = None, *, after: int = 0) -> list[CaughtMail]:
        """Return the mails numbered above `after`, oldest first: all, or those to `recipient` in any case."""
        files = [(number, path) for number, path in self._files() if number > after]
        if recipient is None:
            return [_read(path, number) for number, path in files]
        # The name spares parsing the mails of others; what decides is the recipient in full.
        ending = f"-{_address_in_name(recipient)}"
        mails = [_read(path, number) for number, path in files if path.stem.endswith(ending)]
        return [mail for mail in mails if mail.recipient.casefold() == legible(recipient).casefold()]

    def last_number(self) -> int:
        """Return the newest mail's number, 0 in an empty folder: as `after` it selects later ones."""
        if self._last_number is not None:
            return self._last_number
        return max((number for number, _ in self._files()), default=0)

    def _files(self) -> list[tuple[int, Path]]:
        if not self._folder.exists():
            return []
        names = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted((int(name["number"]), path) for name, path in names if name)


def text_in(message: EmailMessage, subtype: str = "plain") -> str | None:
    """Return the mail's text of that subtype, `plain` or `html`, or None if it has no such part."""
    try:
        part = message.get_body((subtype,))
        return None if part is None else str(part.get_content())
    except Exception:
        # On malformed mail the email package raises nearly anything. The file itself is there to be read.
        return None


def header_in(message: EmailMessage, name: str) -> str:
    """Return a header's value, decoded; empty if there is none, or none that can be understood."""
    try:
        return str(message[name] or "")
    except Exception:
        # As above: `Message-ID: <` is an IndexError, for one.
        return ""


def code_in(message: EmailMessage) -> str | None:
    """Return the first run of 6 to 8 digits in the plain text, which is how a person looks for the code."""
    found = _CODE.search(text_in(message) or "")
    return found[0] if found else None


def legible(text: str) -> str:
    """Replace what a terminal or a header would obey: control characters and broken encodings."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _address_in_name(recipient: str) -> str:
    return _UNSAFE_IN_NAME.sub("_", recipient.lower())[:_ADDRESS_IN_NAME_LENGTH]


def _read(path: Path, number: int) -> CaughtMail:
    return _parse(path, number, path.stat().st_mtime_ns)


# Who waits for a mail reads the ones before it again and again.
@lru_cache(maxsize=256)
def _parse(path: Path, number: int, modified_ns: int) -> CaughtMail:
    message = BytesParser(policy=modern_policy).parsebytes(path.read_bytes())
    return CaughtMail(
        number=number,
        medium=_MEDIA[path.suffix],
        recipient=header_in(message, "Delivered-To"),
        received_at=datetime.fromtimestamp(modified_ns / 1e9, UTC),
        message=message,
    )
