"""`authsvc mail`: what the mails say on files, and one of them through the SMTP server of the settings."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

import pytest

from authsvc.core.messages.kinds import KINDS as MESSAGES
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import code_in
from tests.cli.command import authsvc
from tests.mail.reading import HtmlPage, paragraphs_of_text, text_of
from tests.mail.smtp_server import SmtpServer

KINDS = {kind.lower() for kind in MESSAGES}


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """Run a server that takes mail in clear."""
    async with SmtpServer() as server:
        yield server


def smtp(port: int, **changes: str) -> dict[str, str]:
    """Return settings that send to a port of this machine."""
    settings = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(port), "SMTP_TLS": "none", **changes}
    return {f"AUTHSVC_MAIL_{name}": value for name, value in settings.items()}


def read(path: Path) -> EmailMessage:
    """Read a mail from a file."""
    return BytesParser(policy=default).parsebytes(path.read_bytes())


def test_preview_writes_every_mail(tmp_path: Path) -> None:
    """Each kind is there in each language, three times alike, and the index leads to all of them."""
    done = authsvc("mail", "preview", str(tmp_path / "new/folder"))
    folder = tmp_path / "new/folder"
    assert (done.returncode, done.stderr) == (0, "")
    files = sorted(folder.glob("*/*.eml"))
    assert done.stdout == f"{len(files)} mails; begin at {folder / 'index.html'}\n"
    index = (folder / "index.html").read_text()
    for locale in ("de", "en", "fr"):
        assert {path.stem.partition("-")[0] for path in files if path.parent.name == locale} == KINDS
    for path in files:
        mail = read(path)
        text, html = (path.with_suffix(suffix).read_text() for suffix in (".txt", ".html"))
        assert text == f"{mail['Subject']}\n\n{text_of(mail)}\n"
        assert html.strip() == text_of(mail, "html")
        assert HtmlPage(mail).paragraphs == paragraphs_of_text(mail)
        for suffix in (".txt", ".html", ".eml"):
            assert f'href="{path.parent.name}/{path.stem}{suffix}"' in index
    assert {path.name for path in folder.iterdir()} == {"de", "en", "fr", "index.html"}


def test_preview_of_one_mail_with_own_templates(tmp_path: Path) -> None:
    """A locale and a kind can be chosen; what is shown is what the settings and the own templates make."""
    own = tmp_path / "templates/de/password_changed.txt"
    own.parent.mkdir(parents=True)
    own.write_text("Neu <b>\n\n{{ username }}\n")
    settings = {"AUTHSVC_MAIL_TEMPLATES_FOLDER": str(tmp_path / "templates"), "AUTHSVC_MAIL_FROM_NAME": "Shop"}
    options = ["--locale", "de-AT", "--locale", "pt_BR", "--kind", "password_changed"]
    done = authsvc("mail", "preview", *options, str(tmp_path / "out"), settings=settings)
    assert done.stdout.startswith("2 mails; ")
    assert (tmp_path / "out/de-AT/password_changed.txt").read_text() == "Neu <b>\n\nada\n"
    assert "Your password was changed" in (tmp_path / "out/pt_BR/password_changed.txt").read_text()
    assert read(tmp_path / "out/de-AT/password_changed.eml")["From"].addresses[0].display_name == "Shop"
    assert "Neu &lt;b&gt;" in (tmp_path / "out/index.html").read_text()
    assert len(list((tmp_path / "out").rglob("*"))) == 2 * 4 + 1


def test_preview_again_changes_nothing(tmp_path: Path) -> None:
    """A second preview writes the same texts over the first."""
    for _ in range(2):
        assert authsvc("mail", "preview", "--locale", "fr", str(tmp_path)).returncode == 0
        texts = {path: path.read_text() for path in tmp_path.rglob("*.txt")}
    assert texts == {path: path.read_text() for path in tmp_path.rglob("*.txt")}


@pytest.mark.parametrize("locale", ["../..", "/etc", "de/..", "d", "-"])
def test_preview_stays_in_its_folder(locale: str, tmp_path: Path) -> None:
    """A locale that is no language tag, and might name another folder, is refused."""
    done = authsvc("mail", "preview", "--locale", locale, str(tmp_path / "out"))
    assert done.returncode == 2
    assert "is no language tag" in done.stderr
    assert not list(tmp_path.iterdir())


def test_preview_that_cannot_write_fails_with_words(tmp_path: Path) -> None:
    """Where no folder can be made, the command says so."""
    (tmp_path / "file").write_text("")
    done = authsvc("mail", "preview", str(tmp_path / "file/out"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path / 'file'}")
    assert done.stderr.endswith(": Not a directory\n")


@pytest.mark.parametrize("command", [["serve"], ["mail", "preview", "out"], ["mail", "send-test", "ada@example.com"]])
def test_wrong_template_stops_the_start(command: list[str], tmp_path: Path) -> None:
    """A server with a wrong template does not start, nor do these commands: a line each says which file, and why."""
    folder = tmp_path / "templates"
    (folder / "en").mkdir(parents=True)
    (folder / "en/sign_up_code.txt").write_text("Hello\n\nNo code here\n")
    (folder / "en/mfa_changed.txt").write_text("Hello\n\n{{ user }}\n")
    settings = {
        **smtp(1),
        "AUTHSVC_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "AUTHSVC_KEYS_MASTER_FILE": str(tmp_path / "key"),
        "AUTHSVC_MAIL_TEMPLATES_FOLDER": str(folder),
    }
    authsvc("keys", "generate", "--file", str(tmp_path / "key"))
    done = authsvc(*command, settings=settings, folder=tmp_path)
    prefix = f"Error: AUTHSVC_MAIL_TEMPLATES_FOLDER: {folder}"
    assert sorted(done.stderr.splitlines()) == [
        f"{prefix}/en/mfa_changed.txt: line 3: 'user' is undefined",
        f"{prefix}/en/sign_up_code.txt: does not show {{{{ code }}}}",
    ]
    assert done.returncode == 2


def test_absent_folder_stops_the_start(tmp_path: Path) -> None:
    """A folder that is not there is told, with the setting that names it."""
    done = authsvc("mail", "preview", "out", settings={"AUTHSVC_MAIL_TEMPLATES_FOLDER": "absent"}, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == ("Error: AUTHSVC_MAIL_TEMPLATES_FOLDER: absent: cannot be read: No such file or directory\n")


async def test_test_mail_arrives(tmp_path: Path) -> None:
    """A test mail goes out at once, in the kind and language asked for, and the server's answer is printed."""
    async with MailCatcher(folder=tmp_path) as catcher:
        done = await to_thread(authsvc, "mail", "send-test", "Ada@example.com", settings=smtp(catcher.port))
        assert done.stdout == f"127.0.0.1:{catcher.port} took the mail to Ada@example.com: OK\n"
        assert (done.returncode, done.stderr) == (0, "")
        arguments = ["mail", "send-test", "--kind", "invitation", "--locale", "de-AT", "bob@example.com"]
        await to_thread(authsvc, *arguments, settings=smtp(catcher.port))
        code, invitation = catcher.messages()
    assert (code["To"], code_in(code)) == ("Ada@example.com", "481516")
    assert (invitation["To"], invitation["Subject"]) == ("bob@example.com", "Ihr neues Konto")
    assert code["Message-ID"] != invitation["Message-ID"]


