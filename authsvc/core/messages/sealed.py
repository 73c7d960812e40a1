"""How messages wait in the outbox: sealed JSON, readable by the former release and by the next."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TypeVar
from uuid import UUID

from authsvc.core.messages.kinds import KINDS, Message, Recipient
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import MailId, UserId

_Part = TypeVar("_Part", Message, Recipient)


def seal(ring: KeyRing, message: Message, recipient: Recipient, *, message_id: MailId) -> bytes:
    """Return what waits in the outbox."""
    return ring.seal(Purpose.MAIL, to_json(message, recipient), bound_to=str(message_id))


def unseal(ring: KeyRing, sealed: bytes, *, kind: str, message_id: MailId) -> tuple[Message, Recipient]:
    """Return what waited in the outbox.

    Raises:
        UnsealError: it was sealed under a key that is not in the ring, or for another row.
        ValueError: the kind is not known here.
        TypeError: something is missing.
    """
    return from_json(ring.open(Purpose.MAIL, sealed, bound_to=str(message_id)), kind=kind)


def to_json(message: Message, recipient: Recipient) -> bytes:
    """Return the JSON that is sealed. What is not given is left out: a former release need not know of it."""
    given = {
        field.name: value
        for part in (recipient, message)
        for field in fields(part)
        if (value := getattr(part, field.name)) != field.default
    }
    return json.dumps(given, default=str).encode()


def from_json(plaintext: bytes, *, kind: str) -> tuple[Message, Recipient]:
    """Read what `to_json` made, here or in another release.

    Raises:
        ValueError: the kind is not known here.
        TypeError: something is missing.
    """
    if kind not in KINDS:
        raise ValueError("unknown kind of message")
    given = json.loads(plaintext)
    if user_id := given.pop("user_id", ""):
        given["user_id"] = UserId(UUID(user_id))
    return _part(KINDS[kind], given), _part(Recipient, given)


def _part(of: type[_Part], given: dict[str, Any]) -> _Part:
    return of(**{field.name: given[field.name] for field in fields(of) if field.name in given})
