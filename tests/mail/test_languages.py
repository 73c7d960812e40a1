"""Each mail in each language."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from uuid import UUID

import pytest

from authsvc.config import MailSettings
from authsvc.core.messages.kinds import KINDS, CodeMessage, Message, MfaChanged, Recipient, SignUpCode
from authsvc.delivery.mail.rendering import MailRenderer
from authsvc.delivery.mail.samples import RECIPIENT, Sample, samples
from authsvc.delivery.mail.wording import Wording
from authsvc.delivery.words import tags_of
from authsvc.dev.mailbox import code_in
from authsvc.domain import MailId
from tests.mail.reading import HtmlPage, paragraphs_of_text, text_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MAIL_ID = UUID("8a1b2c3d-0000-4000-8000-00000000abcd")
ACCOUNT = {"en": "account ada", "de": "Konto(s)? ada", "fr": "compte ada"}
# Words that stand in nearly every text of that language, and in none of another.
OWN_WORDS = {"en": {"the", "you", "your"}, "de": {"das", "Sie", "Ihr", "nicht"}, "fr": {"le", "vous", "votre", "pas"}}
CODE_MESSAGES = [kind for kind in KINDS.values() if issubclass(kind, CodeMessage)]
CASES = [
    pytest.param(sample, locale, id=f"{locale}-{sample.name}")
    for locale in ACCOUNT
    for kind in KINDS.values()
    for sample in samples(kind, locale=locale)
]


def arrived(sample: Sample, **settings: str) -> EmailMessage:
    """Return a mail as it arrives."""
    message = sample.render(MailRenderer(settings=MailSettings(**settings)), message_id=MailId(MAIL_ID), created_at=NOW)
    return BytesParser(policy=default).parsebytes(message.as_bytes())


def code_mail(locale: str, **settings: str) -> EmailMessage:
    """Return a mail with a code as it arrives."""
    return arrived(next(samples(SignUpCode, locale=locale)), **settings)


def test_every_language_is_tested() -> None:
    """The languages with templates are English, German and French."""
    assert Wording(own={}).languages() == sorted(ACCOUNT)


@pytest.mark.parametrize(("sample", "locale"), CASES)
def test_every_mail_is_whole(sample: Sample, locale: str) -> None:
    """Whatever a mail says, its subject is one line, text and HTML say the same, and it names the account."""
    mail = arrived(sample)
    text, page = text_of(mail), HtmlPage(mail)
    assert re.fullmatch(r"\S[^\n]{5,60}\S", mail["Subject"])
    assert page.title == mail["Subject"]
    assert page.paragraphs == paragraphs_of_text(mail)
    assert ("lang", locale) in page.attributes
    assert len(page.paragraphs) >= 2
    assert re.search(rf"\b{ACCOUNT[locale]}\b", text)
    assert not re.search(r"[{}]|\bNone\b|  |\n\n\n| \n|\n ", text)


@pytest.mark.parametrize(("sample", "locale"), CASES)
def test_every_mail_is_in_one_language(sample: Sample, locale: str) -> None:
    """A mail has words of its own language, and none of another."""
    words = set(re.findall(r"\w+", text_of(arrived(sample))))
    assert len(words & OWN_WORDS[locale]) >= 1
    for other, theirs in OWN_WORDS.items():
        assert other == locale or not words & theirs


@pytest.mark.parametrize(("sample", "locale"), CASES)
def test_every_mail_says_when(sample: Sample, locale: str) -> None:
    """A mail tells when the thing happened, or until when its secret is good."""
    time = "2026-01-02 04:04 UTC" if sample.message.expires else "2026-01-02 03:04 UTC"
    assert time in text_of(arrived(sample)), locale


@pytest.mark.parametrize(("sample", "locale"), CASES)
def test_a_secret_is_found_and_emphasised(sample: Sample, locale: str) -> None:
    """A code is the first number that its reader finds; HTML puts weight on it, or on the temporary password, alone."""
    mail = arrived(sample)
    message = sample.message
    assert code_in(mail) == (message.code if isinstance(message, CodeMessage) else None), locale
    secret = message.highlight
    assert HtmlPage(mail).emphasised == [secret] * bool(secret)
    assert text_of(mail).count(secret) == 1 or not secret


@pytest.mark.parametrize("locale", ACCOUNT)
def test_samples_of_a_kind_differ(locale: str) -> None:
    """What a mail may say besides is said in different words."""
    for kind in KINDS.values():
        texts = [text_of(arrived(sample)) for sample in samples(kind, locale=locale)]
        assert len(set(texts)) == len(texts)


def test_unknown_change_is_told_in_general() -> None:
    """A change that a later release knows is told as one of the second factor."""
    unknown = Sample("", MfaChanged("TELEPATHY"), Recipient(to=RECIPIENT, username="ada"))
    assert text_of(arrived(unknown)) == text_of(arrived(next(samples(MfaChanged))))


def test_default_words_are_translated() -> None:
    """The default subject and text of codes are in the reader's language."""
    expected = {
        "": ("Your verification code", "Your verification code is 481516"),
        "en-GB": ("Your verification code", "Your verification code is 481516"),
        "de-AT": ("Ihr Bestätigungscode", "Ihr Bestätigungscode lautet 481516"),
        "fr_CA": ("Votre code de vérification", "Votre code de vérification est 481516"),
    }
    for locale, (subject, line) in expected.items():
        mail = code_mail(locale)
        assert (mail["Subject"], text_of(mail).splitlines()[0]) == (subject, line)


