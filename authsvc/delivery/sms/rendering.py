"""What each SMS says: a message becomes the JSON that the webhook gets (docs/hooks.md)."""

from __future__ import annotations

import json
from datetime import datetime

from authsvc.config import SmsSettings
from authsvc.delivery.carriers import Outgoing
from authsvc.delivery.words import CODE_PLACEHOLDER, is_changed, tags_for
from authsvc.domain import Medium

# In letters of GSM 03.38 alone: one of another alphabet would halve what fits into one SMS.
TEXTS = {
    "de": "Ihr Bestätigungscode lautet {####}",
    "en": "Your verification code is {####}",
    "fr": "Votre code de vérification est {####}",
}


class SmsRenderer:
    """Render SMS."""

    def __init__(self, *, settings: SmsSettings, default_locale: str) -> None:
        own = settings.code_message.strip()
        self._texts = dict.fromkeys(TEXTS, own) if is_changed(settings, "code_message") else TEXTS
        self._default_locale = default_locale

    def render(self, outgoing: Outgoing) -> bytes:
        """Return the body of the POST, alike at every try.

        Raises:
            ValueError: the message is none for an SMS.
        """
        recipient, code = outgoing.recipient, outgoing.message.highlight
        if Medium.SMS not in outgoing.message.media:
            raise ValueError("no SMS of this kind")
        tags = tags_for(recipient.locale, self._default_locale)
        text = next(self._texts[tag] for tag in tags if tag in self._texts)
        body = {
            "id": str(outgoing.message_id),
            "kind": outgoing.message.kind,
            "to": recipient.to,
            "text": text.replace(CODE_PLACEHOLDER, code),
            # Beside the text, for gateways that insist on templates of their own, or read the code aloud.
            "code": code,
            "locale": recipient.locale,
            "created_at": _rfc3339(outgoing.created_at),
            "expires_at": _rfc3339(outgoing.expires_at) if outgoing.expires_at else None,
        }
        return json.dumps(body, ensure_ascii=False).encode()


def _rfc3339(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
