"""What each mail says: a message becomes one of MIME.

A template is a text: its first line is the subject, blank lines part its paragraphs. The HTML part shows the same
paragraphs, so the two can't differ. What a language lacks is in the default language.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from email_validator import validate_email

from authsvc.config import MailSettings
from authsvc.core.messages.kinds import CodeMessage, EmailChanged
from authsvc.delivery.carriers import Outgoing
from authsvc.delivery.mail.wording import LAYOUT, Wording, read_folder
from authsvc.delivery.words import CODE_PLACEHOLDER, is_changed

# Every server on the way can carry 7 bit.
_POLICY = SMTP.clone(cte_type="7bit")
_BLANK_LINES = re.compile(r"\n\s*\n")


class MailRenderer:
    """Render mails from one sender."""

    def __init__(self, *, settings: MailSettings) -> None:
        """Read the operator's templates.

        Raises:
            TemplatesError: they can't be read.
        """
        self._settings = settings
        self._from = _address(settings.from_address, settings.from_name)
        self.wording = Wording(own=read_folder(settings.templates_folder), default_locale=settings.default_locale)

    def render(self, outgoing: Outgoing) -> EmailMessage:
        """Return the mail, alike at every try: same Message-ID, same Date.

        Raises:
            ValueError: the address can't stand in a mail.
            jinja2.TemplateError: a template of the operator's is wrong.
        """
        message, recipient = outgoing.message, outgoing.recipient
        language, template = self.wording.find(message.kind, recipient.locale)
        subject, body = _parts(template.render(self._variables(outgoing, language)))

        mail = EmailMessage(policy=_POLICY)
        mail["From"] = self._from
        mail["To"] = _address(recipient.to)
        mail["Subject"] = subject
        mail["Date"] = format_datetime(outgoing.created_at)
        mail["Message-ID"] = f"<{outgoing.message_id}@{self._from.domain}>"
        # RFC 3834: keeps vacation notices and the like from answering.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(body)
        html = self._html(body, language=language, subject=subject, highlight=message.highlight)
        mail.add_alternative(html, subtype="html")
        return mail

    def _variables(self, outgoing: Outgoing, language: str) -> dict[str, object]:
        """Return what the templates of a kind may show: docs/mail.md lists it."""
        message, expires_at = outgoing.message, outgoing.expires_at
        variables: dict[str, object] = {
            "username": _legible(outgoing.recipient.username),
            "created_at": _minute(outgoing.created_at),
            **asdict(message),
        }
        if message.expires:
            variables["expires_at"] = _minute(expires_at) if expires_at else ""
        match message:
            case CodeMessage(code=code):
                subject, text = self._code_words(language, code)
                variables |= {"code_subject": subject, "code_message": text}
            case EmailChanged(new_email=new_email):
                variables["new_email"] = _legible(new_email)
        return variables

    def _code_words(self, language: str, code: str) -> tuple[str, str]:
        """Return how a mail with a code begins.

        By the operator's own template of the language; else by the settings, where they are not the defaults, in every
        language; else by the built-in template.
        """
        template = self.wording.find_code_words(language)
        subject, message = _parts(template.render(code=code))
        if template.name not in self.wording.own:
            if is_changed(self._settings, "code_subject"):
                subject = " ".join(self._settings.code_subject.split()).replace(CODE_PLACEHOLDER, code)
            if is_changed(self._settings, "code_message"):
                message = self._settings.code_message.strip().replace(CODE_PLACEHOLDER, code)
        return subject, message

    def _html(self, body: str, *, language: str, subject: str, highlight: str) -> str:
        # Each line is split where the highlight stands, which the layout puts back with emphasis.
        paragraphs = [
            [line.split(highlight) if highlight else [line] for line in paragraph.splitlines()]
            for paragraph in _BLANK_LINES.split(body)
        ]
        return self.wording.get(LAYOUT).render(
            language=language, subject=subject, paragraphs=paragraphs, highlight=highlight
        )


def content_of(mail: EmailMessage, subtype: str) -> str:
    """Return what the `plain` or `html` part of a rendered mail says."""
    part: Any = mail.get_body((subtype,))
    return str(part.get_content())


def _parts(text: str) -> tuple[str, str]:
    """Return the first line, and what is below."""
    first, _, rest = text.strip().partition("\n")
    return first.strip(), rest.strip()


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
