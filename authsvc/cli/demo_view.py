"""How the demo looks: requests, answers and codes on a terminal, or as plain text in a pipe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import segno
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.text import Text

# Shown by their beginning at most.
_SECRETS = frozenset({"access_token", "id_token", "password", "refresh_token", "session"})
_SHOWN = 8
# The smallest margin that scanners accept; the specification wants 4 modules.
_QR_BORDER = 2


class View:
    """Print the demo to standard output, without control codes unless it is a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, emoji=False)
        self._number = 0

    def say(self, text: str) -> None:
        """Print a remark."""
        self._print(Text(text, style="italic"))

    def heading(self, text: str, style: str = "bold") -> None:
        """Print the title of a part, or the good end."""
        self._print(Text(f"\n{text}", style=style))

    def request(self, method: str, request: Message, *, has_token: bool) -> None:
        """Print a request, numbered."""
        self._number += 1
        self._print(Text(f"\n{self._number:2}  {method}", style="bold cyan"))
        self._print_block("→", "cyan", (["authorization: Bearer …"] if has_token else []) + list(_lines(request)))

    def response(self, response: Message) -> None:
        """Print an answer."""
        self._print_block("←", "green", list(_lines(response)))

    def failure(self, status: str, reason: str, text: str) -> None:
        """Print an error."""
        self._print_block("←", "yellow", [f"{status} {reason}: {text}"])

    def code(self, text: str, code: str) -> None:
        """Print a code and where it comes from."""
        self._print(Text.assemble("    ", (text, "italic"), " ", (code, "bold magenta")))

    def qr(self, code: segno.QRCode, uri: str) -> None:
        """Print a QR code, legible on dark and on light terminals, and what it says."""
        blocks = io.StringIO()
        code.terminal(blocks, border=_QR_BORDER, compact=True)
        self._print(Text(""))
        for line in blocks.getvalue().splitlines():
            # Colours of its own on a terminal. Without colours: as for light text on dark ground, like qrencode.
            self._print(Text("    ").append(line, style="#ffffff on #000000"))
        self._print(Text(f"    {uri}\n"))

    def _print_block(self, arrow: str, style: str, lines: list[str]) -> None:
        for index, line in enumerate(lines or ["(empty)"]):
            self._print(Text.assemble("    ", (arrow if index == 0 else " ", style), f" {line}"))

    def _print(self, text: Text) -> None:
        # As it is: a line that a terminal breaks can still be copied whole.
        self._console.print(text, soft_wrap=True)


def _lines(message: Message) -> Iterator[str]:
    given = MessageToDict(message, preserving_proto_field_name=True)
    # A false answer is one, though proto3 does not send it.
    false = {field.name: False for field in message.DESCRIPTOR.fields if field.type == FieldDescriptor.TYPE_BOOL}
    return _lines_of(false | given, "")


def _lines_of(fields: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines_of(value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {_legible(name, value)}"


def _legible(name: str, value: Any) -> str:
    if name == "password":
        return "•" * _SHOWN
    if name in _SECRETS:
        return f"{value[:_SHOWN]}… ({len(value)} characters)"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
