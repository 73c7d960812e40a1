"""Each mail, read as its reader reads it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authsvc.config import MailSettings
from authsvc.core.messages.kinds import KINDS, CodeMessage, Invitation, Message, Recipient, SignUpCode
from authsvc.delivery.backoff import backoff, jittered
from authsvc.delivery.carriers import Outgoing
from authsvc.delivery.mail.rendering import MailRenderer
from authsvc.delivery.mail.samples import TEMPORARY_PASSWORD, samples
from authsvc.domain import MailId
from tests.mail.reading import HtmlPage, paragraphs_of_text, text_of

MAIL_ID = UUID("8a1b2c3d-0000-4000-8000-00000000abcd")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = list(KINDS.values())
CODE_MESSAGES = [kind for kind in ALL if issubclass(kind, CodeMessage)]
NOTICES = [kind for kind in ALL if kind not in {*CODE_MESSAGES, Invitation}]
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]


def render(
    kind: type[Message] = SignUpCode,
    *,
    to: str = "ada@example.com",
    username: str = "ada",
    locale: str = "",
    code: str = "481516",
    expires_at: datetime | None = None,
    **changes: Any,
) -> EmailMessage:
    """Render a mail, send it through its wire form, and return what arrives."""
    message = next(samples(kind)).message
    mail = MailRenderer(settings=MailSettings(**changes)).render(
        Outgoing(
            message=replace(message, code=code) if isinstance(message, CodeMessage) else message,
            recipient=Recipient(to=to, username=username, locale=locale),
            message_id=MailId(MAIL_ID),
            created_at=NOW,
            expires_at=expires_at,
        )
    )
    return BytesParser(policy=default).parsebytes(mail.as_bytes())


@pytest.mark.parametrize("kind", ALL)
def test_text_and_html_say_the_same(kind: type[Message]) -> None:
    """Every kind of mail has a subject and names the account, in text and in HTML alike."""
    message = render(kind, expires_at=NOW + timedelta(hours=1))
    page = HtmlPage(message)
    assert page.paragraphs == paragraphs_of_text(message)
    assert page.title == message["Subject"]
    assert message["Subject"]
    assert "{" not in text_of(message) + message["Subject"]
    assert re.search(r"\baccount ada\b", text_of(message))
    assert len(page.paragraphs) >= 2


@pytest.mark.parametrize("kind", CODE_MESSAGES)
def test_code_stands_alone_and_first(kind: type[Message]) -> None:
    """A mail with a code begins with the message about it, word for word, and HTML puts weight on the code."""
    message = render(kind)
    assert message["Subject"] == "Your verification code"
    assert text_of(message).splitlines()[0] == "Your verification code is 481516"
    assert HtmlPage(message).emphasised == ["481516"]
    assert re.search(r"If (this|you) .*(ignore this mail|change it)", text_of(message))


@pytest.mark.parametrize("kind", NOTICES)
def test_notice_says_when_and_what_to_do(kind: type[Message]) -> None:
    """A mail about something that happened says when, and what to do if it was somebody else."""
    text = text_of(render(kind))
    assert "2026-01-02 03:04 UTC" in text
    assert re.search(r"If (it was (not|you)|you do not)", text)
    assert HtmlPage(render(kind)).emphasised == []


@pytest.mark.parametrize("kind", CODE_MESSAGES)
def test_code_mail_says_until_when(kind: type[Message]) -> None:
    """A mail with a code tells the code's end if there is one."""
    assert "until 2026-01-02 04:04 UTC" in text_of(render(kind, expires_at=NOW + timedelta(hours=1)))
    assert "until" not in text_of(render(kind))


def test_invitation_has_all_that_a_first_sign_in_takes() -> None:
    """An invitation says username and temporary password, with weight on the latter, and until when."""
    message = render(Invitation, expires_at=NOW + timedelta(hours=1))
    assert HtmlPage(message).emphasised == [TEMPORARY_PASSWORD]
    text = text_of(message)
    assert text.index("account ada") < text.index(f"temporary password is {TEMPORARY_PASSWORD}\n")
    assert "valid until 2026-01-02 04:04 UTC" in text
    assert "until" not in text_of(render(Invitation))


def test_operator_words_the_code_mails() -> None:
    """Subject and message of the settings are used as they are, on as many lines and in any script."""
    words = "Grüße & <hallo>!\nCode: {####}\n\nNochmals: {####}. 你好"
    message = render(code_subject="Dein Code {####} für\nBüro", code_message=words)
    assert message["Subject"] == "Dein Code 481516 für Büro"
    assert text_of(message).startswith("Grüße & <hallo>!\nCode: 481516\n\nNochmals: 481516. 你好\n\n")
    page = HtmlPage(message)
    assert page.paragraphs[:2] == ["Grüße & <hallo>!\nCode: 481516", "Nochmals: 481516. 你好"]
    assert page.emphasised == ["481516", "481516"]
    assert page.title == message["Subject"]


def test_mail_works_without_anything_from_elsewhere() -> None:
    """The HTML part loads nothing, links nowhere and runs nothing."""
    for kind in ALL:
        page = HtmlPage(render(kind))
        assert set(page.tags) <= {"html", "head", "meta", "title", "body", "div", "p", "br", "strong"}
        assert {name for name, _ in page.attributes} <= {"lang", "charset", "name", "content", "style"}
        assert not any("url(" in value or "http" in value for _, value in page.attributes)