async def test_refused_test_mail_is_told_with_the_answer(server: SmtpServer) -> None:
    """A refusal is told in the words of the server as well, which the logs of `serve` never have."""
    server.replies["RCPT"] = "550 5.7.1 <ada@example.com> \x1b[31mnot here"
    done = await to_thread(authsvc, "mail", "send-test", "ada@example.com", settings=smtp(server.port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: 127.0.0.1:{server.port}: recipient refused: 550 5.7.1\n"
        "The server said: 550 5.7.1 <ada@example.com> \N{REPLACEMENT CHARACTER}[31mnot here\n"
    )


def test_unreachable_server_is_told() -> None:
    """Without a server there is no traceback, but words."""
    done = authsvc("mail", "send-test", "ada@example.com", settings=smtp(1))
    assert (done.returncode, done.stderr) == (1, "Error: 127.0.0.1:1: no connection: Connection refused\n")


async def test_silent_server_is_told(server: SmtpServer) -> None:
    """A server that does not answer is given up after the time that the setting allows."""
    server.hangs.add("RCPT")
    settings = smtp(server.port, SEND_TIMEOUT_SECONDS="5")
    done = await to_thread(authsvc, "mail", "send-test", "ada@example.com", settings=settings)
    assert (done.returncode, done.stderr) == (1, f"Error: 127.0.0.1:{server.port}: timed out after 5 s\n")


@pytest.mark.parametrize("address", ["ada", "ada@", "@", "ada@example.com\nBcc: eve@example.com"])
def test_test_mail_needs_an_address(address: str) -> None:
    """What is no address is wrong usage."""
    done = authsvc("mail", "send-test", address, settings=smtp(1))
    assert done.returncode == 2
    assert re.search(r"is no address that mail can be sent to", done.stderr)


def test_test_mail_needs_a_server() -> None:
    """Without an SMTP server in the settings the one that is missing is named."""
    done = authsvc("mail", "send-test", "ada@example.com")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: AUTHSVC_MAIL_SMTP_HOST: is missing")
