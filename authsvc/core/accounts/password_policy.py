"""What a new password must be (NIST SP 800-63B §3.1.1): long enough, not common, without the account's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from precis_i18n import get_profile
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authsvc.config import MfaMode, PasswordsSettings
from authsvc.crypto.tokens import new_temporary_password
from authsvc.errors import Violation

# Shorter words would refuse too many good passwords that contain them by chance.
OWN_WORD_CHARACTERS = 3
_OPAQUE_STRING = get_profile("OpaqueString")
_WORDS = re.compile(r"\w+")


class PasswordPolicy:
    """Normalise passwords and check new ones."""

    def __init__(self, settings: PasswordsSettings, mfa: MfaMode) -> None:
        self._settings = settings
        self._min_length = settings.min_length_with_mfa if mfa is MfaMode.REQUIRED else settings.min_length
        own = settings.blocklist_file.read_text(encoding="utf-8").splitlines() if settings.blocklist_file else []
        candidates = (entry.strip().casefold() for entry in (*FREQUENCY_LISTS["passwords"], *own))
        # Entries that are too short anyway need no memory.
        self._blocked = frozenset(entry for entry in candidates if len(entry) >= self._min_length)

    def normalise(self, password: str, *, field: str) -> str | Violation:
        """Return the password as RFC 8265 OpaqueString, in which it is hashed and compared; or say why it is none."""
        if not password:
            return Violation(field, "REQUIRED", "must not be empty")
        if len(password) > self._settings.max_length * 2:
            return self._too_long(field)
        try:
            normal: str = _OPAQUE_STRING.enforce(password)
        except UnicodeError:
            return Violation(field, "CHARACTERS", "must not contain control characters")
        return normal if len(normal) <= self._settings.max_length else self._too_long(field)

    def violations(self, password: str, *, field: str, own_words: Iterable[str]) -> list[Violation]:
        """List every rule that a normalised new password breaks."""
        settings = self._settings
        folded = password.casefold()
        rules = (
            (len(password) < self._min_length, "MIN_LENGTH", f"must have at least {self._min_length} characters"),
            (folded in self._blocked, "COMMON", "must not be a common password"),
            (
                any(word in folded for word in own_words),
                "OWN_WORDS",
                "must not contain the username or words of the e-mail address",
            ),
            (
                settings.require_lowercase and not any(c.islower() for c in password),
                "LOWERCASE",
                "must contain a lower-case letter",
            ),
            (
                settings.require_uppercase and not any(c.isupper() for c in password),
                "UPPERCASE",
                "must contain an upper-case letter",
            ),
            (settings.require_numbers and not any(c.isdigit() for c in password), "NUMBER", "must contain a digit"),
            (
                settings.require_symbols and all(c.isalnum() for c in password),
                "SYMBOL",
                "must contain a character that is neither letter nor digit",
            ),
        )
        return [Violation(field, rule, description) for is_broken, rule, description in rules if is_broken]

    def make_temporary(self, own_words: Iterable[str]) -> str:
        """Make a random password that breaks no rule."""
        words = tuple(own_words)
        while True:
            password = new_temporary_password(self._min_length)
            # By chance a short word of the account's may be in it.
            if not self.violations(password, field="", own_words=words):
                return password

    def new(self, password: str, *, field: str, own_words: Iterable[str]) -> str | list[Violation]:
        """Return a new password as it is hashed, or list every rule that it breaks."""
        normal = self.normalise(password, field=field)
        if isinstance(normal, Violation):
            return [normal]
        return self.violations(normal, field=field, own_words=own_words) or normal

    def _too_long(self, field: str) -> Violation:
        return Violation(field, "MAX_LENGTH", f"must have at most {self._settings.max_length} characters")


def own_words(username: str, email: str | None) -> frozenset[str]:
    """Return the words of an account that its password must not contain, case-folded.

    They are the username, and the words of the e-mail address but for its top-level domain.
    """
    local, _, domain = (email or "").casefold().rpartition("@")
    words = {username.casefold(), *_WORDS.findall(local), *_WORDS.findall(domain.rpartition(".")[0])}
    return frozenset(word for word in words if len(word) >= OWN_WORD_CHARACTERS)
