"""Around every call: admission, request id, authorisation, size, deadline, caller, a log line, metrics, the error map.

An exception that no interceptor catches reaches a grpc.aio client with its text; this one is not optional.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import DecodeError

from authsvc.clock import monotonic
from authsvc.config import ServerSettings
from authsvc.core.fields import refused
from authsvc.core.operators.identity import Identity
from authsvc.errors import DeadlineExceeded, DomainError, Internal
from authsvc.rpc.admission import Admission, Admitted, stopping
from authsvc.rpc.call import Call, Callers, Context, access_token_of, current_call, metadata_of, request_id_of
from authsvc.rpc.hashing import is_waiting_for_hash
from authsvc.rpc.status import REQUEST_ID, abort
from authsvc.telemetry.metrics import Metrics

# A call with less time left can't be answered in time.
LEAST_TIME = timedelta(milliseconds=2)
PACKAGE = "/authsvc."
# The service whose methods go by their bare names in logs and metrics.
UNNAMED_SERVICE = "AuthService"

Behavior = Callable[[Any, Context], Any]
Parse = Callable[[bytes], Any]
# Returns the operator who calls a method, or raises PermissionDenied.
Authorise = Callable[[Context, Mapping[str, str], str], Awaitable[Identity]]
# Generic in the stubs alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wrap the handlers of authsvc's own services; health and reflection pass as they are."""

    def __init__(
        self,
        *,
        settings: ServerSettings,
        metrics: Metrics,
        hash_wait: Callable[[], timedelta],
        guards: Mapping[str, Authorise],
        admission: Admission,
    ) -> None:
        """Take what differs among methods.

        `hash_wait` tells, for methods that wait for a hash, how long a call that comes now would take. `guards` are
        asked, for the services that they are given for by full name, who calls: before anything the call brings is
        looked at.
        """
        self._max_bytes = settings.max_message_bytes
        self._longest_seconds = settings.request_timeout.total_seconds()
        self._receive_seconds = settings.receive_timeout.total_seconds()
        self._callers = Callers(trusted=settings.trusted_callers)
        self._metrics = metrics
        self._hash_wait = hash_wait
        self._guards = guards
        self._admission = admission
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the handler of a method, wrapped once."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        # Unknown methods have no handler: gRPC answers UNIMPLEMENTED, and nothing is remembered of what strangers send.
        if handler is None or not method.startswith(PACKAGE):
            return handler
        self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Handler) -> Handler:
        # Messages are parsed in the wrapper: a malformed one is the caller's error, not ours.
        parse = cast(Parse, handler.request_deserializer)
        behavior = cast(Behavior, handler.unary_unary or handler.stream_unary or handler.unary_stream)
        time_needed = self._hash_wait if is_waiting_for_hash(behavior) else lambda: LEAST_TIME
        # To gRPC every request is a stream: of a single message it would tell us only when it is there whole, and
        # nothing would bound how slowly it comes, nor how many come at once.
        make: Callable[..., Handler]
        if handler.stream_unary is not None:
            make, work = grpc.stream_unary_rpc_method_handler, self._with_messages(behavior, parse)
        elif handler.unary_stream is not None:
            make, work = grpc.stream_stream_rpc_method_handler, self._with_responses(behavior, parse)
        else:
            make, work = grpc.stream_unary_rpc_method_handler, self._with_message(behavior, parse)
        around = self._around(method, work, time_needed)
        return make(around, response_serializer=handler.response_serializer)

    def _with_message(self, behavior: Behavior, parse: Parse) -> _Work:
        async def work(reading: _Reading) -> Any:
            return await behavior(self._parse(await reading.message(), parse), reading.context)

        return work

    def _with_messages(self, behavior: Behavior, parse: Parse) -> _Work:
        async def work(reading: _Reading) -> Any:
            async def parsed() -> AsyncIterator[Any]:
                while (message := await reading.next_message()) is not None:
                    yield self._parse(message, parse)

            return await behavior(parsed(), reading.context)

        return work

    def _with_responses(self, behavior: Behavior, parse: Parse) -> _Work:
        async def work(reading: _Reading) -> None:
            async for response in behavior(self._parse(await reading.message(), parse), reading.context):
                await reading.context.write(response)
                reading.time.begin_anew()

        return work

    def _around(
        self, method: str, work: _Work, time_needed: Callable[[], timedelta]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        service, _, name = method.removeprefix("/").partition("/")
        label = f"{service.rpartition('.')[2]}.{name}".removeprefix(f"{UNNAMED_SERVICE}.")
        guard = self._guards.get(service)

        async def around(_: Any, context: Context) -> Any:
            started = monotonic()
            sent = metadata_of(context)
            metadata = sent.values
            request_id = request_id_of(metadata)
            reason = "CANCELLED"
            failure: DomainError | None = None
            call: Admitted | None = None
            try:
                left = _seconds_left(context, time_needed())
                time = _Time(first=self._receive_seconds, each=self._longest_seconds, seconds_left=left)
                call = self._admission.enter(context, time)
                async with time.timeout:
                    operator = await guard(context, metadata, name) if guard else None
                    sent.require_single()
                    caller = self._callers.caller_of(context, metadata, request_id)
                    if caller.is_unnamed and operator is None:
                        self._metrics.count_unnamed_client()
                    current_call.set(
                        Call(
                            request_id=request_id,
                            access_token=access_token_of(metadata),
                            caller=caller,
                            operator=operator,
                        )
                    )
                    response = await work(_Reading(context=context, time=time, call=call, admission=self._admission))
                reason = "OK"
                context.set_trailing_metadata(((REQUEST_ID, request_id),))
                return response
            except DomainError as error:
                failure = error
            except TimeoutError:
                failure = stopping() if time.is_cut else DeadlineExceeded()
            except Exception as error:
                # The last fence: its text must not reach the caller.
                _log.error("fault", method=label, request_id=request_id, exc_info=error)
                failure = Internal()
            finally:
                if call is not None:
                    self._admission.leave(call)
                if failure is not None:
                    reason = failure.reason
                seconds = monotonic() - started
                self._metrics.observe_rpc(label, reason, seconds)
                _log.info("rpc", method=label, reason=reason, ms=round(seconds * 1000, 2), request_id=request_id)
            return await abort(context, failure, request_id)

        return around

    def _parse(self, message: bytes, parse: Parse) -> Any:
        if len(message) > self._max_bytes:
            raise refused("", "MESSAGE_SIZE", f"the message must have at most {self._max_bytes} bytes")
        try:
            return parse(message)
        except DecodeError as error:
            description = "the message must be a valid protobuf message with UTF-8 text"
            raise refused("", "MESSAGE_FORMAT", description) from error


class _Time:
    """Bound the time of a call: by its own deadline, and by the server's limits for its message and for what follows.

    A stream may be long; what must not be is a peer, or a database, that keeps it waiting.
    """

    def __init__(self, *, first: float, each: float, seconds_left: float | None) -> None:
        now = asyncio.get_running_loop().time()
        self._each = each
        self._end = None if seconds_left is None else now + seconds_left
        self.is_cut = False
        self.timeout = asyncio.timeout_at(self._within(now + first))

    def begin_anew(self) -> None:
        """Give the next message its time."""
        self.timeout.reschedule(self._within(asyncio.get_running_loop().time() + self._each))

    def cut(self) -> None:
        """End the call now."""
        self.is_cut = True
        # Nothing is left to be ended of a call whose time is over already.
        if not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())

    def _within(self, limit: float) -> float:
        return limit if self._end is None else min(limit, self._end)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """Read the messages of one call."""

    context: Context
    time: _Time
    call: Admitted
    admission: Admission

    async def message(self) -> bytes:
        """Return the one message of a request.

        Raises:
            InvalidFields: there is none.
        """
        message = await self.next_message()
        if message is None:
            raise refused("", "MESSAGE_FORMAT", "there must be a message")
        return message

    async def next_message(self) -> bytes | None:
        """Return the next message, or None at the end."""
        # The stubs take it for a message already; EOF is what an end is.
        message: Any = await cast(Any, self.context).read()
        self.time.begin_anew()
        self.admission.note_read(self.call)
        return None if message is grpc.aio.EOF else cast(bytes, message)


_Work = Callable[[_Reading], Awaitable[Any]]


def _seconds_left(context: Context, needed: timedelta) -> float | None:
    # The stubs don't know it, but a call without a deadline has None.
    left = cast("float | None", context.time_remaining())
    if left is not None and left < needed.total_seconds():
        raise DeadlineExceeded
    return left
