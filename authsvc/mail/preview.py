"""Write mails to files, for those who word them: what each kind says in each language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from authsvc.core.messages.notices import MailKind
from authsvc.domain import MailId
from authsvc.mail.messages import Messages
from authsvc.mail.samples import CREATED_AT, samples

INDEX = "index.html"
# The same each time: two previews differ only where the words do.
_MAIL_ID = MailId(UUID(int=0))


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    locale: str
    subject: str
    text: str


def write_preview(messages: Messages, folder: Path, locales: Iterable[str], kinds: Iterable[MailKind]) -> int:
    """Write each mail as text, HTML and a file for mail programs, with an index of all; return how many mails.

    Raises:
        OSError: a file can't be written.
    """
    pages = [
        _write(sample.render(messages, mail_id=_MAIL_ID, created_at=CREATED_AT), folder, locale, sample.name)
        for locale in locales
        for kind in kinds
        for sample in samples(kind, locale=locale)
    ]
    templates = Environment(
        loader=PackageLoader("authsvc.mail", "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    index = templates.get_template("preview.html").render(pages=pages)
    folder.joinpath(INDEX).write_text(index, encoding="utf-8")
    return len(pages)


def _write(message: EmailMessage, folder: Path, locale: str, name: str) -> _Page:
    text, html = (_content(message, subtype) for subtype in ("plain", "html"))
    file = folder / locale / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".txt").write_text(f"{message['Subject']}\n\n{text}", encoding="utf-8")
    file.with_suffix(".html").write_text(html, encoding="utf-8")
    file.with_suffix(".eml").write_bytes(message.as_bytes())
    return _Page(name, locale, str(message["Subject"]), text)


def _content(message: EmailMessage, subtype: str) -> str:
    part: Any = message.get_body((subtype,))
    return str(part.get_content())
