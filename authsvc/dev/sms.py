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

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class PostedSms:
    """Hold what the webhook was posted: time and signature from the headers, and the body."""

    timestamp: str
    signature: str
    body: bytes


def read_sms(keys: Sequence[str], posted: PostedSms) -> tuple[str, bytes]:
    """Return the number and the message to keep of what the webhook was posted.

    Raises:
        SmsRefused: not signed under one of the keys, or no SMS.
    """
    if not keys:
        raise SmsRefused("the catcher was given no key to check signatures with", status=503)
    if not is_signed(keys, posted.timestamp, posted.body, header=posted.signature):
        raise SmsRefused("not signed under the key of the catcher", status=401)
    try:
        told = json.loads(posted.body)
        to, message_id, text = (str(told[name]) for name in ("to", "id", "text"))
        message = EmailMessage(policy=modern_policy)
        message["To"] = to
        message["Message-ID"] = f"<{message_id}>"
        message.set_content(text)
        return to, message.as_bytes()
    except (ValueError, KeyError, TypeError) as error:
        raise SmsRefused("no SMS", status=400) from error
