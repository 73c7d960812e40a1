import asyncio
from pathlib import Path

import aiosmtplib
import psutil
import pytest
import uvloop

from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import code_in
from tests.dev.mails import TEXT, mail, send


async def test_mail_is_kept_as_sent(catcher: MailCatcher, tmp_path: Path) -> None:
    """A mail becomes one file, named by number and recipient, that reads back with all its parts."""
    await send(catcher, mail())
    (path,) = (tmp_path / "mail").iterdir()
    assert path.name == "000001-jane@example.com.eml"
    (message,) = catcher.messages()
    assert message["Delivered-To"] == "jane@example.com"
    assert message["Subject"] == "Your verification code"
    assert message["Message-ID"] == "<one@example.com>"
    html = message.get_body(("html",))
    assert html is not None
    assert html.get_content() == f"<p>{TEXT}</p>\n"
    assert code_in(message) == "123456"


async def test_mail_is_echoed_in_one_line(catcher: MailCatcher, echoed: list[str]) -> None:
    """The line names recipient, subject and code; without a code it ends after the subject."""
    await send(catcher, mail())
    await send(catcher, mail(subject="Your password was changed", text="It was changed."))
    assert echoed == [
        "mail 000001 to jane@example.com: Your verification code [code 123456]",
        "mail 000002 to jane@example.com: Your password was changed",
    ]


async def test_every_recipient_gets_the_mail(catcher: MailCatcher) -> None:
    """Recipients are those of the envelope, one copy each, whatever the header says."""
    await send(catcher, mail(), "a@example.com", "b@example.com")
    assert [message["Delivered-To"] for message in catcher.messages()] == ["a@example.com", "b@example.com"]
    assert [message["To"] for message in catcher.messages()] == ["jane@example.com"] * 2


async def test_utf8_everywhere(catcher: MailCatcher, echoed: list[str]) -> None:
    """Address, subject and text beyond ASCII arrive as they were sent, by SMTPUTF8."""
    await send(catcher, mail("jörg@bücher.example", "Ihr Bestätigungscode", "Schlüssel: 123456 ✓\n"))
    message = await catcher.wait_for("JÖRG@bücher.example", timeout=1)
    assert message["To"] == "jörg@bücher.example"
    assert message["Subject"] == "Ihr Bestätigungscode"
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content() == "Schlüssel: 123456 ✓\n"
    assert echoed == ["mail 000001 to jörg@bücher.example: Ihr Bestätigungscode [code 123456]"]


@pytest.mark.parametrize(
    ("recipient", "shown"),
    [
        ('"../../../escape"@example.com', "../../../escape@example.com"),
        ('"/etc/cron.d/escape"@example.com', "/etc/cron.d/escape@example.com"),
        ('".."@example.com', "..@example.com"),
        ('"\x1b[2J\x00\x07"@example.com', '"?[2J??"@example.com'),
        ("x" * 300 + "@example.com", "x" * 300 + "@example.com"),
        ("-@example.com", "-@example.com"),
        ("ＡＢＣ@example.com", "ＡＢＣ@example.com"),
    ],
)
async def test_hostile_recipient_stays_in_the_folder(
    catcher: MailCatcher, tmp_path: Path, echoed: list[str], recipient: str, shown: str
) -> None:
    """No recipient chooses another folder, an overlong name or what the terminal does, and each mail is found."""
    # By hand: an honest client refuses most of them.
    reader, writer = await asyncio.open_connection(catcher.host, catcher.port)
    dialogue = [
        "EHLO x",
        "MAIL FROM:<a@example.com> SMTPUTF8",
        f"RCPT TO:<{recipient}>",
        "DATA",
        "",
        "hi",
        ".",
        "QUIT",
    ]
    writer.write("".join(f"{line}\r\n" for line in dialogue).encode())
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    assert await catcher.wait_for(shown, timeout=1)
    (path,) = (tmp_path / "mail").iterdir()
    assert path.name.startswith("000001-")
    assert len(path.name) < 130
    assert path.name.isascii()
    assert [path.name for path in tmp_path.iterdir()] == ["mail"]
    assert echoed == [f"mail 000001 to {shown}: (no subject)"]


async def test_too_large_mail_is_refused(catcher: MailCatcher) -> None:
    """Beyond 1 MiB the answer is 552, before the mail is sent if its size is declared; the limit itself is generous."""
    line = b"x" * 98 + b"\r\n"
    await send(catcher, line * 10_000, "jane@example.com")
    with pytest.raises(aiosmtplib.SMTPException) as raised:
        await send(catcher, line * 11_000, "jane@example.com")
    assert "552" in repr(raised.value)
    assert len(catcher.messages()) == 1


