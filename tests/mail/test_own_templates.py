"""An operator's own templates: what they may be, what they win over, and how a wrong one is told."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from authsvc.config import MailSettings
from authsvc.core.messages.kinds import EmailTaken, Message, MfaChanged, PasswordChanged, SignInCode, SignUpCode
from authsvc.crypto.tokens import new_id
from authsvc.delivery.mail.proofs import proofread
from authsvc.delivery.mail.rendering import MailRenderer
from authsvc.delivery.mail.samples import CREATED_AT, samples
from authsvc.delivery.mail.wording import TemplatesError
from authsvc.domain import MailId
from tests.mail.reading import HtmlPage, paragraphs_of_text, text_of


def folder_with(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files into a folder."""
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return folder


def renderer_with(folder: Path, files: Mapping[str, str], **changes: Any) -> MailRenderer:
    """Return what renders mails with the files as templates."""
    return proofread(MailSettings(templates_folder=folder_with(folder, files), **changes))


def mail_of(renderer: MailRenderer, kind: type[Message], locale: str = "") -> EmailMessage:
    """Return a kind of mail as it arrives."""
    sample = next(samples(kind, locale=locale))
    message = sample.render(renderer, message_id=MailId(new_id()), created_at=CREATED_AT)
    return BytesParser(policy=default).parsebytes(message.as_bytes())


