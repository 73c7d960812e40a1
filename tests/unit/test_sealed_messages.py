"""What waits sealed in the outbox, between releases."""

from __future__ import annotations

import json
from dataclasses import fields
from uuid import UUID

import pytest

from authsvc.core.messages.kinds import (
    KINDS,
    AttributeCode,
    CodeMessage,
    EmailChanged,
    EmailTaken,
    Invitation,
    Message,
    MfaChange,
    MfaChanged,
    Notice,
    PasswordChanged,
    Recipient,
    RecoveryCodeUsed,
    RefreshTokenReused,
    ResetPasswordCode,
    SignInCode,
    SignUpCode,
)
from authsvc.core.messages.sealed import from_json, seal, to_json, unseal
from authsvc.crypto.sealing import KeyRing, MasterKey, UnsealError
from authsvc.delivery.mail.samples import samples
from authsvc.domain import MailId, Medium, UserId

ADA = Recipient(
    to="ada@example.com",
    username="ada",
    user_id=UserId(UUID("8a1b2c3d-0000-4000-8000-00000000abcd")),
    locale="de-AT",
)
# How each JSON of a former release begins, and what it goes on with: with one class for all messages.
FORMER_ADA = (
    b'{"to": "ada@example.com", "username": "ada", "user_id": "8a1b2c3d-0000-4000-8000-00000000abcd", "locale": "de-AT"'
)
FORMER: list[tuple[str, bytes, Message]] = [
    ("SIGN_UP_CODE", b', "code": "481516"}', SignUpCode("481516")),
    ("RESET_PASSWORD_CODE", b', "code": "48151623"}', ResetPasswordCode("48151623")),
    ("PASSWORD_CHANGED", b"}", PasswordChanged()),
    ("MFA_CHANGED", b', "change": "RESET"}', MfaChanged(MfaChange.RESET)),
    ("MFA_CHANGED", b', "change": "RECOVERY_CODES_MADE"}', MfaChanged(MfaChange.RECOVERY_CODES_MADE)),
    ("REFRESH_TOKEN_REUSED", b"}", RefreshTokenReused()),
    ("EMAIL_TAKEN", b"}", EmailTaken()),
    ("ATTRIBUTE_CODE", b', "code": "481516"}', AttributeCode("481516")),
    ("SIGN_IN_CODE", b', "code": "481516"}', SignInCode("481516")),
    ("RECOVERY_CODE_USED", b', "recovery_codes_left": 0}', RecoveryCodeUsed(0)),
    ("RECOVERY_CODE_USED", b', "recovery_codes_left": 9}', RecoveryCodeUsed(9)),
    ("EMAIL_CHANGED", b', "new_email": "n***@e***"}', EmailChanged("n***@e***")),
    ("EMAIL_CHANGED", b"}", EmailChanged()),
    ("INVITATION", b', "temporary_password": "violet-otter-42"}', Invitation("violet-otter-42")),
]


def test_kinds_are_the_former_ones() -> None:
    """Every kind that a former release knows is known by its name, in its order before new ones, named by its class."""
    former = list(dict.fromkeys(kind for kind, _, _ in FORMER))
    assert list(KINDS)[: len(former)] == former
    assert all(KINDS[kind] is type(message) for kind, _, message in FORMER)
    assert all(message.kind == kind for kind, _, message in FORMER)


@pytest.mark.parametrize(("kind", "rest", "message"), FORMER)
def test_messages_of_a_former_release_are_read(kind: str, rest: bytes, message: Message) -> None:
    """What a former release has left in the outbox is read to the last field."""
    assert from_json(FORMER_ADA + rest, kind=kind) == (message, ADA)


@pytest.mark.parametrize(("kind", "rest", "message"), FORMER)
def test_a_former_release_reads_what_is_written(kind: str, rest: bytes, message: Message) -> None:
    """What is written is what a former release would have written, to the letter, under the same kind."""
    assert (message.kind, to_json(message, ADA)) == (kind, FORMER_ADA + rest)


def test_what_is_not_given_is_left_out() -> None:
    """Fields that a message does not use are not written: a former release would choke on those that it lacks."""
    bob = Recipient(to="bob@example.com", username="bob")
    assert json.loads(to_json(MfaChanged(), bob)) == {"to": "bob@example.com", "username": "bob"}
    assert from_json(b'{"to": "bob@example.com", "username": "bob", "user_id": ""}', kind="MFA_CHANGED") == (
        MfaChanged(),
        bob,
    )


@pytest.mark.parametrize(("kind", "rest", "message"), FORMER)
def test_messages_of_a_later_release_are_read(kind: str, rest: bytes, message: Message) -> None:
    """A message from a later release, with fields that nobody knows here, is read without them."""
    assert from_json(FORMER_ADA + b', "colour": "green"' + rest, kind=kind) == (message, ADA)


def test_what_cannot_be_a_message_is_none() -> None:
    """An unknown kind, and a message that lacks its reader or its secret, are refused."""
    with pytest.raises(ValueError, match="unknown kind"):
        from_json(FORMER_ADA + b"}", kind="FROM_THE_FUTURE")
    for kind, plaintext in (("MFA_CHANGED", b'{"username": "ada"}'), ("SIGN_IN_CODE", FORMER_ADA + b"}")):
        with pytest.raises(TypeError):
            from_json(plaintext, kind=kind)


def test_a_message_is_sealed_to_its_row() -> None:
    """A message comes back as it went, and from no other row."""
    ring = KeyRing(keys=(MasterKey.generate(),))
    row, other = MailId(UUID(int=1)), MailId(UUID(int=2))
    sealed = seal(ring, Invitation("violet-otter-42"), ADA, message_id=row)
    assert unseal(ring, sealed, kind="INVITATION", message_id=row) == (Invitation("violet-otter-42"), ADA)
    assert b"otter" not in sealed
    with pytest.raises(UnsealError):
        unseal(ring, sealed, kind="INVITATION", message_id=other)


@pytest.mark.parametrize("kind", KINDS.values())
def test_nothing_shows_itself(kind: type[Message]) -> None:
    """Neither repr nor str has any of the values, a code or a temporary password least of all."""
    for sample in samples(kind):
        for text in (repr(sample.message), str(sample.message), f"{sample.message}"):
            assert text == f"{kind.__name__}(…)"
    assert repr(ADA) == str(ADA) == "Recipient(…)"


@pytest.mark.parametrize("kind", KINDS.values())
def test_codes_and_notices_go_by_sms(kind: type[Message]) -> None:
    """Every message can go by mail; those with a code, which is their highlight, and notices by SMS too."""
    is_code = issubclass(kind, CodeMessage)
    is_short = is_code or issubclass(kind, Notice)
    assert kind.media == ({Medium.EMAIL, Medium.SMS} if is_short else {Medium.EMAIL})
    secrets = [field.name for field in fields(kind) if field.name in {"code", "temporary_password"}]
    assert secrets == ([kind.highlighted] if kind.highlighted else [])
    assert is_code == (kind.highlighted == "code")
