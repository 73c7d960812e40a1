"""Requests of pages, in whichever message they come."""

from __future__ import annotations

from typing import Protocol

from authsvc.core.pages import PageRequest


class _Paged(Protocol):
    page_size: int
    page_token: str


def page_of(request: _Paged) -> PageRequest:
    """Return which page a request asks for."""
    return PageRequest(request.page_size, request.page_token)
