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


# What became of an account; the mail says more.
NOTICES = {
    "de": {
        "PASSWORD_CHANGED": "Ihr Passwort wurde geändert. Waren Sie das nicht, setzen Sie es jetzt zurück.",
        "MFA_CHANGED": "Ihre zweistufige Anmeldung wurde geändert. Waren Sie das nicht, ändern Sie Ihr Passwort.",
        "REFRESH_TOKEN_REUSED": "Sie wurden zur Sicherheit abgemeldet: Eine Sitzung lief an zwei Stellen.",
        "RECOVERY_CODE_USED": "Ein Wiederherstellungscode wurde verwendet. Waren Sie das nicht, handeln Sie jetzt.",
        "EMAIL_CHANGED": "Die E-Mail-Adresse Ihres Kontos wurde geändert. Waren Sie das nicht, handeln Sie jetzt.",
        "NEW_SIGN_IN": "Neue Anmeldung bei Ihrem Konto. Waren Sie das nicht, ändern Sie jetzt Ihr Passwort.",
        "ACCOUNT_LOCKED": "Zu viele falsche Passwörter oder Codes an Ihrem Konto. Bekannte Geräte geht das nichts an.",
    },
    "en": {
        "PASSWORD_CHANGED": "Your password was changed. If it was not you, reset it now.",
        "MFA_CHANGED": "Your two-step sign-in was changed. If it was not you, change your password now.",
        "REFRESH_TOKEN_REUSED": "You were signed out for safety: a session went on in two places.",
        "RECOVERY_CODE_USED": "A recovery code was used. If it was not you, change your password now.",
        "EMAIL_CHANGED": "The e-mail address of your account was changed. If it was not you, act now.",
        "NEW_SIGN_IN": "Your account was signed in to from a new device. If it was not you, change your password now.",
        "ACCOUNT_LOCKED": "Too many wrong passwords or codes at your account. Devices you have used before go on.",
    },
    "fr": {
        "PASSWORD_CHANGED": "Votre mot de passe a été modifié. Si ce n'était pas vous, réinitialisez-le.",
        "MFA_CHANGED": "Votre connexion en deux étapes a été modifiée. Si ce n'était pas vous, agissez vite.",
        "REFRESH_TOKEN_REUSED": "Vous avez été déconnecté par sécurité : une session continuait à deux endroits.",
        "RECOVERY_CODE_USED": "Un code de récupération a été utilisé. Si ce n'était pas vous, agissez vite.",
        "EMAIL_CHANGED": "L'adresse e-mail de votre compte a été modifiée. Si ce n'était pas vous, agissez vite.",
        "NEW_SIGN_IN": "Connexion à votre compte depuis un nouvel appareil. Si ce n'était pas vous, agissez vite.",
        "ACCOUNT_LOCKED": "Trop de mots de passe ou de codes faux sur votre compte. Vos appareils connus y échappent.",
    },
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
        kind = outgoing.message.kind
        texts = {tag: words[kind] for tag, words in NOTICES.items() if kind in words} or self._texts
        text = next(texts[tag] for tag in tags if tag in texts)
        body = {
            "id": str(outgoing.message_id),
            "kind": kind,
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
