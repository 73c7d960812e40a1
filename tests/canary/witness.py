"""A caller that remembers every secret it sends or gets, and everything that failed calls say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import Message

from tests.canary.scanner import Secrets
from tests.processes import ServerProcess
from tests.service import Failure, failure_of

# Strings that anybody may see. All others are secrets, those of fields yet to come included.
PUBLIC = frozenset(
    {"username", "user_id", "session_id", "friendly_name", "destination", "attribute_name", "amr", "client_ip"}
    # Of an attribute.
    | {"name"}
    | {"client_user_agent", "kty", "kid", "use", "alg", "crv", "x", "y"}
)


class Witness:
    """Call a server."""

    def __init__(self, server: ServerProcess, secrets: Secrets) -> None:
        self._server = server
        self.secrets = secrets
        # All metadata, texts and details of every call that came back.
        self.seen: list[str] = []
        self.reasons: set[str] = set()

    async def call(self, method: str, request: Message, *, token: str = "") -> Any:
        """Call an RPC and return its answer.

        Raises:
            grpc.aio.AioRpcError: it failed.
        """
        self._remember(request)
        self.secrets.add("token", token)
        metadata = [("authorization", f"Bearer {token}")] if token else []
        call = getattr(self._server.stub, method)(request, metadata=metadata)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            self.seen.append(_everything_in(error))
            raise
        self.seen.append(repr([*await call.initial_metadata(), *await call.trailing_metadata()]))
        self._remember(answer)
        return answer

    async def refused(self, reason: str, method: str, request: Message, *, token: str = "") -> Failure:
        """Call an RPC that must fail with `reason`."""
        try:
            await self.call(method, request, token=token)
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error)
            assert failure.reason == reason, failure
            self.reasons.add(reason)
            return failure
        raise AssertionError(f"{method} did not fail with {reason}")

    async def refused_bytes(self, method: str, request: bytes, *, token: str) -> grpc.StatusCode:
        """Call a path with anything at all as the request, and return the code that it fails with."""
        self.secrets.add("token", token)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._server.port}") as channel:
            call: Any = channel.unary_unary(method)
            try:
                await call(request, metadata=[("authorization", f"Bearer {token}")])
            except grpc.aio.AioRpcError as error:
                self.seen.append(_everything_in(error))
                return error.code()
        raise AssertionError(f"{method} did not fail")

    def _remember(self, message: Message) -> None:
        for name, text in _strings(message):
            self.secrets.add(name, text)


def _strings(message: Message) -> Iterable[tuple[str, str]]:
    """Yield the strings of a message that are not public, with the names of their fields."""
    for field, value in message.ListFields():
        if field.name in PUBLIC:
            continue
        if isinstance(value, str):
            yield field.name, value
        elif isinstance(value, Message):
            yield from _strings(value)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from ((key, text) for key, text in value.items() if isinstance(text, str))
        elif not isinstance(value, int | float | bytes):
            for item in value:
                if isinstance(item, Message):
                    yield from _strings(item)
                elif isinstance(item, str):
                    yield field.name, item


def _everything_in(error: grpc.aio.AioRpcError) -> str:
    metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
    readable = [f"{key}: {value.decode('latin-1') if isinstance(value, bytes) else value}" for key, value in metadata]
    return "\n".join([str(error.code()), error.details() or "", error.debug_error_string() or "", *readable])
