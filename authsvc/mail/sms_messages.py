"""What each SMS says: an outbox row and its parameters become the JSON that the webhook gets (docs/hooks.md)."""

from __future__ import annotations

import json
from datetime import datetime

from authsvc.config import SmsSettings
from authsvc.core.messages.notices import MailKind, MailParameters
from authsvc.domain import MailId
from authsvc.mail.wording import CODE_PLACEHOLDER, DEFAULT_LANGUAGE, tags_of

# In letters of GSM 03.38 alone: one of another alphabet would halve what fits into one SMS.
TEXTS = {
    "de": "Ihr Bestätigungscode lautet {####}",
    "en": "Your verification code is {####}",
    "fr": "Votre code de vérification est {####}",
}


class SmsMessages:
    """Render SMS."""

    def __init__(self, settings: SmsSettings, default_locale: str = DEFAULT_LANGUAGE) -> None:
        # By value: a settings file may well spell the default out.
        is_changed = settings.code_message != SmsSettings.model_fields["code_message"].default
        message = settings.code_message.strip()
        self._texts = dict.fromkeys(TEXTS, message) if is_changed else TEXTS
        self._default_locale = default_locale

    def render(
        self,
        kind: MailKind,
        parameters: MailParameters,
        *,
        mail_id: MailId,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> bytes:
        """Return the body of the POST, alike at every try.

        Raises:
            ValueError: there is no code, and so nothing to say.
        """
        if not parameters.code:
            raise ValueError("no SMS of this kind")
        text = self._text(parameters.locale)
        message = {
            "id": str(mail_id),
            "kind": kind,
            "to": parameters.to,
            "text": text.replace(CODE_PLACEHOLDER, parameters.code),
            # Beside the text, for gateways that insist on templates of their own, or read the code aloud.
            "code": parameters.code,
            "locale": parameters.locale,
            "created_at": _rfc3339(created_at),
            "expires_at": _rfc3339(expires_at) if expires_at else None,
        }
        return json.dumps(message, ensure_ascii=False).encode()

    def _text(self, locale: str) -> str:
        tags = [*tags_of(locale), *tags_of(self._default_locale), DEFAULT_LANGUAGE]
        return next(self._texts[tag] for tag in tags if tag in self._texts)


def _rfc3339(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
