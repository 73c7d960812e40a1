"""Proof-read an operator's templates at the start: a mistake must not wait for the first user who needs a mail."""

from __future__ import annotations

import traceback
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError

from authsvc.config import MailSettings
from authsvc.core.messages.notices import MailKind
from authsvc.crypto.tokens import new_id
from authsvc.domain import MailId
from authsvc.mail.messages import Messages
from authsvc.mail.samples import CREATED_AT, Sample, samples
from authsvc.mail.wording import CODE_WORDS, LAYOUT, TemplatesError, Wording, read_folder

# What HTML must show escaped.
_MARKUP = "<ada>"


def proofread(settings: MailSettings) -> Messages:
    """Return what renders mails with the operator's templates, once each has been tried with everything it may show.

    Raises:
        TemplatesError: they can't be read, or are wrong; all faults at once.
    """
    wording = Wording(read_folder(settings.templates_folder), settings.default_locale)
    messages = Messages(settings, wording)
    # A template that does not compile would only fail again, in each mail.
    faults = _faults_of_syntax(wording) or _faults_of_mails(wording, messages)
    if faults:
        raise TemplatesError("\n".join(dict.fromkeys(faults)))
    return messages


def _faults_of_syntax(wording: Wording) -> list[str]:
    faults = []
    for name, template in wording.own.items():
        try:
            wording.get(name)
        except TemplateSyntaxError as error:
            faults.append(f"{template.path}: line {error.lineno}: {error.message}")
    return faults


def _faults_of_mails(wording: Wording, messages: Messages) -> list[str]:
    if not wording.own:
        return []
    faults = []
    for language in wording.languages():
        for kind in MailKind:
            for sample in samples(kind, locale=language):
                try:
                    message = _marked(sample).render(messages, mail_id=MailId(new_id()), created_at=CREATED_AT)
                except Exception as error:  # templates can raise anything
                    faults.append(_told(error, wording))
                else:
                    faults += _faults_of_content(message, sample, wording)
    return faults


def _marked(sample: Sample) -> Sample:
    return replace(sample, parameters=replace(sample.parameters, username=_MARKUP))


def _faults_of_content(message: EmailMessage, sample: Sample, wording: Wording) -> list[str]:
    text, html = (_content(message, subtype) for subtype in ("plain", "html"))
    language, template = wording.find(sample.kind, sample.parameters.locale)
    name = str(template.name) if template.name in wording.own else f"{language}/{CODE_WORDS}"
    secret = sample.parameters.code or sample.parameters.temporary_password
    variable = "code" if sample.parameters.code else "temporary_password"
    rules = (
        (not message["Subject"], name, "has no subject, which is the first line"),
        (bool(message["Subject"]) and not text.strip(), name, "has a subject and no text"),
        (bool(text.strip()) and secret not in text, name, f"does not show {{{{ {variable} }}}}"),
        (secret in text and secret not in html, LAYOUT, "does not show {{ highlight }}"),
        (_MARKUP in html, LAYOUT, "shows text without escaping it"),
    )
    return [f"{_path(wording, name)}: {fault}" for is_broken, name, fault in rules if is_broken]


def _content(message: EmailMessage, subtype: str) -> str:
    part: Any = message.get_body((subtype,))
    return str(part.get_content())


def _path(wording: Wording, name: str) -> Path | str:
    own = wording.own.get(name)
    return own.path if own else name


def _told(error: Exception, wording: Wording) -> str:
    """Return which of the operator's lines raised the error: the innermost, in an included file perhaps."""
    own = {str(template.path) for template in wording.own.values()}
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    words = str(error) or type(error).__name__
    return f"{lines[-1].filename}: line {lines[-1].lineno}: {words}" if lines else words
