"""The catcher as the webhook of SMS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from authsvc.crypto.webhook_signature import sign
from authsvc.dev import mailbox_http
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import code_in
from tests.dev.mails import mail, send

KEYS = ("the-new-key-of-the-catcher-in-tests", "the-old-key-of-the-catcher-in-tests")
BODY = json.dumps(
    {"id": "0b8a6b80", "to": "+4915112345678", "text": "Ihr Bestätigungscode lautet 481516"}, ensure_ascii=False
).encode()


@pytest.fixture
async def catcher(tmp_path: Path, echoed: list[str]) -> AsyncIterator[MailCatcher]:
    """Yield a running catcher that knows keys."""
    async with MailCatcher(folder=tmp_path / "mail", echo=echoed.append, sms_keys=KEYS) as catcher:
        yield catcher


async def post(catcher: MailCatcher, body: bytes = BODY, *, key: str = KEYS[0], signed: bytes | None = None) -> int:
    """Post to the webhook, signed under a key; return the status."""
    headers = {
        "authsvc-timestamp": "1894708807",
        "authsvc-signature": sign([key], "1894708807", body if signed is None else signed),
    }
    return await asyncio.to_thread(_post, catcher, body, headers)


async def post_half(catcher: MailCatcher) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Begin to post an SMS, and leave off."""
    reader, writer = await asyncio.open_connection(catcher.host, catcher.http_port)
    writer.write(b"POST /sms HTTP/1.1\r\nHost: catcher\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    return reader, writer


def _post(catcher: MailCatcher, body: bytes, headers: dict[str, str]) -> int:
    connection = HTTPConnection(catcher.host, catcher.http_port, timeout=5)
    try:
        connection.request("POST", "/sms", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("key", KEYS)
async def test_sms_is_kept_and_echoed(catcher: MailCatcher, echoed: list[str], tmp_path: Path, key: str) -> None:
    """An SMS signed under any of the keys becomes a file among the mails, and a line with its number and code."""
    await send(catcher, mail())
    assert await post(catcher, key=key) == 204
    message = await catcher.wait_for("+4915112345678", timeout=1)
    assert code_in(message) == "481516"
    assert message["Message-ID"] == "<0b8a6b80>"
    assert sorted(path.name for path in (tmp_path / "mail").iterdir()) == [
        "000001-jane@example.com.eml",
        "000002-+4915112345678.sms",
    ]
    assert echoed[1:] == ["SMS 000002 to +4915112345678: Ihr Bestätigungscode lautet 481516 [code 481516]"]


async def test_sms_is_shown_by_http(catcher: MailCatcher) -> None:
    """GET /messages shows SMS beside mails, and says which is which."""
    await send(catcher, mail())
    await post(catcher)

    def read() -> list[dict[str, object]]:
        connection = HTTPConnection(catcher.host, catcher.http_port, timeout=5)
        connection.request("GET", "/messages")
        found: list[dict[str, object]] = json.loads(connection.getresponse().read())
        connection.close()
        return found

    first, second = await asyncio.to_thread(read)
    assert (first["number"], first["medium"]) == (1, "EMAIL")
    second.pop("received_at")
    assert second == {
        "number": 2,
        "medium": "SMS",
        "recipient": "+4915112345678",
        "subject": "",
        "text": "Ihr Bestätigungscode lautet 481516\n",
        "html": None,
        "code": "481516",
        "message_id": "<0b8a6b80>",
    }


async def test_strangers_sms_is_refused(catcher: MailCatcher, echoed: list[str]) -> None:
    """What is signed under another key, for another body, or not at all is refused, and not kept."""
    assert await post(catcher, key="a-key-that-nobody-gave-to-the-catcher") == 401
    assert await post(catcher, signed=BODY + b" ") == 401
    assert await asyncio.to_thread(_post, catcher, BODY, {}) == 401
    assert catcher.messages() == []
    assert echoed == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"id": "1", "to": "+49"}',
        b'{"id": "1", "to": "+49\\nBcc: x", "text": "x"}',
    ],
)
async def test_signed_nonsense_is_refused(catcher: MailCatcher, body: bytes) -> None:
    """What is signed but no SMS is refused for good."""
    assert await post(catcher, body) == 400
    assert catcher.messages() == []


async def test_catcher_without_a_key_takes_no_sms(tmp_path: Path) -> None:
    """A catcher that was given no key can't tell whose SMS it gets, and says so."""
    async with MailCatcher(folder=tmp_path / "mail") as catcher:
        assert await post(catcher) == 503
        assert catcher.messages() == []


async def test_too_large_sms_is_refused(catcher: MailCatcher) -> None:
    """The limit is 64 KiB: what is as long is read, and is no SMS here; what is longer is not."""
    assert await post(catcher, b" " * 65_536) == 400
    assert await post(catcher, b" " * 65_537) == 413


async def test_sms_that_comes_too_slowly_is_given_up(catcher: MailCatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins to post and leaves off is answered, and let go."""
    monkeypatch.setattr(mailbox_http, "_CLIENT_SECONDS", 0.05)
    reader, writer = await post_half(catcher)
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_stop_drops_open_connections(catcher: MailCatcher) -> None:
    """Neither who has posted half an SMS nor who keeps a connection open keeps the catcher from stopping."""
    idle, idle_writer = await asyncio.open_connection(catcher.host, catcher.http_port)
    half, half_writer = await post_half(catcher)
    await asyncio.wait_for(catcher.stop(), 5)
    assert await asyncio.wait_for(idle.read(), 5) == b""
    await asyncio.wait_for(half.read(), 5)
    idle_writer.close()
    half_writer.close()
    assert catcher.messages() == []
