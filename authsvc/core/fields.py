"""The fields of a request: each is parsed by itself, and every broken rule is told at once.

A parser returns what a text means or raises InvalidFields (a password's InvalidPassword) with what is wrong with it; so
it serves alone as well as here. Parsing comes after the call was counted.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar
from uuid import UUID

from authsvc.errors import InvalidFields, InvalidPassword, Violation

HANDLE_CHARACTERS = 512
# Rule and description of a field that must be there.
REQUIRED = ("REQUIRED", "must not be empty")

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Choice = TypeVar("_Choice", bound=enum.StrEnum)


@dataclass(frozen=True, slots=True)
class Field(Generic[_T]):
    """Hold what one field means; `Fields.check` keeps a broken one from use.

    `valid` is None if it is broken, for rules that look at two fields; else what it means.
    """

    valid: _T | None

    @property
    def value(self) -> _T:
        """Return what the field means, once all were checked."""
        if self.valid is None:
            raise AssertionError("a broken field was not checked")
        return self.valid


class Fields:
    """Collect the broken rules of one request."""

    def __init__(self) -> None:
        self._invalid: list[Violation] = []
        self._weak: list[Violation] = []

    def take(self, parse: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Field[_T]:
        """Parse a field, and note what is wrong with it."""
        try:
            return Field(parse(*args, **kwargs))
        except InvalidPassword as error:
            self._weak += error.violations
        except InvalidFields as error:
            self._invalid += error.violations
        return Field(None)

    def refuse(self, *violations: Violation) -> None:
        """Note broken rules."""
        self._invalid += violations

    def require(self, holds: bool, violation: Violation) -> None:
        """Note a broken rule, unless it holds."""
        if not holds:
            self._invalid.append(violation)

    def check(self) -> None:
        """See that nothing was noted.

        Raises:
            InvalidFields: something was, a weak password too.
            InvalidPassword: nothing but a weak password.
        """
        if self._invalid:
            # Each once: of a list many entries may break one rule.
            raise InvalidFields(violations=tuple(dict.fromkeys((*self._invalid, *self._weak))))
        if self._weak:
            raise InvalidPassword(violations=tuple(self._weak))


def refused(field: str, rule: str, description: str) -> InvalidFields:
    """Return the error of one broken rule, to be raised."""
    return InvalidFields(violations=(Violation(field, rule, description),))


def parse_given(text: str, *, field: str) -> str:
    """Return a text that may be any but the empty one.

    Raises:
        InvalidFields: it is empty.
    """
    if not text:
        raise refused(field, *REQUIRED)
    return text


def parse_handle(text: str, *, field: str) -> str:
    """Return an opaque handle that may be one of ours.

    Raises:
        InvalidFields: it is empty, or too long.
    """
    if len(parse_given(text, field=field)) > HANDLE_CHARACTERS:
        raise refused(field, "LENGTH", f"must have at most {HANDLE_CHARACTERS} characters")
    return text


def parse_uuid(text: str, *, field: str) -> UUID:
    """Return the UUID that a field must be.

    Raises:
        InvalidFields: it is none.
    """
    try:
        return UUID(parse_given(text, field=field))
    except ValueError as error:
        raise refused(field, "UUID", "must be a UUID") from error


def parse_choice(text: str, kind: type[_Choice], *, field: str) -> _Choice | None:
    """Return the value of a closed set that a field names; None if it is empty.

    Raises:
        InvalidFields: the set has no such value.
    """
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise refused(field, "UNKNOWN", "must be a known value") from error


def check_line(text: str, most: int, *, field: str, rule: str) -> None:
    """See that a text is one line of at most so many characters.

    Raises:
        InvalidFields: it is none.
    """
    if len(text) > most or has_control_characters(text):
        raise refused(field, rule, f"must have at most {most} characters, none of them a control character")


def has_control_characters(text: str) -> bool:
    """Tell whether a text has control, surrogate or unassigned characters, line breaks among them."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text)
