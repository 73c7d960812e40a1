"""Proof-read an operator's templates at the start: a mistake must not wait for the first user who needs a mail."""

from __future__ import annotations

import traceback
from dataclasses import replace
from email.message import EmailMessage

from jinja2 import TemplateSyntaxError

from authsvc.config import MailSettings
from authsvc.core.messages.kinds import KINDS
from authsvc.crypto.tokens import new_id
from authsvc.delivery.mail.rendering import MailRenderer, content_of
from authsvc.delivery.mail.samples import CREATED_AT, Sample, samples
from authsvc.delivery.mail.wording import CODE_WORDS, LAYOUT, TemplatesError, Wording
from authsvc.domain import MailId

# What HTML must show escaped.
_MARKUP = "<ada>"


def proofread(settings: MailSettings) -> MailRenderer:
    """Return what renders mails with the operator's templates, once each has been tried with everything it may show.

    Raises:
        TemplatesError: they can't be read, or are wrong; all faults at once.
    """
    renderer = MailRenderer(settings=settings)
    # A template that does not compile would only fail again, in each mail.
    if faults := _faults_of_syntax(renderer.wording) or _faults_of_mails(renderer):
        raise TemplatesError("\n".join(dict.fromkeys(faults)))
    return renderer


def _faults_of_syntax(wording: Wording) -> list[str]:
    faults = []
    for name, template in wording.own.items():
        try:
            wording.get(name)
        except TemplateSyntaxError as error:
            faults.append(f"{template.path}: line {error.lineno}: {error.message}")
    return faults


def _faults_of_mails(renderer: MailRenderer) -> list[str]:
    wording = renderer.wording
    if not wording.own:
        return []
    faults = []
    for language in wording.languages():
        for kind in KINDS.values():
            for usual in samples(kind, locale=language):
                sample = replace(usual, recipient=replace(usual.recipient, username=_MARKUP))
                try:
                    mail = sample.render(renderer, message_id=MailId(new_id()), created_at=CREATED_AT)
                except Exception as error:  # templates can raise anything
                    faults.append(_told(error, wording))
                else:
                    faults += _faults_of_content(mail, sample, wording)
    return faults


def _faults_of_content(mail: EmailMessage, sample: Sample, wording: Wording) -> list[str]:
    text, html = (content_of(mail, subtype) for subtype in ("plain", "html"))
    language, template = wording.find(sample.message.kind, sample.recipient.locale)
    name = str(template.name) if template.name in wording.own else f"{language}/{CODE_WORDS}"
    secret, variable = sample.message.highlight, sample.message.highlighted
    rules = (
        (not mail["Subject"], name, "has no subject, which is the first line"),
        (bool(mail["Subject"]) and not text.strip(), name, "has a subject and no text"),
        (bool(text.strip()) and secret not in text, name, f"does not show {{{{ {variable} }}}}"),
        (secret in text and secret not in html, LAYOUT, "does not show {{ highlight }}"),
        (_MARKUP in html, LAYOUT, "shows text without escaping it"),
    )
    paths = {name: template.path for name, template in wording.own.items()}
    return [f"{paths.get(name, name)}: {fault}" for is_broken, name, fault in rules if is_broken]


def _told(error: Exception, wording: Wording) -> str:
    """Return which of the operator's lines raised the error: the innermost, in an included file perhaps."""
    own = {str(template.path) for template in wording.own.values()}
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
    words = str(error) or type(error).__name__
    return f"{lines[-1].filename}: line {lines[-1].lineno}: {words}" if lines else words
