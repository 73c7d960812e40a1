"""What each mail says: an outbox row and its parameters become one MIME message.

A template is a text: its first line is the subject, blank lines part its paragraphs. The HTML part shows the same
paragraphs, so the two can't differ. Templates live in one folder per language; what a language lacks is English.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from uuid import UUID

from email_validator import validate_email
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from authsvc.config import MailSettings
from authsvc.core.notices import MailKind, MailParameters

CODE_PLACEHOLDER = "{####}"
DEFAULT_LANGUAGE = "en"

# Every server on the way can carry 7 bit.
_POLICY = SMTP.clone(cte_type="7bit")
# BCP 47 in form and length. It comes from users and names a folder.
_LANGUAGE_TAG = re.compile(r"(?=.{1,35}\Z)[a-z]{2,8}(?:-[a-z0-9]{1,8})*")
_BLANK_LINES = re.compile(r"\n\s*\n")


class Messages:
    """Render mails from one sender."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._from = _address(settings.from_address, settings.from_name)
        self._templates = Environment(
            loader=PackageLoader("authsvc.mail", "templates"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
        )

    def render(
        self,
        kind: MailKind,
        parameters: MailParameters,
        *,
        mail_id: UUID,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> EmailMessage:
        """Return the message, alike at every try: same Message-ID, same Date.

        Raises:
            ValueError: the address can't stand in a mail.
        """
        template = self._find_template(kind, parameters.locale)
        language = str(template.name).partition("/")[0]
        text = template.render(
            username=_legible(parameters.username),
            code_subject=self._with_code(" ".join(self._settings.code_subject.split()), parameters.code),
            code_message=self._with_code(self._settings.code_message.strip(), parameters.code),
            created_at=_minute(created_at),
            expires_at=expires_at and _minute(expires_at),
        )
        subject, _, body = text.partition("\n")

        message = EmailMessage(policy=_POLICY)
        message["From"] = self._from
        message["To"] = _address(parameters.to)
        message["Subject"] = subject
        message["Date"] = format_datetime(created_at)
        message["Message-ID"] = f"<{mail_id}@{self._from.domain}>"
        # RFC 3834: keeps vacation notices and the like from answering.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body.strip())
        message.add_alternative(self._html(language, subject, body, parameters.code), subtype="html")
        return message

    def _find_template(self, kind: MailKind, locale: str) -> Template:
        return self._templates.select_template([f"{tag}/{kind.lower()}.txt" for tag in _languages(locale)])

    def _html(self, language: str, subject: str, body: str, code: str) -> str:
        # Each line is split where the code stands, which the layout puts back with emphasis.
        paragraphs = [
            [line.split(code) if code else [line] for line in paragraph.splitlines()]
            for paragraph in _BLANK_LINES.split(body.strip())
        ]
        layout = self._templates.get_template("layout.html")
        return layout.render(language=language, subject=subject, paragraphs=paragraphs, code=code)

    @staticmethod
    def _with_code(text: str, code: str) -> str:
        return text.replace(CODE_PLACEHOLDER, code)


def _languages(locale: str) -> list[str]:
    """Return where to look for a template: `pt-BR` is pt-br, else pt, else English."""
    tag = locale.lower()
    subtags = tag.split("-") if _LANGUAGE_TAG.fullmatch(tag) else []
    return ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)] + [DEFAULT_LANGUAGE]


def _legible(username: str) -> str:
    """Return a username that can't pass for a line of ours, nor turn the text around it: see CVE-2021-42574."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in username)


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _address(address: str, display_name: str = "") -> Address:
    """Return an address as it travels: the domain in ASCII, so that only a local part beyond it needs SMTPUTF8."""
    local_part, _, domain = address.rpartition("@")
    if not local_part or not domain:
        raise ValueError("not an address")
    if not domain.isascii():
        # IDNA 2008. Python's own codec knows 2003 alone, where `straße.de` is another domain's name.
        domain = validate_email(f"postmaster@{domain}", check_deliverability=False).ascii_domain
    if local_part.isascii():
        return Address(display_name, addr_spec=f"{local_part}@{domain}")
    return Address(display_name, local_part, domain)
