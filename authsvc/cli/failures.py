"""How a command fails: with words for whoever called it, and an exit code; never with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click


class Failed(click.ClickException):
    """End the command with code 1."""


class WrongSettings(click.ClickException):
    """End the command with code 2; the message has a line for each setting that is wrong."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print a line for each fault."""
        for line in self.message.splitlines():
            click.echo(f"Error: {line}", file=file, err=True)


@contextmanager
def expected(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors that tell an operator what is wrong into the end of the command."""
    try:
        yield
    except errors as error:
        raise Failed(told(error)) from error


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Tell of a file that can't be read or written, and end the command."""
    try:
        yield
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


def told(error: BaseException) -> str:
    """Return the words of an error and of what caused it, each once."""
    words: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause) or type(cause).__name__
        if not any(text in said for said in words):
            words.append(text)
        cause = cause.__cause__
    return ": ".join(words)
