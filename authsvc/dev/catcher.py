"""A mail server and SMS webhook for development: it accepts every message, delivers none, and shows what it caught.

No authentication, no encryption: whoever reaches it may read everything, so it listens on loopback unless
told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session

from authsvc.dev.mailbox import CaughtMail, Mailbox, code_in, header_in, legible, text_in
from authsvc.dev.mailbox_http import MailboxServer
from authsvc.dev.sms import PostedSms, SmsRefused, read_sms
from authsvc.domain import Medium

_SIZE_LIMIT = 1024 * 1024


class MailCatcher:
    """Accept mail by SMTP in the running event loop, keep it in `folder`, and serve it by HTTP for reading.

    SMS are accepted by HTTP too, at `sms_url`, if they are signed under one of `sms_keys`; from here on they are mails
    to a number.

    With port 0 the system chooses a free one at the first `start`; `port` and `http_port` tell which, and
    stay the same when the catcher is stopped and started again. `echo` gets one line per mail: number,
    recipient, subject, code.
    """

    def __init__(
        self,
        *,
        folder: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        http_port: int = 0,
        echo: Callable[[str], None] = lambda line: None,
        sms_keys: Sequence[str] = (),
    ) -> None:
        self.host = host
        self.port = port
        self.http_port = http_port
        self._mailbox = Mailbox(folder=folder)
        self._sms_keys = sms_keys
        self._echo = echo
        self._arrival = asyncio.Condition()
        self._smtp: asyncio.Server | None = None
        self._http: MailboxServer | None = None
        # Only to close connections still open at the end: asyncio.Server does so from Python 3.13 on.
        self._conversations: weakref.WeakSet[SMTP] = weakref.WeakSet()

    @property
    def sms_url(self) -> str:
        """Return where SMS are accepted."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.http_port}/sms"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on both ports.

        Raises:
            OSError: the folder cannot be made, a port is taken, or the host is not of this machine.
        """
        self._mailbox.create()
        # aiosmtpd tells every command at INFO.
        logging.getLogger("mail.log").setLevel(logging.WARNING)
        self._smtp = await asyncio.get_running_loop().create_server(self._converse, self.host, self.port)
        self.port = self._smtp.sockets[0].getsockname()[1]
        self._http = MailboxServer(mailbox=self._mailbox, take_sms=self._take_sms)
        try:
            self.http_port = await self._http.start(self.host, self.http_port)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop listening and drop open connections; the mails stay. Do nothing if stopped."""
        if self._smtp is not None:
            self._smtp.close()
            for conversation in self._conversations:
                if conversation.transport is not None:
                    conversation.transport.close()
            await self._smtp.wait_closed()
            self._smtp = None
        if self._http is not None:
            await self._http.stop()
            self._http = None

    def messages(self) -> list[EmailMessage]:
        """Return every mail in the folder, oldest first; `Delivered-To` names the recipient."""
        return [mail.message for mail in self._mailbox.read()]

    def last_number(self) -> int:
        """Return the newest mail's number: as `after` it makes `wait_for` wait for a mail yet to come."""
        return self._mailbox.last_number()

    async def wait_for(self, recipient: str, *, after: int = 0, timeout: float = 10.0) -> EmailMessage:
        """Return the oldest mail to `recipient` numbered above `after`; wait up to `timeout` seconds for it.

        Raises:
            TimeoutError: none came.
        """
        try:
            async with asyncio.timeout(timeout), self._arrival:
                while not (mails := self._mailbox.read(recipient, after=after)):
                    await self._arrival.wait()
        except TimeoutError:
            others = sorted({mail.recipient for mail in self._mailbox.read(after=after)})
            raise TimeoutError(f"no mail to {recipient} within {timeout:g} s; there is mail to {others}") from None
        return mails[0].message

    async def _take_sms(self, posted: PostedSms) -> None:
        number, content = read_sms(self._sms_keys, posted)
        try:
            caught = self._mailbox.keep(number, content, medium=Medium.SMS)
        except OSError as error:
            raise SmsRefused(f"cannot keep the SMS: {legible(str(error))}", status=503) from error
        await self._announce([caught])

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's
        """Keep the mail before saying to the sender that we have it."""
        content = envelope.original_content or b""
        try:
            mails = [self._mailbox.keep(recipient, content) for recipient in envelope.rcpt_tos]
        except OSError as error:
            # 4xx: the sender keeps the mail and tries again.
            reply = f"451 cannot keep the mail: {legible(str(error))}"
            self._echo(reply)
            return reply
        await self._announce(mails)
        return "250 OK"

    async def _announce(self, mails: Sequence[CaughtMail]) -> None:
        for mail in mails:
            self._echo(_summary(mail))
        async with self._arrival:
            self._arrival.notify_all()

    def _converse(self) -> SMTP:
        conversation = SMTP(
            self,  # which finds its hooks by their names
            data_size_limit=_SIZE_LIMIT,
            enable_SMTPUTF8=True,
            hostname="localhost",  # else looked up in the DNS, with every connection
            ident="authsvc mail catcher",
            loop=asyncio.get_running_loop(),
        )
        self._conversations.add(conversation)
        return conversation


def _summary(mail: CaughtMail) -> str:
    code = code_in(mail.message)
    is_sms = mail.medium is Medium.SMS
    text = (text_in(mail.message) or "").strip() if is_sms else header_in(mail.message, "Subject")
    what = f"{'SMS' if is_sms else 'mail'} {mail.number:06d} to {mail.recipient}: {legible(text) or '(no subject)'}"
    return what + (f" [code {code}]" if code else "")
