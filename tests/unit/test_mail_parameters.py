"""What waits sealed in the outbox, between releases."""

from __future__ import annotations

import json

from authsvc.core.messages.notices import MailParameters, MfaChange

WHOLE = MailParameters(
    to="ada@example.com",
    username="ada",
    locale="de-AT",
    code="481516",
    temporary_password="violet-otter-42",
    new_email="n***@e***",
    change=MfaChange.RESET,
    recovery_codes_left=0,
)


def test_parameters_come_back_as_they_went() -> None:
    """What is written is read again, to the last field."""
    assert MailParameters.from_bytes(WHOLE.to_bytes()) == WHOLE


def test_parameters_of_a_former_release_are_read() -> None:
    """Mail that a former release has left, without the newer fields, is read with their defaults."""
    old = b'{"to": "ada@example.com", "username": "ada", "locale": "", "code": "481516"}'
    assert MailParameters.from_bytes(old) == MailParameters(to="ada@example.com", username="ada", code="481516")


def test_parameters_of_a_later_release_are_read() -> None:
    """Mail from a later release, with fields that nobody knows here, is read without them."""
    new = json.dumps(json.loads(WHOLE.to_bytes()) | {"colour": "green"}).encode()
    assert MailParameters.from_bytes(new) == WHOLE


def test_a_former_release_reads_what_does_not_need_the_newer_fields() -> None:
    """Fields that a mail does not use are not written: a former release would choke on them."""
    written = json.loads(MailParameters(to="ada@example.com", username="ada", code="481516").to_bytes())
    assert written == {"to": "ada@example.com", "username": "ada", "code": "481516"}


def test_parameters_do_not_show_themselves() -> None:
    """Neither repr nor str has any of the values, a temporary password least of all."""
    for text in (repr(WHOLE), str(WHOLE), f"{WHOLE}"):
        assert text == "MailParameters(…)"
