"""Write mails to files, for those who word them: what each kind says in each language."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from authsvc.core.messages.kinds import Message
from authsvc.delivery.mail.rendering import MailRenderer, content_of
from authsvc.delivery.mail.samples import CREATED_AT, samples
from authsvc.delivery.mail.wording import PACKAGE
from authsvc.domain import MailId

INDEX = "index.html"
# The same each time: two previews differ only where the words do.
_MESSAGE_ID = MailId(UUID(int=0))


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    locale: str
    subject: str
    text: str


def write_preview(
    renderer: MailRenderer, folder: Path, *, locales: Iterable[str], kinds: Iterable[type[Message]]
) -> int:
    """Write each mail as text, HTML and a file for mail programs, with an index of all; return how many mails.

    Raises:
        OSError: a file can't be written.
    """
    pages = [
        _write(sample.render(renderer, message_id=_MESSAGE_ID, created_at=CREATED_AT), folder / locale, sample.name)
        for locale in locales
        for kind in kinds
        for sample in samples(kind, locale=locale)
    ]
    templates = Environment(
        loader=PackageLoader(PACKAGE, "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    index = templates.get_template("preview.html").render(pages=pages)
    folder.joinpath(INDEX).write_text(index, encoding="utf-8")
    return len(pages)


def _write(mail: EmailMessage, folder: Path, name: str) -> _Page:
    text, html = (content_of(mail, subtype) for subtype in ("plain", "html"))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.with_suffix(".txt").write_text(f"{mail['Subject']}\n\n{text}", encoding="utf-8")
    file.with_suffix(".html").write_text(html, encoding="utf-8")
    file.with_suffix(".eml").write_bytes(mail.as_bytes())
    return _Page(name=name, locale=folder.name, subject=str(mail["Subject"]), text=text)
