"""A mailbox over HTTP: read by processes that share no folder with it, like end-to-end tests, and sent SMS to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from authsvc.dev.mailbox import CaughtMail, Mailbox, code_in, header_in, text_in
from authsvc.dev.sms import PostedSms, SmsRefused

_CLIENT_SECONDS = 10.0
# For answers under way at the end. Not 0, which is without end to aiohttp.
_STOP_SECONDS = 1.0
_SMS_BYTES = 64 * 1024

# Keeps what was posted to the webhook; raises SmsRefused.
TakeSms = Callable[[PostedSms], Awaitable[None]]


class MailboxServer:
    """Answer `GET /messages?to=ADDRESS&after=NUMBER` in the running event loop; both parameters are optional.

    The answer is a JSON array, oldest first, of objects with number, medium (EMAIL or SMS), recipient, subject, text,
    html, code, message_id and received_at (RFC 3339). What is posted to `/sms` goes to `take_sms`.
    """

    def __init__(self, *, mailbox: Mailbox, take_sms: TakeSms) -> None:
        self._mailbox = mailbox
        self._take_sms = take_sms
        application = web.Application(client_max_size=_SMS_BYTES)
        application.add_routes(
            [
                web.get("/messages", self._tell, allow_head=False),
                web.post("/sms", self._take),
                web.route("*", "/{path:.*}", _refuse),
            ]
        )
        self._runner = web.AppRunner(
            application,
            access_log=None,  # the console belongs to the mails
            auto_decompress=False,  # signed is what was sent
            keepalive_timeout=_CLIENT_SECONDS,
            shutdown_timeout=_STOP_SECONDS,
        )

    async def start(self, host: str, port: int) -> int:
        """Start answering, and return the port in use, chosen by the system if 0 was asked for.

        Raises:
            OSError: the port is taken, or the host is not of this machine.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return site.port

    async def stop(self) -> None:
        """Stop answering, drop open connections and free the port."""
        await self._runner.cleanup()

    async def _tell(self, request: web.Request) -> web.Response:
        try:
            after = int(request.query.get("after") or "0")
        except ValueError:
            return web.Response(status=400, text="after is not a number")
        # In a thread: a full folder takes long to read, and the event loop may be that of the whole service.
        mails = await asyncio.to_thread(self._mailbox.read, request.query.get("to") or None, after=after)
        return web.json_response([_as_json(mail) for mail in mails])

    async def _take(self, request: web.Request) -> web.Response:
        timestamp, signature = (request.headers.get(f"authsvc-{name}", "") for name in ("timestamp", "signature"))
        try:
            async with asyncio.timeout(_CLIENT_SECONDS):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408)
        try:
            await self._take_sms(PostedSms(timestamp=timestamp, signature=signature, body=body))
        except SmsRefused as refused:
            return web.Response(status=refused.status, text=str(refused))
        return web.Response(status=204)


async def _refuse(request: web.Request) -> web.Response:
    return web.Response(status=404 if request.method in ("GET", "POST") else 501)


def _as_json(mail: CaughtMail) -> dict[str, str | int | None]:
    message = mail.message
    return {
        "number": mail.number,
        "medium": mail.medium,
        "recipient": mail.recipient,
        "subject": header_in(message, "Subject"),
        "text": text_in(message),
        "html": text_in(message, "html"),
        "code": code_in(message),
        "message_id": header_in(message, "Message-ID"),
        "received_at": mail.received_at.isoformat(),
    }
