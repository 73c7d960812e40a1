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

    def __init__(self, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class PermanentFailure(NotTaken):
    """Tell, without addresses, secrets or content, why this message will never be taken."""