async def test_mail_that_cannot_be_kept_is_left_to_the_sender(
    catcher: MailCatcher, tmp_path: Path, echoed: list[str]
) -> None:
    """When the folder fails the answer is 451, which makes senders try again."""
    (tmp_path / "mail").rmdir()
    (tmp_path / "mail").write_text("in the way")
    with pytest.raises(aiosmtplib.SMTPDataError) as raised:
        await send(catcher, mail())
    assert raised.value.code == 451
    assert echoed == [raised.value.message.replace("cannot", "451 cannot", 1)]


async def test_numbering_and_addresses_survive_a_restart(tmp_path: Path) -> None:
    """After stop and start the ports are the same, old mails are there, and numbers go on."""
    catcher = MailCatcher(folder=tmp_path)
    async with catcher:
        await send(catcher, mail())
        ports = (catcher.port, catcher.http_port)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection(catcher.host, catcher.port)
    async with catcher:
        assert (catcher.port, catcher.http_port) == ports
        await send(catcher, mail())
    (tmp_path / "000041-by@hand.example.eml").write_bytes(b"Subject: put here by hand\r\n\r\n")
    async with MailCatcher(folder=tmp_path) as another:
        assert another.last_number() == 41
        await send(another, mail())
        assert len(another.messages()) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000001-jane@example.com.eml",
        "000002-jane@example.com.eml",
        "000041-by@hand.example.eml",
        "000042-jane@example.com.eml",
    ]


async def test_wait_for_returns_the_next_mail_to_the_recipient(catcher: MailCatcher) -> None:
    """Waiting ends with the first mail to that address, in any case, above the given number."""
    waiting = asyncio.ensure_future(catcher.wait_for("Jane@Example.com", timeout=5))
    await send(catcher, mail("ane@example.com", "to another whose address ends alike"))
    await send(catcher, mail("j-jane@example.com", "to another whose address ends alike"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await send(catcher, mail(subject="first"))
    assert (await waiting)["Subject"] == "first"
    seen = catcher.last_number()
    waiting = asyncio.ensure_future(catcher.wait_for("jane@example.com", after=seen, timeout=5))
    await send(catcher, mail(subject="second"))
    assert (await waiting)["Subject"] == "second"
    assert (await catcher.wait_for("jane@example.com"))["Subject"] == "first"


async def test_wait_for_gives_up_and_says_what_there_is(catcher: MailCatcher) -> None:
    """The error of a vain wait names the addresses that did get mail."""
    await send(catcher, mail())
    with pytest.raises(TimeoutError, match=r"no mail to joe@example.com within 0.1 s.*jane@example.com"):
        await catcher.wait_for("joe@example.com", timeout=0.1)


async def test_stop_drops_open_connections(tmp_path: Path) -> None:
    """A client in the middle of a mail doesn't keep the catcher from stopping, and its half mail is not kept."""
    catcher = MailCatcher(folder=tmp_path)
    await catcher.start()
    reader, writer = await asyncio.open_connection(catcher.host, catcher.port)
    writer.write(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhalf a ma")
    await reader.readuntil(b"354 ")
    await asyncio.wait_for(catcher.stop(), 5)
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert list(tmp_path.iterdir()) == []
    await catcher.stop()


async def test_taken_port_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    """If either port is taken the start fails, and the other port is free again."""
    async with MailCatcher(folder=tmp_path / "first") as first:
        second = MailCatcher(folder=tmp_path / "second", http_port=first.http_port)
        with pytest.raises(OSError, match="in use"):
            await second.start()
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection(second.host, second.port)
        with pytest.raises(OSError, match="in use"):
            await MailCatcher(folder=tmp_path / "second", port=first.port).start()


def test_works_on_uvloop(tmp_path: Path) -> None:
    """The catcher runs in the service's own event loop."""

    async def scenario() -> str | None:
        async with MailCatcher(folder=tmp_path) as catcher:
            await send(catcher, mail())
            return code_in(await catcher.wait_for("jane@example.com"))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == "123456"


@pytest.mark.parametrize("host", [None, "0.0.0.0", "::1"], ids=["default", "container", "IPv6"])
async def test_listens_where_it_is_told(tmp_path: Path, host: str | None) -> None:
    """Both ports are on loopback unless told otherwise."""
    catcher = MailCatcher(folder=tmp_path) if host is None else MailCatcher(folder=tmp_path, host=host)
    try:
        await catcher.start()
    except OSError as error:
        if host != "::1":
            raise
        pytest.skip(f"this machine has no IPv6: {error}")
    ports = (catcher.port, catcher.http_port)
    connections = psutil.Process().net_connections()
    await catcher.stop()
    listening = {(end.laddr.ip, end.laddr.port) for end in connections if end.laddr.port in ports}
    assert listening == {(host or "127.0.0.1", port) for port in ports}
