"""Pages of lists: where they are cut, and tokens of the next one."""

from __future__ import annotations

import base64

import pytest

from authsvc.core.pages import LARGEST_PAGE, PAGE_SIZE, TOKEN_CHARACTERS, Pager, PageRequest
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.errors import InvalidFields


def rules_broken_by(ring: KeyRing, request: PageRequest) -> list[tuple[str, str]]:
    """Return field and rule of what is wrong with a request."""
    try:
        Pager(ring=ring, request=request, of="numbers").position(1)
    except InvalidFields as error:
        return [(violation.field, violation.rule) for violation in error.violations]
    return []


@pytest.mark.parametrize(
    ("request_", "broken"),
    [
        (PageRequest(), []),
        (PageRequest(LARGEST_PAGE), []),
        (PageRequest(LARGEST_PAGE + 1), [("page_size", "RANGE")]),
        (PageRequest(-1), [("page_size", "RANGE")]),
        (PageRequest(0, "x" * TOKEN_CHARACTERS), [("page_token", "PAGE_TOKEN")]),
        (PageRequest(-1, "x" * (TOKEN_CHARACTERS + 1)), [("page_size", "RANGE"), ("page_token", "LENGTH")]),
    ],
)
def test_bounds(ring: KeyRing, request_: PageRequest, broken: list[tuple[str, str]]) -> None:
    """A page has up to 100 entries, 50 by default, and a token up to 2,048 characters."""
    assert rules_broken_by(ring, request_) == broken


def test_a_list_is_cut_into_pages(ring: KeyRing) -> None:
    """Each page goes on behind the one before; the last one has no token."""
    numbers, found, token = list(range(2 * PAGE_SIZE + 1)), [], ""
    sizes = []
    while True:
        pager = Pager(ring=ring, request=PageRequest(0, token), of="numbers")
        position = pager.position(1)
        first = int(position[0]) + 1 if position else 0
        page = pager.page(numbers[first : first + pager.limit], lambda last: (last,))
        found += page.entries
        sizes.append(len(page.entries))
        token = page.next_page_token
        if not token:
            break
    assert (found, sizes) == (numbers, [PAGE_SIZE, PAGE_SIZE, 1])


def test_a_token_is_what_it_was(ring: KeyRing) -> None:
    """A token that a former release gave is good: parts with a space between, sealed for the list, without padding."""
    sealed = ring.seal(Purpose.PAGE, b"2030-01-15T12:00:00+00:00 the last part", bound_to="events")
    token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    pager = Pager(ring=ring, request=PageRequest(1, token), of="events")
    assert pager.position(2) == ["2030-01-15T12:00:00+00:00", "the last part"]
