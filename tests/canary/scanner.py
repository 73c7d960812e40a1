"""Look for secrets where none may be: whole, in parts, and in the usual encodings."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from uuid import UUID

# So many characters of a secret in a row give it away; a shorter secret only does as a whole.
PART = 16
# Numbers in which a short code turns up by chance.
_NOISE = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+\.\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Secret:
    """Hold one value that must not be seen, and what it is."""

    kind: str
    value: str

    def is_in(self, text: str) -> bool:
        """Tell whether a text gives the secret away, in any case of letters."""
        text = text.casefold()
        if len(self.value) < PART:
            legible = _NOISE.sub(" ", text)
            return bool(re.search(rf"(?<![0-9a-z]){re.escape(self.value.casefold())}(?![0-9a-z])", legible))
        return any(part in text for part in self._parts())

    def _parts(self) -> Iterable[str]:
        raw = self.value.encode()
        for form in (self.value, raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
            folded = form.casefold()
            for start in range(len(folded) - PART + 1):
                yield folded[start : start + PART]


class Secrets:
    """Collect secrets, and find them in what others get to see."""

    def __init__(self) -> None:
        self._secrets: set[Secret] = set()

    def __iter__(self) -> Iterator[Secret]:
        return iter(self._secrets)

    @property
    def kinds(self) -> set[str]:
        """Return the kinds that were collected."""
        return {secret.kind for secret in self._secrets}

    def add(self, kind: str, value: str) -> None:
        """Remember a value; nothing is no secret."""
        if value:
            self._secrets.add(Secret(kind, value))

    def kinds_in_text(self, text: str) -> set[str]:
        """Return the kinds of secret that a text gives away."""
        return {secret.kind for secret in self._secrets if secret.is_in(text)}

    def kinds_in_values(self, values: Iterable[object], *, allowed: frozenset[str] = frozenset()) -> set[str]:
        """Return the kinds of secret in values from a database, but for those that are allowed there."""
        texts: list[str] = []
        numbers: set[int] = set()
        raw = bytearray()
        for value in _flat(values):
            match value:
                case bytes():
                    raw += value + b"\n"
                case bool() | None | float() | datetime() | date() | time() | UUID():
                    # What has no room for a secret; a code in a time is one by chance.
                    continue
                case int():
                    numbers.add(value)
                case _:
                    texts.append(str(value))
        found = self.kinds_in_text("\n".join(texts)) | {
            secret.kind
            for secret in self._secrets
            if (secret.value.encode() in raw if len(secret.value) < PART else secret.is_in(raw.decode("latin-1")))
            # Small numbers count things.
            or (secret.value.isdecimal() and int(secret.value) > 99_999 and int(secret.value) in numbers)
        }
        return found - allowed


def _flat(values: Iterable[object]) -> Iterable[object]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