def faults_of(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return the lines that tell what is wrong with the files, the folder left out."""
    with pytest.raises(TemplatesError) as caught:
        renderer_with(folder, files)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_own_template_wins_and_others_stay(tmp_path: Path) -> None:
    """A template of the folder replaces the built-in one of its language and kind, and no other."""
    own = renderer_with(tmp_path, {"de/password_changed.txt": "Neu\n\n{{ username }}, {{ created_at }}\n"})
    usual = MailRenderer(settings=MailSettings())
    changed = mail_of(own, PasswordChanged, "de-AT")
    assert changed["Subject"] == "Neu"
    assert paragraphs_of_text(changed) == HtmlPage(changed).paragraphs == ["ada, 2030-01-15 12:00 UTC"]
    for kind, locale in ((PasswordChanged, "en"), (MfaChanged, "de")):
        assert text_of(mail_of(own, kind, locale)) == text_of(mail_of(usual, kind, locale))


def test_own_language(tmp_path: Path) -> None:
    """A folder named by a language makes it one that mails can be in, with its regions; what it lacks is English."""
    own = renderer_with(
        tmp_path, {"eo/password_changed.txt": "Nova\n\nPasvorto\n", "eo-x-1/mfa_changed.txt": "A\n\nB\n"}
    )
    assert mail_of(own, PasswordChanged, "eo-001")["Subject"] == "Nova"
    assert ("lang", "eo") in HtmlPage(mail_of(own, PasswordChanged, "eo")).attributes
    assert mail_of(own, MfaChanged, "eo-X-1")["Subject"] == "A"
    english = mail_of(own, EmailTaken, "eo")
    assert english["Subject"] == "Somebody tried to use your address"
    assert ("lang", "en") in HtmlPage(english).attributes


def test_own_words_of_codes(tmp_path: Path) -> None:
    """`code.txt` words every code mail of its language, before the settings, which word those of the others."""
    own = renderer_with(
        tmp_path,
        {"de/code.txt": "{####} für Tele-Ada\n\nCode\n{{ code }}\n"},
        code_subject="Tele-Ada",
        code_message="{####}!",
    )
    for kind in (SignUpCode, SignInCode):
        german, french = mail_of(own, kind, "de"), mail_of(own, kind, "fr")
        assert german["Subject"] == "481516 für Tele-Ada"
        assert paragraphs_of_text(german)[0] == "Code\n481516"
        assert "Falls" in text_of(german)
        assert (french["Subject"], paragraphs_of_text(french)[0]) == ("Tele-Ada", "481516!")


def test_placeholder_in_a_template_is_the_code(tmp_path: Path) -> None:
    """{####} in a template is the code, as in the settings, and not the comment that Jinja would see."""
    own = renderer_with(tmp_path, {"en/sign_up_code.txt": "{####}\n\nIt is {####}, {{ code }}.\n"})
    mail = mail_of(own, SignUpCode)
    assert (mail["Subject"], text_of(mail)) == ("481516", "It is 481516, 481516.")
    assert HtmlPage(mail).emphasised == ["481516", "481516"]


def test_own_layout_and_included_files(tmp_path: Path) -> None:
    """`layout.html` is the HTML of every mail, escaped; files that begin with _ can be included."""
    layout = (
        '<html lang="{{ language }}"><title>{{ subject }}</title><body>{% include "_logo.html" %}'
        "{% for each in paragraphs %}<p>{% for line in each %}{{ line | join(highlight) }}{% endfor %}</p>{% endfor %}"
        "</body></html>"
    )
    own = renderer_with(
        tmp_path,
        {
            "layout.html": layout,
            "_logo.html": "<p>Tele-<strong>Ada</strong></p>",
            "en/_end.txt": "Ada & Co. <ada@example.com>",
            "en/mfa_changed.txt": 'Changed\n\n{% include "en/_end.txt" %}\n',
        },
    )
    mail = mail_of(own, MfaChanged)
    assert text_of(mail) == "Ada & Co. <ada@example.com>"
    assert HtmlPage(mail).paragraphs == ["Tele-Ada", "Ada & Co. <ada@example.com>"]
    assert "481516" in text_of(mail_of(own, SignUpCode, "de"), "html")


def test_templates_are_read_at_the_start(tmp_path: Path) -> None:
    """What becomes of the files later does not matter to a server that runs."""
    own = renderer_with(tmp_path, {"en/password_changed.txt": "Old\n\nText\n"})
    (tmp_path / "en/password_changed.txt").write_text("{{ nonsense }}\n\nText\n")
    (tmp_path / "en/email_taken.txt").write_text("New\n\nText\n")
    assert mail_of(own, PasswordChanged)["Subject"] == "Old"
    assert mail_of(own, EmailTaken)["Subject"] != "New"


def test_volume_of_kubernetes(tmp_path: Path) -> None:
    """Folders that are links are read, and what is hidden is not."""
    folder_with(tmp_path, {"..2026_01_02/de/password_changed.txt": "Neu\n\nText\n", ".nonsense": "{{"})
    (tmp_path / "..data").symlink_to("..2026_01_02")
    (tmp_path / "de").symlink_to("..data/de")
    assert mail_of(renderer_with(tmp_path, {}), PasswordChanged, "de")["Subject"] == "Neu"


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("en/mfa_changed.txt", "A\n\n{{ usrname }}\n", "line 3: 'usrname' is undefined"),
        ("en/mfa_changed.txt", "A\n\nB\n{% if %}\n", "line 4: Expected an expression, got 'end of statement block'"),
        ("en/mfa_changed.txt", "A\n\n{% include 'en/_absent.txt' %}\n", "line 3: en/_absent.txt"),
        ("en/mfa_changed.txt", "A\n\n{% if change == 'RESET' %}{{ x }}{% endif %}.\n", "line 3: 'x' is undefined"),
        ("en/mfa_changed.txt", "A\n\n{{ temporary_password }}\n", "line 3: 'temporary_password' is undefined"),
        ("en/mfa_changed.txt", "A\n\n{{ username.__class__.__mro__ }}\n", "line 3: access to attribute '__class__' of"),
        ("en/mfa_changed.txt", "A\n\n{{ 1 / 0 }}\n", "line 3: division by zero"),
        ("en/mfa_changed.txt", "", "has no subject, which is the first line"),
        ("en/mfa_changed.txt", "Subject\n", "has a subject and no text"),
        ("de/sign_up_code.txt", "A {{ code }}\n\nB\n", "does not show {{ code }}"),
        ("eo/sign_up_code.txt", "A\n\n{{ username }}\n", "does not show {{ code }}"),
        ("fr/code.txt", "{{ code }}\n\nA\n", "does not show {{ code }}"),
        ("en/invitation.txt", "A\n\n{{ username }}\n", "does not show {{ temporary_password }}"),
        ("layout.html", "<p>{{ subject }}</p>\n", "does not show {{ highlight }}"),
        ("layout.html", "{{ paragraphs | join | safe }}{{ highlight }}", "shows text without escaping it"),
        ("layout.html", "\n{{ code }}", "line 2: 'code' is undefined"),
        ("en/mfa-changed.txt", "A\n\nB\n", "is no template: the names are account_locked.txt, attribute_code.txt, "),
        ("pt-BR/mfa_changed.txt", "A\n\nB\n", "is in no language: the folder is to be named by a"),
        ("pt_br/mfa_changed.txt", "A\n\nB\n", "is in no language"),
        ("de/at/mfa_changed.txt", "A\n\nB\n", "is in no language"),
        ("mfa_changed.txt", "A\n\nB\n", "is no template: beside layout.html there are only folders"),
    ],
)
def test_wrong_template_is_told(tmp_path: Path, name: str, source: str, fault: str) -> None:
    """A template that fails with anything it may be given, or that nobody would read, is told once, with its line."""
    (line,) = faults_of(tmp_path, {name: source})
    assert line.startswith(f"{name}: {fault}")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Each wrong template has its line, those of included files too."""
    files = {
        "de/email_taken.txt": "A\n\n{{ x }}\n",
        "en/email_taken.txt": 'A\n\n{% include "_end.txt" %}\n',
        "_end.txt": "\n\n{{ y }}",
    }
    assert faults_of(tmp_path, files) == [
        "de/email_taken.txt: line 3: 'x' is undefined",
        "_end.txt: line 3: 'y' is undefined",
    ]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder that is not there, or a file that is no text, is told as such."""
    with pytest.raises(TemplatesError, match=r"absent: cannot be read: No such file or directory$"):
        MailRenderer(settings=MailSettings(templates_folder=tmp_path / "absent"))
    folder_with(tmp_path, {"en/code.txt": ""}).joinpath("en/code.txt").write_bytes(b"\xe9")
    with pytest.raises(TemplatesError, match=r"en/code.txt: is not UTF-8 text$"):
        MailRenderer(settings=MailSettings(templates_folder=tmp_path))
