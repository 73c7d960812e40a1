"""SMS as they come by the webhook: checked like a receiver should, and made a message that a mailbox can keep.

Times are not checked: the catcher is for trials, and a test may have set the clock of the service.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default as modern_policy

from authsvc.crypto.webhook_signature import is_signed


class SmsRefused(Exception):
    """Tell the sender why nothing was taken, with the HTTP status of it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Sms:
    """Hold one SMS: the number, and the message to keep."""

    to: str
    content: bytes


def read_sms(keys: Sequence[str], timestamp: str, signature: str, body: bytes) -> Sms:
    """Read what the webhook was posted.

    Raises:
        SmsRefused: not signed under one of the keys, or no SMS.
    """
    if not keys:
        raise SmsRefused(503, "the catcher was given no key to check signatures with")
    if not is_signed(keys, timestamp, body, signature):
        raise SmsRefused(401, "not signed under the key of the catcher")
    try:
        posted = json.loads(body)
        to, message_id, text = (str(posted[name]) for name in ("to", "id", "text"))
        message = EmailMessage(policy=modern_policy)
        message["To"] = to
        message["Message-ID"] = f"<{message_id}>"
        message.set_content(text)
        return Sms(to, message.as_bytes())
    except (ValueError, KeyError, TypeError) as error:
        raise SmsRefused(400, "no SMS") from error
