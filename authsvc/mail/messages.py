"""What each mail says: an outbox row and its parameters become one MIME message.

A template is a text: its first line is the subject, blank lines part its paragraphs. The HTML part shows the same
paragraphs, so the two can't differ. What a language lacks is in the default language.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from email_validator import validate_email

from authsvc.config import MailSettings
from authsvc.core.messages.notices import MailKind, MailParameters
from authsvc.domain import MailId
from authsvc.mail.wording import CODE_PLACEHOLDER, LAYOUT, Wording, read_folder

CODE_MAILS = frozenset(
    {MailKind.SIGN_UP_CODE, MailKind.RESET_PASSWORD_CODE, MailKind.ATTRIBUTE_CODE, MailKind.SIGN_IN_CODE}
)

# Every server on the way can carry 7 bit.
_POLICY = SMTP.clone(cte_type="7bit")
_BLANK_LINES = re.compile(r"\n\s*\n")


class Messages:
    """Render mails from one sender."""

    def __init__(self, settings: MailSettings, wording: Wording | None = None) -> None:
        """Read the operator's templates, unless they are given.

        Raises:
            TemplatesError: they can't be read.
        """
        self._settings = settings
        self._from = _address(settings.from_address, settings.from_name)
        self._wording = wording or Wording(read_folder(settings.templates_folder), settings.default_locale)

    def render(
        self,
        kind: MailKind,
        parameters: MailParameters,
        *,
        mail_id: MailId,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> EmailMessage:
        """Return the message, alike at every try: same Message-ID, same Date.

        Raises:
            ValueError: the address can't stand in a mail.
            jinja2.TemplateError: a template of the operator's is wrong.
        """
        language, template = self._wording.find(kind, parameters.locale)
        variables = {"username": _legible(parameters.username), "created_at": _minute(created_at)}
        text = template.render(variables | self._variables(kind, parameters, language, expires_at))
        subject, body = _parts(text)

        message = EmailMessage(policy=_POLICY)
        message["From"] = self._from
        message["To"] = _address(parameters.to)
        message["Subject"] = subject
        message["Date"] = format_datetime(created_at)
        message["Message-ID"] = f"<{mail_id}@{self._from.domain}>"
        # RFC 3834: keeps vacation notices and the like from answering.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(body)
        highlight = parameters.code or parameters.temporary_password
        message.add_alternative(self._html(language, subject, body, highlight), subtype="html")
        return message

    def _variables(
        self, kind: MailKind, parameters: MailParameters, language: str, expires_at: datetime | None
    ) -> dict[str, object]:
        """Return what the templates of a kind may show, beside what all may. docs/mail.md lists them."""
        until = _minute(expires_at) if expires_at else ""
        match kind:
            case _ if kind in CODE_MAILS:
                subject, message = self._code_words(language, parameters.code)
                return {
                    "code": parameters.code,
                    "code_subject": subject,
                    "code_message": message,
                    "expires_at": until,
                }
            case MailKind.INVITATION:
                return {"temporary_password": parameters.temporary_password, "expires_at": until}
            case MailKind.EMAIL_CHANGED:
                return {"new_email": _legible(parameters.new_email)}
            case MailKind.MFA_CHANGED:
                return {"change": parameters.change}
            case MailKind.RECOVERY_CODE_USED:
                return {"recovery_codes_left": parameters.recovery_codes_left}
            case _:
                return {}

    def _code_words(self, language: str, code: str) -> tuple[str, str]:
        """Return how a mail with a code begins.

        By the operator's own template of the language; else by the settings, where they are not the defaults, in every
        language; else by the built-in template.
        """
        template = self._wording.find_code_words(language)
        subject, message = _parts(template.render(code=code))
        if template.name not in self._wording.own:
            if _is_changed(self._settings, "code_subject"):
                subject = " ".join(self._settings.code_subject.split()).replace(CODE_PLACEHOLDER, code)
            if _is_changed(self._settings, "code_message"):
                message = self._settings.code_message.strip().replace(CODE_PLACEHOLDER, code)
        return subject, message

    def _html(self, language: str, subject: str, body: str, highlight: str) -> str:
        # Each line is split where the highlight stands, which the layout puts back with emphasis.
        paragraphs = [
            [line.split(highlight) if highlight else [line] for line in paragraph.splitlines()]
            for paragraph in _BLANK_LINES.split(body)
        ]
        return self._wording.get(LAYOUT).render(
            language=language, subject=subject, paragraphs=paragraphs, highlight=highlight
        )


def _parts(text: str) -> tuple[str, str]:
    """Return the first line, and what is below."""
    first, _, rest = text.strip().partition("\n")
    return first.strip(), rest.strip()


def _is_changed(settings: MailSettings, field: str) -> bool:
    # By value: a settings file may well spell the defaults out.
    return bool(getattr(settings, field) != MailSettings.model_fields[field].default)


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
