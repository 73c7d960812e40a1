"""A peer that speaks HTTP/2 by hand: it opens streams and sends as much of each message as it likes."""

from __future__ import annotations

import socket
import struct
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, Event, ResponseReceived, StreamReset, TrailersReceived

SIGN_IN = "/authsvc.v1.AuthService/SignIn"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
POLL_SECONDS = 0.01


def begun(size: int, *, announced: int | None = None) -> bytes:
    """Return a message that lacks its last byte, or all that it announces and does not send."""
    return (b"\0" + struct.pack(">I", announced or size) + b"x" * size)[: 5 + size - (announced is None)]


@dataclass(frozen=True)
class Answer:
    """Hold how a stream ended: by trailers, or by the HTTP/2 code of a reset."""

    status: str = ""
    reason: str = ""
    has_retry_info: bool = False
    reset: int | None = None


@dataclass
class Peer:
    """Hold one connection; `answers` are those of streams that ended, `is_closed`: the server closed it."""

    connection: H2Connection
    link: socket.socket
    answers: dict[int, Answer] = field(default_factory=dict)
    is_closed: bool = False
    _to_send: dict[int, bytes] = field(default_factory=dict)
    _out: bytearray = field(default_factory=bytearray)

    def open(self, message: bytes, *, path: str = SIGN_IN, heeds_limit: bool = True) -> int | None:
        """Open a stream and send of the message what the windows let through; None if there are streams enough."""
        limit = self.connection.remote_settings.max_concurrent_streams
        if heeds_limit and self.connection.open_outbound_streams >= limit:
            return None
        stream = self.connection.get_next_available_stream_id()
        names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "authsvc", "te": "trailers"}
        self.connection.send_headers(stream, [*names.items(), ("content-type", "application/grpc")])
        self._to_send[stream] = message
        return stream

    def run(self, seconds: float, *, answers: int | None = None) -> None:
        """Send and read for so long, or until so many streams have ended or the server has closed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.is_closed and (answers is None or len(self.answers) < answers):
            is_moving = self._read()
            is_moving |= self._write()
            if not is_moving:
                time.sleep(POLL_SECONDS)

    def _read(self) -> bool:
        try:
            data = self.link.recv(1 << 20)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return False
        for event in self.connection.receive_data(data):
            self._take(event)
        return True

    def _take(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.is_closed = True
        elif isinstance(event, StreamReset) and event.stream_id is not None:
            self._to_send.pop(event.stream_id, None)
            self.answers.setdefault(event.stream_id, Answer(reset=int(event.error_code or 0)))
        elif isinstance(event, ResponseReceived | TrailersReceived) and event.stream_id is not None:
            trailers = {_text(name): _text(value) for name, value in event.headers or ()}
            if "grpc-status" in trailers:
                self._to_send.pop(event.stream_id, None)
                self.answers[event.stream_id] = _answer(trailers)

    def _write(self) -> bool:
        if len(self._out) < 1 << 20 and not self.is_closed:
            for stream, message in self._to_send.items():
                room = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
                if message and room > 0:
                    self.connection.send_data(stream, message[:room])
                    self._to_send[stream] = message[room:]
        self._out += self.connection.data_to_send()
        if not self._out:
            return False
        try:
            sent = self.link.send(self._out)
        except BlockingIOError:
            return False
        except OSError:
            self.is_closed = True
            return False
        del self._out[:sent]
        return True


@contextmanager
def connected(port: int, *, source: str = "127.0.0.1") -> Iterator[Peer]:
    """Connect from an address of this machine, and read the server's settings."""
    with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as link:
        link.setblocking(False)
        peer = Peer(H2Connection(H2Configuration(client_side=True)), link)
        peer.connection.initiate_connection()
        peer.run(0.3)
        yield peer


def is_open(link: socket.socket) -> bool:
    """Tell whether the other side has left a connection open; what it has sent is thrown away."""
    link.setblocking(False)
    try:
        while link.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _answer(trailers: Mapping[str, str]) -> Answer:
    status, info, retry = Status(), ErrorInfo(), RetryInfo()
    encoded = trailers.get("grpc-status-details-bin", "")
    status.ParseFromString(b64decode(encoded + "=" * (-len(encoded) % 4)))
    has_retry_info = False
    for detail in status.details:
        detail.Unpack(info)
        has_retry_info |= detail.Unpack(retry)
    return Answer(trailers["grpc-status"], info.reason, has_retry_info)
