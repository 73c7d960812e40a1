"""A mailbox over HTTP: read by processes that share no folder with it, like end-to-end tests, and sent SMS to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6
from socketserver import ThreadingTCPServer
from urllib.parse import parse_qs, urlsplit

from authsvc.dev.mailbox import CaughtMail, Mailbox, code_in, header_in, text_in
from authsvc.dev.sms import SmsRefused

_CLIENT_SECONDS = 10.0
_POLL_SECONDS = 0.05
_SMS_BYTES = 64 * 1024

# Takes timestamp, signature and body of a POST to the webhook; raises SmsRefused.
TakeSms = Callable[[str, str, bytes], None]


class MailboxServer(ThreadingTCPServer):
    """Answer `GET /messages?to=ADDRESS&after=NUMBER` from threads of its own; both parameters are optional.

    The answer is a JSON array, oldest first, of objects with number, medium (EMAIL or SMS), recipient, subject, text,
    html, code, message_id and received_at (RFC 3339). What is posted to `/sms` goes to `take_sms`. Not an HTTPServer:
    that looks up the host's name first, which takes long where there is no DNS.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, mailbox: Mailbox, host: str, port: int, take_sms: TakeSms) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        self.mailbox = mailbox
        self.take_sms = take_sms
        super().__init__((host, port), _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name="mailbox-http", daemon=True
        )

    @property
    def port(self) -> int:
        """Return the port in use, chosen by the system if 0 was asked for."""
        port: int = self.server_address[1]
        return port

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port; blocks for a moment."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: MailboxServer
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer the one question there is."""
        url = urlsplit(self.path)
        if url.path != "/messages":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        query = parse_qs(url.query)
        recipient = query.get("to", [None])[0]
        try:
            after = int(query.get("after", ["0"])[0])
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "after is not a number")
            return
        mails = self.server.mailbox.read(recipient, after=after)
        body = json.dumps([_as_json(mail) for mail in mails]).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Take an SMS."""
        if urlsplit(self.path).path != "/sms":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _SMS_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        timestamp, signature = (self.headers.get(f"authsvc-{name}", "") for name in ("timestamp", "signature"))
        try:
            self.server.take_sms(timestamp, signature, self.rfile.read(int(length)))
        except SmsRefused as refused:
            self.send_error(refused.status, str(refused))
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Keep quiet: the console belongs to the mails."""


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
