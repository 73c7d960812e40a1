"""Every method of the services, found by their descriptors: one that is added is covered from its first day on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from authsvc.config import ServerSettings
from authsvc.rpc.server import SPARE_BYTES
from authsvc.rpc.status import CODES
from authsvc.v1 import admin_service_pb2
from authsvc.v1.auth_service_pb2 import DESCRIPTOR
from tests.service import failure_of

PROTO = Path(__file__).resolve().parents[2] / "protos" / "authsvc" / "v1" / "auth_service.proto"
SERVICE = DESCRIPTOR.services_by_name["AuthService"]
ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
# Reasons that no request can be the cause of.
OUR_FAULTS = {"INTERNAL", "DATABASE_UNAVAILABLE", "CONFLICT", "OVERLOADED", "DEADLINE_EXCEEDED"}

# The longest message that gRPC hands on.
TRANSPORT_BYTES = ServerSettings().max_message_bytes + SPARE_BYTES
# Methods that end the bearer's own session.
ENDING = ("SignOut", "DeleteUser")

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Method:
    """Hold one method of a service."""

    descriptor: MethodDescriptor

    def __str__(self) -> str:
        return self.descriptor.name

    def request(self) -> Message:
        """Return an empty request."""
        return GetMessageClass(self.descriptor.input_type)()

    async def call(self, channel: grpc.aio.Channel, message: bytes, metadata: Metadata = ()) -> str:
        """Send a message; return the reason of the failure, or OK.

        Whatever fails must have the code of its reason, and a reason that is the caller's.
        """
        path = f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"
        read = GetMessageClass(self.descriptor.output_type).FromString
        try:
            if self.descriptor.client_streaming:
                call = channel.stream_unary(path, request_serializer=bytes, response_deserializer=read)
                await call(iter([message]), metadata=tuple(metadata))
            elif self.descriptor.server_streaming:
                responses = channel.unary_stream(path, request_serializer=bytes, response_deserializer=read)
                async for _ in responses(message, metadata=tuple(metadata)):
                    pass
            else:
                method = channel.unary_unary(path, request_serializer=bytes, response_deserializer=read)
                await method(message, metadata=tuple(metadata))
        except grpc.aio.AioRpcError as error:
            # gRPC itself refuses what is far above the setting, by its length.
            if len(message) > TRANSPORT_BYTES and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return "TOO_LONG"
            failure = failure_of(error)
            assert failure.code is {reason.value: code for reason, code in CODES.items()}[failure.reason]
            assert failure.reason not in OUR_FAULTS, f"{self} {failure} {message[:200]!r}"
            return failure.reason
        return "OK"


def methods() -> list[Method]:
    """Return every method; those that end the bearer's own session come last."""
    return sorted((Method(each) for each in SERVICE.methods), key=lambda method: str(method) in ENDING)


def admin_methods() -> list[Method]:
    """Return every method of operators; that which erases a user comes last."""
    return sorted((Method(each) for each in ADMIN_SERVICE.methods), key=lambda method: str(method) == "DeleteUser")


def bearer_methods() -> list[Method]:
    """Return the methods whose comment in the proto begins with "Bearer."."""
    comments = dict(comments_of_methods())
    assert comments.keys() == {str(method) for method in methods()}
    return [method for method in methods() if comments[str(method)].startswith("Bearer.")]


def comments_of_methods() -> Iterator[tuple[str, str]]:
    """Yield each method in the proto with the comment above it."""
    comment: list[str] = []
    for line in PROTO.read_text(encoding="utf-8").splitlines():
        stripped = line.strip()
        if stripped.startswith("//"):
            comment.append(stripped.removeprefix("//").strip())
            continue
        if method := re.match(r"rpc (\w+)\(", stripped):
            yield method[1], " ".join(comment).strip()
        comment = []


def filled(request: Message, text: str, number: int) -> Iterator[Message]:
    """Yield a request with the text in every text field and the number in every number and enum field.

    Of the fields of a oneof each is set in a message of its own; the first message has none of them.
    """
    fields = request.DESCRIPTOR.fields
    for field in fields:
        if field.containing_oneof is None:
            _fill(request, field, text, number)
    yield request
    for field in fields:
        if field.containing_oneof is not None:
            one = type(request)()
            one.CopyFrom(request)
            _fill(one, field, text, number)
            yield one


def _fill(message: Message, field: Any, text: str, number: int) -> None:
    if field.is_repeated and field.message_type is None:
        getattr(message, field.name).append(text)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[text] = text
        getattr(message, field.name)["email"] = text
    elif field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        getattr(message, field.name).seconds = number
    elif field.message_type is not None and field.is_repeated:
        fill_all(getattr(message, field.name).add(), text, number)
    elif field.message_type is not None:
        fill_all(getattr(message, field.name), text, number)
    elif field.type == FieldDescriptor.TYPE_STRING:
        setattr(message, field.name, text)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        setattr(message, field.name, text.encode())
    elif field.type == FieldDescriptor.TYPE_BOOL:
        setattr(message, field.name, bool(number))
    else:
        setattr(message, field.name, number)


def fill_all(message: Message, text: str, number: int) -> None:
    """Fill every field of a message within a message."""
    for field in message.DESCRIPTOR.fields:
        _fill(message, field, text, number)
