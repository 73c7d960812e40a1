"""Requests as bytes, made from descriptors: right ones, and wrong in every way that the wire format has.

A message is a list of records (https://protobuf.dev/programming-guides/encoding): known fields with values of their
kind, known fields of another wire type, unknown fields, and bytes that are no record at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)
LAST_FIELD = 2**29 - 1
DEPTH = 4
_VARINTS = {
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
}
_KEYS = ("authorization", "authsvc-client-ip", "authsvc-client-user-agent", "authsvc-request-id", "authsvc-admin-key")
_HOSTILE = (b"", b"\0", b"x" * 5_000, "\ufdfa".encode() * 300, b"\xed\xa0\x80", b"\xff\xfe", "\u202eada".encode())

Metadata = tuple[tuple[str, str | bytes], ...]


def varint(number: int) -> bytes:
    """Encode a number, a negative one as its two's complement of 64 bits."""
    number &= 2**64 - 1
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*groups, number))


def record(field: int, wire_type: int, value: bytes) -> bytes:
    """Encode one field; of a value whose length is told, the length too."""
    length = varint(len(value)) if wire_type == LENGTH else b""
    return varint(field << 3 | wire_type) + length + value


@dataclass(frozen=True)
class Fuzzer:
    """Make requests and metadata; text is often one of those that the service knows, and so are headers."""

    random: Random
    texts: Sequence[str]
    headers: Sequence[tuple[str, str]]

    def message(self, descriptor: Descriptor, depth: int = DEPTH) -> bytes:
        """Return a request: whole, or of some records in any order and number; sometimes cut short."""
        draw = self.random
        if draw.random() < 0.5:
            records = [self._right(field, depth) for field in descriptor.fields if draw.random() < 0.7]
        else:
            records = [self._any(descriptor, depth) for _ in range(draw.randrange(8))]
        whole = b"".join(records)
        return whole[: draw.randrange(len(whole) + 1)] if draw.random() < 0.05 else whole

    def metadata(self, fitting: tuple[str, str]) -> Metadata:
        """Return metadata that a client's library lets through: mostly what fits, often anything."""
        draw = self.random
        if draw.random() < 0.7:
            return (fitting,)
        return tuple(self._header() for _ in range(draw.randrange(4)))

    def _any(self, descriptor: Descriptor, depth: int) -> bytes:
        draw, kind = self.random, self.random.random()
        if descriptor.fields and kind < 0.6:
            return self._right(draw.choice(descriptor.fields), depth)
        if descriptor.fields and kind < 0.75:
            return record(draw.choice(descriptor.fields).number, draw.randrange(8), draw.randbytes(draw.randrange(12)))
        if kind < 0.9:
            number = draw.choice((draw.randrange(40), draw.randrange(LAST_FIELD)))
            return record(number, draw.randrange(8), draw.randbytes(draw.choice((0, 4, 8, 20))))
        # No record: noise, a number without an end, a length that nothing follows.
        return draw.choice((draw.randbytes(draw.randrange(30)), b"\x08" + b"\xff" * 11, b"\x0a\xff\xff\xff\xff\x0f"))

    def _right(self, field: FieldDescriptor, depth: int) -> bytes:
        """Return a field with a value of its kind; a repeated one several times."""
        draw = self.random
        times = draw.randrange(4) if field.is_repeated else 1
        return b"".join(self._one(field, depth) for _ in range(times))

    def _one(self, field: FieldDescriptor, depth: int) -> bytes:
        draw = self.random
        if field.message_type is not None:
            return record(field.number, LENGTH, self.message(field.message_type, depth - 1) if depth else b"")
        if field.type in _VARINTS:
            number = draw.choice((draw.randrange(-2, 12), draw.randrange(-(2**63), 2**64)))
            return record(field.number, VARINT, varint(number))
        return record(field.number, LENGTH, self._text())

    def _text(self) -> bytes:
        draw, kind = self.random, self.random.random()
        if kind < 0.6:
            return draw.choice(self.texts).encode()
        if kind < 0.75:
            return draw.choice(_HOSTILE)
        if kind < 0.85:
            return draw.randbytes(draw.randrange(40))
        letters = (
            chr(draw.choice((draw.randrange(0x250), draw.randrange(0x11_0000)))) for _ in range(draw.randrange(40))
        )
        return "".join(letters).encode(errors="surrogatepass")

    def _header(self) -> tuple[str, str | bytes]:
        draw, kind = self.random, self.random.random()
        if kind < 0.5:
            return draw.choice(self.headers)
        if kind < 0.6:
            return f"x-{draw.randrange(9)}-bin", draw.randbytes(draw.randrange(40))
        key = draw.choice((*_KEYS, f"x-{draw.randrange(9)}"))
        return key, "".join(chr(draw.randrange(0x21, 0x7F)) for _ in range(draw.randrange(80)))