def test_defaults_spelled_out_are_still_translated() -> None:
    """A settings file that repeats the defaults, as `authsvc init` writes them, changes nothing."""
    fields = MailSettings.model_fields
    spelled_out = {name: str(fields[name].default) for name in ("code_subject", "code_message")}
    assert code_mail("de", **spelled_out)["Subject"] == "Ihr Bestätigungscode"
    assert text_of(code_mail("de", **spelled_out)) == text_of(code_mail("de"))


@pytest.mark.parametrize("kind", CODE_MESSAGES)
@pytest.mark.parametrize("locale", ACCOUNT)
def test_words_of_the_settings_are_for_every_language(kind: type[Message], locale: str) -> None:
    """A subject or text of the operator's stands in every language, each without the other."""
    sample = next(samples(kind, locale=locale))
    code = sample.message.highlight
    usual = arrived(sample)
    subject = arrived(sample, code_subject="{####}: Tele-Ada")
    assert subject["Subject"] == f"{code}: Tele-Ada"
    assert text_of(subject) == text_of(usual)
    text = arrived(sample, code_message="Tele-Ada {####}")
    assert text["Subject"] == usual["Subject"]
    assert paragraphs_of_text(text) == [f"Tele-Ada {code}", *paragraphs_of_text(usual)[1:]]


@pytest.mark.parametrize("locale", ["en-GB", "eo", "../../../etc/passwd", "x" * 300, "en/../en", "\x00", "é", ""])
def test_language_that_is_not_there_is_the_default(locale: str) -> None:
    """A locale without templates, or that is none, gets English, or what the settings say instead."""
    assert text_of(code_mail(locale)) == text_of(code_mail("en"))
    assert ("lang", "en") in HtmlPage(code_mail(locale)).attributes
    if not locale.startswith("en-"):
        assert text_of(code_mail(locale, default_locale="de-CH")) == text_of(code_mail("de"))
        assert text_of(code_mail(locale, default_locale="eo")) == text_of(code_mail("en"))


@pytest.mark.parametrize(
    ("locale", "tags"),
    [
        ("", []),
        ("de", ["de"]),
        ("pt_BR", ["pt-br", "pt"]),
        ("zh-Hant-TW", ["zh-hant-tw", "zh-hant", "zh"]),
        ("../de", []),
        ("de/..", []),
        ("de\n", []),
        ("de-" * 200 + "de", []),
    ],
)
def test_language_is_looked_for_from_special_to_general(locale: str, tags: list[str]) -> None:
    """A locale is tried with all its subtags, then with fewer; what is none is not looked for."""
    assert tags_of(locale) == tags
