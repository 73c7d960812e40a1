"""Around every call: request id, size, deadline, caller, one log line, metrics, and the error map.

An exception that no interceptor catches reaches a grpc.aio client with its text; this one is not optional.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import DecodeError

from authsvc.clock import monotonic
from authsvc.config import ServerSettings
from authsvc.errors import DeadlineExceeded, DomainError, Internal, InvalidFields, Violation
from authsvc.rpc.call import (
    Call,
    Callers,
    Context,
    access_token_of,
    current_call,
    metadata_of,
    request_id_of,
)
from authsvc.rpc.status import REQUEST_ID, abort
from authsvc.telemetry.metrics import Metrics

# A call with less time left can't be answered in time.
LEAST_TIME = timedelta(milliseconds=2)
PACKAGE = "/authsvc."

Behavior = Callable[[Any, Context], Awaitable[Any]]
Parse = Callable[[bytes], Any]
# Generic in the stubs alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_log = structlog.get_logger()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wrap the handlers of authsvc's own services; health and reflection pass as they are."""

    def __init__(
        self, settings: ServerSettings, metrics: Metrics, time_needed: Mapping[str, Callable[[], timedelta]]
    ) -> None:
        """`time_needed` tells, for methods that queue, how long a call that comes now would take."""
        self._max_bytes = settings.max_message_bytes
        self._longest_seconds = settings.request_timeout.total_seconds()
        self._callers = Callers(settings.trusted_callers)
        self._metrics = metrics
        self._time_needed = time_needed
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
        self._wrapped[method] = grpc.unary_unary_rpc_method_handler(
            self._around(
                method.rpartition("/")[2],
                cast(Behavior, handler.unary_unary),
                cast(Parse, handler.request_deserializer),
            ),
            # The message is parsed in the wrapper: a malformed one is the caller's error, not ours.
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )
        return self._wrapped[method]

    def _around(self, method: str, behavior: Behavior, parse: Parse) -> Behavior:
        time_needed = self._time_needed.get(method, lambda: LEAST_TIME)

        async def around(message: bytes, context: Context) -> Any:
            started = monotonic()
            metadata = metadata_of(context)
            request_id = request_id_of(metadata)
            reason = "CANCELLED"
            failure: DomainError | None = None
            try:
                async with asyncio.timeout(self._seconds_left(context, time_needed())):
                    caller = self._callers.caller_of(context, metadata, request_id)
                    current_call.set(Call(request_id, access_token_of(metadata), caller))
                    response = await behavior(self._parse(message, parse), context)
                reason = "OK"
                context.set_trailing_metadata(((REQUEST_ID, request_id),))
                return response
            except DomainError as error:
                failure = error
            except TimeoutError:
                failure = DeadlineExceeded()
            except Exception as error:
                # The last fence: its text must not reach the caller.
                _log.error("fault", method=method, request_id=request_id, exc_info=error)
                failure = Internal()
            finally:
                if failure is not None:
                    reason = failure.reason
                seconds = monotonic() - started
                self._metrics.observe_rpc(method, reason, seconds)
                _log.info("rpc", method=method, reason=reason, ms=round(seconds * 1000, 2), request_id=request_id)
            return await abort(context, failure, request_id)

        return around

    def _seconds_left(self, context: Context, needed: timedelta) -> float:
        # The stubs don't know it, but a call without a deadline has None.
        left = cast("float | None", context.time_remaining())
        if left is None:
            return self._longest_seconds
        if left < needed.total_seconds():
            raise DeadlineExceeded
        return min(left, self._longest_seconds)

    def _parse(self, message: bytes, parse: Parse) -> Any:
        if len(message) > self._max_bytes:
            violation = Violation("", "MESSAGE_SIZE", f"the message must have at most {self._max_bytes} bytes")
            raise InvalidFields(violations=(violation,))
        try:
            return parse(message)
        except DecodeError as error:
            violation = Violation("", "MESSAGE_FORMAT", "the message must be a valid protobuf message with UTF-8 text")
            raise InvalidFields(violations=(violation,)) from error
