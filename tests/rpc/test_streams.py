"""What is around calls with streams of messages: the same as around the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from structlog.testing import capture_logs

from authsvc.config import ServerSettings
from authsvc.core.operators.identity import Identity
from authsvc.errors import CodeMismatch, PermissionDenied
from authsvc.rpc.admission import Admission
from authsvc.rpc.call import Context, current_call
from authsvc.rpc.interceptor import CallInterceptor
from authsvc.telemetry.metrics import Metrics
from authsvc.v1 import auth_service_pb2 as pb
from tests.service import fails

SERVICE = "authsvc.v1.StreamService"
KEY = ("authsvc-admin-key", "right")
LEAST_MESSAGE_BYTES = 4_096


async def join(names: AsyncIterator[pb.ResetPasswordRequest], _context: Context) -> pb.GetCurrentUserResponse:
    """Put the names of a stream together; the name `stop` fails, the name `wait` takes its time."""
    seen = []
    async for each in names:
        if each.username == "stop":
            raise CodeMismatch
        if each.username == "wait":
            await asyncio.sleep(0.6)
        seen.append(each.username)
    operator = current_call.get().operator
    assert operator is not None
    return pb.GetCurrentUserResponse(username=" ".join(seen), user_id=operator.name)


async def split(name: pb.ResetPasswordRequest, _context: Context) -> AsyncIterator[pb.ResetPasswordRequest]:
    """Take a name apart at its spaces, with the same words for failing and waiting."""
    for word in name.username.split():
        if word == "stop":
            raise CodeMismatch
        if word == "crash":
            raise ValueError("hunter2")
        if word == "wait":
            await asyncio.sleep(0.6)
        yield pb.ResetPasswordRequest(username=word)


@dataclass(frozen=True)
class Streams:
    """Hold a running server with a method of either kind."""

    channel: grpc.aio.Channel
    metrics: Metrics

    async def join(self, *messages: str | bytes, metadata: tuple[tuple[str, str], ...] = (KEY,)) -> tuple[str, str]:
        """Send a stream of names or bytes; return what they are together, and the operator."""

        async def sent() -> AsyncIterator[bytes]:
            for each in messages:
                message = each if isinstance(each, bytes) else named(each)
                yield message

        call = self.channel.stream_unary(
            f"/{SERVICE}/Join",
            request_serializer=bytes,
            response_deserializer=pb.GetCurrentUserResponse.FromString,
        )
        answer = await call(sent(), metadata=metadata)
        return answer.username, answer.user_id

    async def split(self, message: bytes, seen: list[str], metadata: tuple[tuple[str, str], ...] = (KEY,)) -> None:
        """Send a message and note the words that come back."""
        call = self.channel.unary_stream(
            f"/{SERVICE}/Split",
            request_serializer=bytes,
            response_deserializer=pb.ResetPasswordRequest.FromString,
        )
        async for response in call(message, metadata=metadata):
            seen.append(response.username)  # noqa: PERF401  # what came before a failure counts

    def counted(self, method: str, reason: str) -> float:
        """Return how many calls of a method ended with a reason."""
        labels = {"method": f"StreamService.{method}", "reason": reason}
        return self.metrics.registry.get_sample_value("authsvc_rpcs_total", labels) or 0


def named(name: str) -> bytes:
    """Return the bytes of a message with a name."""
    return pb.ResetPasswordRequest(username=name).SerializeToString()


async def guard(_context: Context, metadata: Mapping[str, str], method: str) -> Identity:
    """Let the holder of the key in."""
    if (KEY[0], metadata.get(KEY[0])) != KEY:
        raise PermissionDenied
    assert method in ("Join", "Split")
    return Identity("ops", frozenset())


@asynccontextmanager
async def serving(settings: ServerSettings) -> AsyncIterator[Streams]:
    """Run a server with both methods behind the interceptor."""
    metrics = Metrics()
    server = grpc.aio.server(
        interceptors=[
            CallInterceptor(
                settings=settings,
                metrics=metrics,
                hash_wait=timedelta,
                guards={SERVICE: guard},
                admission=Admission(settings=settings),
            )
        ]
    )
    handlers = {
        "Join": grpc.stream_unary_rpc_method_handler(
            join,
            request_deserializer=pb.ResetPasswordRequest.FromString,
            response_serializer=pb.GetCurrentUserResponse.SerializeToString,
        ),
        "Split": grpc.unary_stream_rpc_method_handler(
            split,
            request_deserializer=pb.ResetPasswordRequest.FromString,
            response_serializer=pb.ResetPasswordRequest.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Streams(channel, metrics)
    await server.stop(None)


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    """Run the server with a limit of a second for each message."""
    settings = ServerSettings(request_timeout=timedelta(seconds=1), max_message_bytes=LEAST_MESSAGE_BYTES)
    async with serving(settings) as running:
        yield running


async def test_streams_pass_whole_and_in_order(streams: Streams) -> None:
    """Every message of a stream arrives parsed, in either direction, with the operator of the call beside it."""
    names = [f"name-{number}" for number in range(500)]
    assert await streams.join(*names) == (" ".join(names), "ops")
    assert await streams.join() == ("", "ops")
    seen: list[str] = []
    await streams.split(named("a b c"), seen)
    assert seen == ["a", "b", "c"]
    assert streams.counted("Join", "OK") == 2
    assert streams.counted("Split", "OK") == 1


async def test_a_stream_fails_with_its_reason(streams: Streams) -> None:
    """A failure in the middle of a stream ends it with status and details; what came before it has come."""
    async with fails("CODE_MISMATCH"):
        await streams.join("a", "stop", "b")
    seen: list[str] = []
    async with fails("CODE_MISMATCH"):
        await streams.split(named("a stop b"), seen)
    assert seen == ["a"]
    assert streams.counted("Split", "CODE_MISMATCH") == 1


async def test_a_fault_in_a_stream_says_nothing_of_its_cause(streams: Streams) -> None:
    """A fault after the first response is INTERNAL, and its text stays in the log."""
    with capture_logs() as logs:
        async with fails("INTERNAL") as failures:
            await streams.split(named("a crash"), [])
    assert failures[0].text == "internal error"
    assert [line["event"] for line in logs] == ["fault", "rpc"]


@pytest.mark.parametrize(
    ("message", "rule"), [(b"\xff\xff", "MESSAGE_FORMAT"), (named("x" * LEAST_MESSAGE_BYTES), "MESSAGE_SIZE")]
)
async def test_each_message_of_a_stream_is_looked_at(streams: Streams, message: bytes, rule: str) -> None:
    """A malformed or too large message anywhere in a stream is the caller's error."""
    async with fails("INVALID_FIELDS") as failures:
        await streams.join("a", message)
    assert failures[0].violations == [("", rule)]
    async with fails("INVALID_FIELDS") as failures:
        await streams.split(message, [])
    assert failures[0].violations == [("", rule)]


