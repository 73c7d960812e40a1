import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest

from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import Mailbox, code_in
from tests.dev.mails import TEXT, mail, send


async def get(catcher: MailCatcher, target: str, *, method: str = "GET") -> tuple[int, bytes]:
    """Return status and body of an HTTP request to the catcher."""
    reader, writer = await asyncio.open_connection(catcher.host, catcher.http_port)
    writer.write(f"{method} {target} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("123456", "123456"),
        ("code: 1234567.", "1234567"),
        ("12345678\n", "12345678"),
        ("12345", None),
        ("123456789", None),
        ("call 12345, code 654321", "654321"),
        ("", None),
    ],
)
def test_code_is_the_first_run_of_six_to_eight_digits(text: str, code: str | None) -> None:
    """Shorter and longer runs of digits are no codes."""
    assert code_in(mail(text=text)) == code


def test_code_is_looked_for_in_plain_text_only() -> None:
    """A mail without plain text has no code: digits in HTML are mostly colours."""
    message = EmailMessage()
    message.set_content("<p style='color: #123456'></p>", subtype="html")
    assert code_in(message) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b"Message-ID: <\r\nSubject: =?nope?b?/w==?=\r\n\r\nhi",
        b"Content-Type: text/plain; charset=nope\r\n\r\nhi",
        b"Content-Type: text/plain; charset=\x00\r\n\r\nhi",
        b"Content-Type: multipart/alternative\r\n\r\nhi",
        b"Subject: \xff\x1b[2J\r\n\r\n\xff\xfe",
    ],
)
async def test_malformed_mail_is_kept_and_shown(catcher: MailCatcher, echoed: list[str], content: bytes) -> None:
    """What cannot be parsed is caught all the same, and served without its unreadable parts."""
    await send(catcher, content, "jane@example.com")
    assert len(echoed) == 1
    assert echoed[0].isprintable()
    status, body = await get(catcher, "/messages")
    assert status == 200
    assert [found["recipient"] for found in json.loads(body)] == ["jane@example.com"]


async def test_addresses_that_share_a_file_name_are_told_apart(catcher: MailCatcher) -> None:
    """The recipient in full decides, not the file name made of it."""
    await send(catcher, mail("a!b@example.com", "one"))
    await send(catcher, mail("a?b@example.com", "other"))
    assert (await catcher.wait_for("a?b@example.com", timeout=1))["Subject"] == "other"


async def test_another_process_reads_the_mails_over_http(catcher: MailCatcher) -> None:
    """GET /messages tells all that a client needs, by recipient and above a number."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    await send(catcher, mail("a+b@example.com", "ä"))
    await send(catcher, mail("a+b@example.com", "again"))
    await send(catcher, mail("jörg@example.com"))
    status, body = await get(catcher, f"/messages?to={quote('a+b@example.com')}")
    assert status == 200
    first, second = json.loads(body)
    assert before <= datetime.fromisoformat(first.pop("received_at")) <= datetime.now(UTC)
    assert first == {
        "number": 1,
        "medium": "EMAIL",
        "recipient": "a+b@example.com",
        "subject": "ä",
        "text": TEXT,
        "html": f"<p>{TEXT}</p>\n",
        "code": "123456",
        "message_id": "<one@example.com>",
    }
    assert second["subject"] == "again"
    _, body = await get(catcher, f"/messages?to={quote('a+b@example.com')}&after=1")
    assert [found["number"] for found in json.loads(body)] == [2]
    _, body = await get(catcher, f"/messages?to={quote('jörg@example.com')}")
    assert [found["number"] for found in json.loads(body)] == [3]
    _, body = await get(catcher, "/messages")
    assert [found["number"] for found in json.loads(body)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/messages/1", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/messages?after=x", 400),
        ("GET", f"/messages?after={'9' * 5000}", 400),
        ("POST", "/messages", 404),
        ("DELETE", "/messages", 501),
    ],
)
async def test_http_answers_one_question_only(catcher: MailCatcher, method: str, target: str, status: int) -> None:
    """Anything but GET /messages with a number is refused."""
    assert (await get(catcher, target, method=method))[0] == status


async def test_readers_need_no_catcher(catcher: MailCatcher, tmp_path: Path) -> None:
    """Another process that sees the folder reads it alone, and an absent folder is an empty one."""
    await send(catcher, mail())
    (found,) = Mailbox(folder=tmp_path / "mail").read("jane@example.com")
    assert (found.number, code_in(found.message)) == (1, "123456")
    assert Mailbox(folder=tmp_path / "absent").read() == []
    assert Mailbox(folder=tmp_path / "absent").last_number() == 0
    assert not (tmp_path / "absent").exists()
