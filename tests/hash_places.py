"""Which methods of the services take a place in the hash queue, seen as they do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from authsvc.crypto.password_hash import PasswordHasher
from authsvc.rpc.admin import AdminServicer
from authsvc.rpc.auth import AuthServicer
from authsvc.rpc.hashing import is_waiting_for_hash

SERVICERS = (AuthServicer, AdminServicer)


def undeclared(methods: dict[str, Callable[..., Any]]) -> list[str]:
    """Return the methods that don't say that they wait for a hash."""
    return [name for name, method in methods.items() if not is_waiting_for_hash(method)]


@pytest.fixture(autouse=True)
def hash_places(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Callable[..., Any]]]:
    """Note the methods that take a place during a test; whatever the test is of, each must be declared."""
    taken: dict[str, Callable[..., Any]] = {}
    place = PasswordHasher.place

    def noted(hasher: PasswordHasher) -> Any:
        if (method := _served_in(inspect.currentframe())) is not None:
            taken[method.__qualname__] = method
        return place(hasher)

    monkeypatch.setattr(PasswordHasher, "place", noted)
    yield taken
    assert undeclared(taken) == []


def _served_in(frame: FrameType | None) -> Callable[..., Any] | None:
    """Return the method that called its way to a frame."""
    while frame is not None:
        servicer = frame.f_locals.get("self")
        if isinstance(servicer, SERVICERS):
            method: Callable[..., Any] = getattr(servicer, frame.f_code.co_name)
            return method
        frame = frame.f_back
    return None