@pytest.mark.parametrize("metadata", [(), (("authsvc-admin-key", "wrong"),)], ids=["none", "wrong"])
async def test_who_may_not_call_is_told_before_any_message_is_looked_at(
    streams: Streams, metadata: tuple[tuple[str, str], ...]
) -> None:
    """Without the right key a stream is PERMISSION_DENIED, even if its first message is nothing but noise."""
    calls: list[Awaitable[object]] = [
        streams.join(b"\xff", metadata=metadata),
        streams.split(b"\xff", [], metadata=metadata),
    ]
    for call in calls:
        async with fails("PERMISSION_DENIED"):
            await call


async def test_a_stream_may_take_long_as_long_as_it_moves(streams: Streams) -> None:
    """The server's limit is for each message: a stream of many waits outlives it, one that stands still does not."""
    assert (await streams.join("wait", "wait", "wait"))[0] == "wait wait wait"
    seen: list[str] = []
    await streams.split(named("wait wait wait"), seen)
    assert len(seen) == 3

    async def stalls() -> AsyncIterator[bytes]:
        yield named("a")
        await asyncio.sleep(30)

    call = streams.channel.stream_unary(f"/{SERVICE}/Join", request_serializer=bytes, response_deserializer=bytes)
    async with fails("DEADLINE_EXCEEDED"):
        await call(stalls(), metadata=(KEY,))


async def test_the_callers_deadline_is_for_the_whole_stream(streams: Streams) -> None:
    """A stream that goes on beyond the deadline of its caller is ended by it."""

    async def drips() -> AsyncIterator[bytes]:
        while True:
            yield named("a")
            await asyncio.sleep(0.1)

    call = streams.channel.stream_unary(f"/{SERVICE}/Join", request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(drips(), metadata=(KEY,), timeout=1.5)
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
