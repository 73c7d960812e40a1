"""The fields of a request, taken one by one: every broken rule is noted before any is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar
from uuid import UUID

from authsvc.errors import InvalidFields, Violation

HANDLE_CHARACTERS = 512

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Fields:
    """Collect the violations of one request."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def take(self, parsed: _T | Violation, instead: _T) -> _T:
        """Return a parsed value; note a violation and return `instead`, which `check` then keeps from use."""
        if isinstance(parsed, Violation):
            self._violations.append(parsed)
            return instead
        return parsed

    def refuse(self, field: str, rule: str, description: str) -> None:
        """Note that a field breaks a rule."""
        self._violations.append(Violation(field, rule, description))

    def check(self) -> None:
        """Raise InvalidFields if anything was noted."""
        if self._violations:
            raise InvalidFields(violations=tuple(self._violations))


def told(parse: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | Violation:
    """Return what a parser returns, or the rule that the text breaks."""
    try:
        return parse(*args, **kwargs)
    except InvalidFields as error:
        return error.violations[0]


def handle(text: str, field: str) -> str | Violation:
    """Return an opaque handle that may be one of ours."""
    if not text:
        return Violation(field, "REQUIRED", "must not be empty")
    if len(text) > HANDLE_CHARACTERS:
        return Violation(field, "LENGTH", f"must have at most {HANDLE_CHARACTERS} characters")
    return text


def uuid_of(text: str, field: str) -> UUID | Violation:
    """Return the UUID that a field must be."""
    if not text:
        return Violation(field, "REQUIRED", "must not be empty")
    try:
        return UUID(text)
    except ValueError:
        return Violation(field, "UUID", "must be a UUID")
