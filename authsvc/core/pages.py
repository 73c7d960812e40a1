"""Pages of lists: which is asked for, what it holds, and the token of the next one.

A token says where a list goes on, sealed, so that it is nobody's business and can't be made up. A page is what comes
after the last entry of the page before, by the columns that the list is ordered by and that tell its entries apart.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from authsvc.core.fields import Fields, refused
from authsvc.crypto.sealing import KeyRing, Purpose, UnsealError
from authsvc.errors import Violation

PAGE_SIZE = 50
LARGEST_PAGE = 100
# More than the longest name or address makes of one.
TOKEN_CHARACTERS = 2048
# Between the parts of a position; the last part may have it too.
_BETWEEN = " "

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """Hold some entries of a list and the token of the next page, empty on the last."""

    entries: list[_T]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Hold which page is asked for, as sent: 0 and an empty token stand for the default size and the first page."""

    size: int = 0
    token: str = ""


def check_page(request: PageRequest) -> None:
    """See that the request of a page keeps the bounds; whether its token is one of the list, `Pager` tells.

    Raises:
        InvalidFields: every broken rule at once.
    """
    fields = Fields()
    range_ = Violation("page_size", "RANGE", f"must be from 1 to {LARGEST_PAGE}, or 0")
    fields.require(0 <= request.size <= LARGEST_PAGE, range_)
    length = Violation("page_token", "LENGTH", f"must have at most {TOKEN_CHARACTERS} characters")
    fields.require(len(request.token) <= TOKEN_CHARACTERS, length)
    fields.check()


class Pager:
    """Cut one list into pages."""

    def __init__(self, *, ring: KeyRing, request: PageRequest, of: str) -> None:
        """Take which page is asked for; `of` names the list, and whose it is: a token is good for no other.

        Raises:
            InvalidFields: the request is out of bounds.
        """
        check_page(request)
        self._ring = ring
        self._of = of
        self._size = request.size or PAGE_SIZE
        self._token = request.token

    @property
    def limit(self) -> int:
        """Return how many entries to read: one more than the page has tells whether another page follows."""
        return self._size + 1

    def position(self, parts: int) -> list[str] | None:
        """Return the parts of the position that the list goes on from; None for its begin.

        Raises:
            InvalidFields: the token is not one of this list.
        """
        if not self._token:
            return None
        try:
            sealed = base64.urlsafe_b64decode(self._token + "=" * (-len(self._token) % 4))
            return self._ring.open(Purpose.PAGE, sealed, bound_to=self._of).decode().split(_BETWEEN, parts - 1)
        except (UnsealError, binascii.Error, ValueError) as error:
            raise refused("page_token", "PAGE_TOKEN", "must be next_page_token of the page before") from error

    def page(self, found: Sequence[_T], position: Callable[[_T], tuple[object, ...]]) -> Page[_T]:
        """Return the page of what was read; `position` tells what a list goes on from behind an entry."""
        entries = list(found[: self._size])
        if len(found) <= self._size:
            return Page(entries, "")
        text = _BETWEEN.join(map(str, position(entries[-1])))
        sealed = self._ring.seal(Purpose.PAGE, text.encode(), bound_to=self._of)
        return Page(entries, base64.urlsafe_b64encode(sealed).decode().rstrip("="))
