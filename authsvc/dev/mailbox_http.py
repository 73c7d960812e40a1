"""Read a mailbox over HTTP, for processes that share no folder with it: end-to-end tests in containers."""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6
from socketserver import ThreadingTCPServer
from urllib.parse import parse_qs, urlsplit

from authsvc.dev.mailbox import CaughtMail, Mailbox, code_in, header_in, text_in

_CLIENT_SECONDS = 10.0
_POLL_SECONDS = 0.05


class MailboxServer(ThreadingTCPServer):
    """Answer `GET /messages?to=ADDRESS&after=NUMBER` from threads of its own; both parameters are optional.

    The answer is a JSON array, oldest mail first, of objects with number, recipient, subject, text, html,
    code, message_id and received_at (RFC 3339). Not an HTTPServer: that looks up the host's name first, which
    takes long where there is no DNS.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, mailbox: Mailbox, host: str, port: int) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        self.mailbox = mailbox
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

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Keep quiet: the console belongs to the mails."""


def _as_json(mail: CaughtMail) -> dict[str, str | int | None]:
    message = mail.message
    return {
        "number": mail.number,
        "recipient": mail.recipient,
        "subject": header_in(message, "Subject"),
        "text": text_in(message),
        "html": text_in(message, "html"),
        "code": code_in(message),
        "message_id": header_in(message, "Message-ID"),
        "received_at": mail.received_at.isoformat(),
    }
