"""A receiver of SMS to start from: checks who sent them, takes each once, and hands them to a gateway.

    AUTHSVC_SMS_WEBHOOK_SECRET=… python examples/sms_receiver/receiver.py --port 8090

It needs nothing but Python. Here the gateway is standard output: `send` is where yours goes.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What is older, or from the future by more, was recorded and is played again, or a clock is wrong.
TOLERANCE_SECONDS = 300
MOST_BYTES = 65_536


@dataclass(frozen=True)
class Sms:
    """Hold what is needed of a message."""

    id: str
    to: str
    text: str
    expires_at: float


def is_signed(keys: list[str], timestamp: str, body: bytes, *, header: str) -> bool:
    """Tell whether the header has a signature of time and body under one of our keys."""
    signed = timestamp.encode() + b"." + body
    good = [f"v1={hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()}".encode() for key in keys]
    # Not `==`: how long that takes tells how much of a guess was right.
    return any(hmac.compare_digest(part.strip().encode(), each) for part in header.split(",") for each in good)


def is_fresh(timestamp: str, now: float) -> bool:
    """Tell whether a message was signed just now."""
    return timestamp.isdecimal() and len(timestamp) <= 12 and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


def read(body: bytes, now: float) -> Sms:
    """Read a message.

    Raises:
        ValueError: it is none.
    """
    try:
        told = json.loads(body)
        expires_at = told["expires_at"]
        # Codes expire; what doesn't is remembered for a day.
        end = datetime.fromisoformat(expires_at).timestamp() if expires_at else now + 86_400
        return Sms(str(told["id"]), str(told["to"]), str(told["text"]), end)
    except (KeyError, TypeError) as error:
        raise ValueError("no SMS") from error


class Taken:
    """Remember which messages were taken, until they can't come again.

    In memory, so for one process, and until it ends. Where there are several, a table with a unique id does this.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._underway: set[str] = set()
        self._sent: dict[str, float] = {}

    def begin(self, sms: Sms, now: float) -> bool | None:
        """Tell whether the message is to be sent; None if another thread is sending it just now."""
        with self._lock:
            self._sent = {each: until for each, until in self._sent.items() if until > now}
            if sms.id in self._underway:
                return None
            if sms.id in self._sent:
                return False
            self._underway.add(sms.id)
            return True

    def end(self, sms: Sms, *, is_sent: bool) -> None:
        """Remember a message that was sent; let one that was not be tried again."""
        with self._lock:
            self._underway.discard(sms.id)
            if is_sent:
                self._sent[sms.id] = sms.expires_at + TOLERANCE_SECONDS


def send(sms: Sms) -> None:
    """Send a message: put your gateway here, and raise OSError when it can't be reached."""
    print(f"to {sms.to}: {sms.text}", flush=True)


class Receiver(BaseHTTPRequestHandler):
    """Answer 204 once a message is taken, 4xx to what is none of authsvc's, 503 when it should come again."""

    keys: list[str]
    taken = Taken()
    timeout = 10

    def do_POST(self) -> None:
        """Take one message."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        timestamp, signature = self.headers.get("authsvc-timestamp", ""), self.headers.get("authsvc-signature", "")
        now = time.time()
        # Before anything is read out of the body.
        if not is_signed(self.keys, timestamp, body, header=signature) or not is_fresh(timestamp, now):
            self._answer(401)
            return
        try:
            sms = read(body, now)
        except ValueError:
            self._answer(400)
            return
        self._answer(204 if sms.expires_at <= now else self._take(sms, now))

    def _take(self, sms: Sms, now: float) -> int:
        """Send a message, if it is not a second copy, and return the status to answer."""
        to_be_sent = self.taken.begin(sms, now)
        if not to_be_sent:
            # Done: nothing to try again. Underway: nobody knows yet.
            return 503 if to_be_sent is None else 204
        is_sent = False
        try:
            send(sms)
            is_sent = True
        except OSError:
            return 503
        finally:
            self.taken.end(sms, is_sent=is_sent)
        return 204

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Write no log: what it would say of a request is the status, and that authsvc logs."""


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Receive SMS of authsvc.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 takes a free one.")
    options = parser.parse_args()
    # Several while they are changed, as in authsvc.
    Receiver.keys = os.environ.get("AUTHSVC_SMS_WEBHOOK_SECRET", "").replace(",", " ").split()
    if not Receiver.keys:
        sys.exit("AUTHSVC_SMS_WEBHOOK_SECRET is not set")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadingHTTPServer((options.host, options.port), Receiver) as server:
        print(f"receiving at http://{options.host}:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", flush=True)


if __name__ == "__main__":
    main()