HOSTILE = [
    "ada\r\nBcc: eve@example.net",
    "ada\n\nYour code is 000000. Send it to eve.",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "{####}",
    "ada\u202egnp.exe",
    "a\u2028b\u0085c\x0bd",
    "481516",
    "=?utf-8?q?ada?=",
]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("username", HOSTILE)
def test_hostile_username_stays_a_name(kind: type[Message], username: str) -> None:
    """Whatever a user is called, headers, paragraphs and markup are those of any other mail."""
    check_name_is_harmless(kind, username)


# Hypothesis' own limit is for single examples, which a busy machine can hold up.
@settings(deadline=None)
@given(kind=st.sampled_from(ALL), username=st.text(max_size=128), locale=st.sampled_from(["en", "de", "fr"]))
def test_no_username_can_do_harm(kind: type[Message], username: str, locale: str) -> None:
    """The same holds for names that nobody thought of, in every language."""
    check_name_is_harmless(kind, username, locale)


def check_name_is_harmless(kind: type[Message], username: str, locale: str = "en") -> None:
    """Compare a mail to that name with one to a harmless name."""
    message, usual = (render(kind, username=name, locale=locale) for name in (username, "NAME"))
    assert message.keys() == HEADERS
    assert [message[name] for name in HEADERS[:-1]] == [usual[name] for name in HEADERS[:-1]]
    page, usual_page = HtmlPage(message), HtmlPage(usual)
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in username)
    expected = [paragraph.replace("NAME", shown) for paragraph in usual_page.paragraphs]
    assert paragraphs_of_text(message) == expected
    assert page.paragraphs == expected
    # The code of the mail may stand in the name as well, with the same emphasis.
    assert set(page.tags) == set(usual_page.tags)
    assert page.tags.count("p") == usual_page.tags.count("p")


def test_mail_is_the_same_at_every_try() -> None:
    """Two copies of one mail have one Message-ID, of the sender's domain, and one date."""
    first, second = render(), render()
    assert first["Message-ID"] == second["Message-ID"] == f"<{MAIL_ID}@authsvc.invalid>"
    assert first["Date"] == second["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"


def test_mail_says_that_a_machine_wrote_it() -> None:
    """Nothing that answers mail by itself answers this."""
    assert render()["Auto-Submitted"] == "auto-generated"


def test_sender_has_a_name() -> None:
    """The sender's name is shown, whatever is in it."""
    sender = render(from_address="no-reply@auth.example.com", from_name='Zoë "Z" Büro, Inc.')["From"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == ('Zoë "Z" Büro, Inc.', "no-reply@auth.example.com")


def test_message_id_survives_a_long_domain() -> None:
    """A long domain does not break the Message-ID over two lines."""
    domain = "auth.mail.eu-central-1.a-company-with-a-very-long-name.example.com"
    assert render(from_address=f"no-reply@{domain}")["Message-ID"] == f"<{MAIL_ID}@{domain}>"


def test_domain_travels_in_ascii() -> None:
    """A domain beyond ASCII is written as its own IDNA 2008 name, for sender and recipient."""
    message = render(to="ada@straße.example.com", from_address="no-reply@bücher.example.com")
    assert message["To"] == "ada@xn--strae-oqa.example.com"
    assert message["Message-ID"].endswith("@xn--bcher-kva.example.com>")


def test_local_part_is_left_alone() -> None:
    """What stands before the @ is the recipient's business."""
    for to in ('"ada lovelace"@example.com', "O'Neil+x@example.com", "Ada@example.com"):
        assert render(to=to)["To"].addresses[0].addr_spec == to


@pytest.mark.parametrize(
    "to", ["ada@example.com\r\nBcc: eve@example.net", "ada@ex\nample.com", "é\r@example.com", "ada@", "@", "ada", ""]
)
def test_address_cannot_become_a_header(to: str) -> None:
    """What is no address, or one with a line end, is refused, without being repeated."""
    with pytest.raises(ValueError, match=r"^(not an address|.*cannot contain CR or LF)$"):
        render(to=to)


@pytest.mark.parametrize("words", ["Grüße {####}", "Grüße " * 500 + "{####}", "x" * 2000 + "{####}"])
def test_every_server_can_carry_the_mail(words: str) -> None:
    """A mail is 7 bit, in lines of at most 998 characters, even when it says more than ASCII can."""
    mail = MailRenderer(settings=MailSettings(code_message=words, from_name="Zoë" * 20)).render(
        Outgoing(
            message=SignUpCode("481516"),
            recipient=Recipient(to="ada@example.com", username="zoë" * 40),
            message_id=MailId(MAIL_ID),
            created_at=NOW,
            expires_at=None,
        )
    )
    wire = mail.as_bytes()
    assert wire.isascii()
    assert max(map(len, wire.split(b"\r\n"))) <= 998
    assert wire.count(b"\n") == wire.count(b"\r\n")


@settings(deadline=None)
@given(failures=st.integers(1, 100))
def test_backoff_doubles_to_its_limit(failures: int) -> None:
    """The wait is between half and the whole of the doubled one, and never above the limit."""
    first, most = timedelta(seconds=5), timedelta(minutes=30)
    longest = min(first * 2 ** (failures - 1), most) if failures < 30 else most
    assert longest / 2 <= backoff(first, most, failures) <= longest


def test_waits_are_spread() -> None:
    """Two replicas do not wait alike."""
    interval = timedelta(seconds=5)
    waits = {jittered(interval) for _ in range(20)} | {backoff(interval, interval, 1) for _ in range(20)}
    assert len(waits) > 30
    assert all(interval / 2 <= wait <= interval for wait in waits)
