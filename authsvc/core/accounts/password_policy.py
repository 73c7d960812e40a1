"""What a new password must be (NIST SP 800-63B §3.1.1): long enough, not common, without the account's own words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

from precis_i18n import get_profile
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authsvc.config import MfaMode, PasswordsSettings
from authsvc.core.accounts.guessing import guesses
from authsvc.core.fields import parse_given, refused
from authsvc.crypto.tokens import new_temporary_password
from authsvc.errors import InvalidFields, InvalidPassword, Violation

# Shorter words would refuse too many good passwords that contain them by chance.
OWN_WORD_CHARACTERS = 3
# Guesses that a password must take where it stands alone, hardly anything in the list being that long: more than common
# words in a row, as in "thisismypassword", fewer than rare ones. Beside a second factor the list decides.
LEAST_GUESSES = 1e9
_OPAQUE_STRING = get_profile("OpaqueString")
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Password:
    """Hold a password in the form in which it is hashed and compared, and as it was typed.

    Hashes that came from other systems may be of what was typed.
    """

    normal: str = field(repr=False)
    typed: str = field(repr=False)


@cache
def _common(min_length: int) -> frozenset[str]:
    """Return common passwords; those that are too short anyway need no memory."""
    return frozenset(entry for common in FREQUENCY_LISTS["passwords"] if len(entry := common.casefold()) >= min_length)


class PasswordPolicy:
    """Read passwords, and check new ones."""

    def __init__(self, *, settings: PasswordsSettings, mfa: MfaMode) -> None:
        self._settings = settings
        self._stands_alone = mfa is not MfaMode.REQUIRED
        self._min_length = settings.min_length if self._stands_alone else settings.min_length_with_mfa
        own = settings.blocklist_file.read_text(encoding="utf-8").splitlines() if settings.blocklist_file else []
        self._blocked = _common(self._min_length).union(entry.strip().casefold() for entry in own)

    def parse(self, text: str, *, field: str) -> Password:
        """Return a password that is compared: as RFC 8265 OpaqueString, in which it is hashed, and as typed.

        Raises:
            InvalidFields: it can be no password.
        """
        longest = self._settings.max_length
        if len(parse_given(text, field=field)) <= longest * 2:
            try:
                normal: str = _OPAQUE_STRING.enforce(text)
            except UnicodeError as error:
                raise refused(field, "CHARACTERS", "must not contain control characters") from error
            if len(normal) <= longest:
                return Password(normal, text)
        raise refused(field, "MAX_LENGTH", f"must have at most {longest} characters")

    def new(self, text: str, *, field: str, own_words: Iterable[str]) -> Password:
        """Return a password that is set.

        Raises:
            InvalidPassword: it can be no password, or every rule that it breaks as a new one.
        """
        try:
            password = self.parse(text, field=field)
        except InvalidFields as error:
            raise InvalidPassword(violations=error.violations) from error
        if broken := self._violations(password.normal, field, own_words):
            raise InvalidPassword(violations=tuple(broken))
        return password

    def make_temporary(self, own_words: Iterable[str]) -> Password:
        """Make a random password that breaks no rule."""
        words = tuple(own_words)
        while True:
            text = new_temporary_password(self._min_length)
            # By chance a short word of the account's may be in it.
            if not self._violations(text, "", words):
                return Password(text, text)

    def _violations(self, password: str, field: str, own_words: Iterable[str]) -> list[Violation]:
        settings, folded = self._settings, password.casefold()

        def lacks(is_one: Callable[[str], bool]) -> bool:
            return not any(map(is_one, password))

        symbol = "must contain a character that is neither letter nor digit"
        own = "must not contain the username, words of the e-mail address or the code"
        common = "must not be a common password, nor consist of repetitions, sequences and common words"
        closed_up, is_long = "".join(folded.split()), len(password) >= self._min_length
        is_guessed = self._stands_alone and is_long and guesses(folded) < LEAST_GUESSES
        rules = (
            (not is_long, "MIN_LENGTH", f"must have at least {self._min_length} characters"),
            (not closed_up, "BLANK", "must not be white space alone"),
            (bool(closed_up) and (is_guessed or folded in self._blocked), "COMMON", common),
            (any(word in folded or word in closed_up for word in own_words), "OWN_WORDS", own),
            (settings.require_lowercase and lacks(str.islower), "LOWERCASE", "must contain a lower-case letter"),
            (settings.require_uppercase and lacks(str.isupper), "UPPERCASE", "must contain an upper-case letter"),
            (settings.require_numbers and lacks(str.isdigit), "NUMBER", "must contain a digit"),
            (settings.require_symbols and password.isalnum(), "SYMBOL", symbol),
        )
        return [Violation(field, rule, description) for is_broken, rule, description in rules if is_broken]


def own_words(username: str, email: str | None) -> frozenset[str]:
    """Return the words of an account that its password must not contain, case-folded.

    They are the username, and the words of the e-mail address but for its top-level domain.
    """
    local, _, domain = (email or "").casefold().rpartition("@")
    words = {username.casefold(), *_WORDS.findall(local), *_WORDS.findall(domain.rpartition(".")[0])}
    return frozenset(word for word in words if len(word) >= OWN_WORD_CHARACTERS)
