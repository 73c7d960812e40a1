"""Say why a message was not handed over, and whether another try is worth it."""

from __future__ import annotations

from datetime import timedelta


class NotTaken(Exception):
    """Tell why a message was not taken. `answer` is the other side's, if it gave one: it may quote what it was told."""

    answer = ""


class TemporaryFailure(NotTaken):
    """Tell, without addresses, secrets or content, why the message was not taken; later it may be.

    `retry_after` is what the other side asked to wait, if it did.
    """

    retry_after: timedelta | None = None


class PermanentFailure(NotTaken):
    """Tell, without addresses, secrets or content, why this message will never be taken."""
