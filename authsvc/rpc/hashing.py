"""Which methods wait for a password hash: said at each of them, for who must know how long a call takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_MARK = "waits_for_hash"

_Method = TypeVar("_Method", bound=Callable[..., object])


def waits_for_hash(method: _Method) -> _Method:
    """Mark a servicer's method that takes a place in the hash queue."""
    setattr(method, _MARK, True)
    return method


def is_waiting_for_hash(method: object) -> bool:
    """Tell whether a method was marked."""
    return getattr(method, _MARK, False)
