"""Usernames, addresses, phone numbers and codes in the form they are compared in: normalise, validate, then use."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from precis_i18n import get_profile

from authsvc.core.fields import parse_given, refused
from authsvc.domain import EmailKey, UserId, UsernameKey

USERNAME_CHARACTERS = 128
EMAIL_CHARACTERS = 254
PHONE_CHARACTERS = 64
_USERNAME_KEY = get_profile("UsernameCaseMapped")
_USERNAME_DISPLAY = get_profile("UsernameCasePreserved")


@dataclass(frozen=True, slots=True)
class Username:
    """Hold a name as its owner writes it and as names are told apart (RFC 8265 §3.3)."""

    display: str
    key: UsernameKey

    @classmethod
    def of_id(cls, user_id: UserId) -> Username:
        """Return the name of whom an address names: the id, for the address is one attribute, and may change."""
        return cls(str(user_id), UsernameKey(str(user_id)))


def parse_username(text: str, *, field: str = "username") -> Username:
    """Normalise a username.

    Raises:
        InvalidFields: it breaks a rule.
    """
    # A longer text can't get short enough, and costs time to normalise.
    if len(parse_given(text, field=field)) <= USERNAME_CHARACTERS * 4:
        try:
            display = _USERNAME_DISPLAY.enforce(text)
            key = _USERNAME_KEY.enforce(text)
        except UnicodeError as error:
            description = "must be a username of RFC 8265: letters, digits and symbols, no spaces"
            raise refused(field, "CHARACTERS", description) from error
        # Of the forms that are stored: a wide one (U+FF20) is an @ in them.
        if "@" in key or "@" in display:
            raise refused(field, "AT_SIGN", "must not contain @")
        if len(display) <= USERNAME_CHARACTERS and len(key) <= USERNAME_CHARACTERS:
            return Username(display, UsernameKey(key))
    raise refused(field, "LENGTH", f"must have at most {USERNAME_CHARACTERS} characters")


def username_prefix_key(text: str) -> str:
    """Return the beginning of usernames as their keys have it."""
    try:
        return str(_USERNAME_KEY.enforce(text))
    except UnicodeError:
        # The beginning of a name need not be one: half of a right-to-left name, or a mark that its letter follows.
        return unicodedata.normalize("NFC", text.lower())


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """Hold an address as mail is sent to it and as addresses are told apart."""

    address: str
    key: EmailKey


def parse_email(text: str, *, field: str = 'attributes["email"]') -> EmailAddress:
    """Normalise an e-mail address; no name server is asked.

    Raises:
        InvalidFields: it is none.
    """
    if len(parse_given(text, field=field)) > EMAIL_CHARACTERS:
        raise refused(field, "LENGTH", f"must have at most {EMAIL_CHARACTERS} characters")
    try:
        address = validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise refused(field, "EMAIL", "must be an e-mail address") from error
    return EmailAddress(address, _email_key(address))


def email_prefix_key(text: str) -> str:
    """Return addresses, or the beginning of some, as their keys have them.

    Lower case, and no more: where case folding makes ss of ß, it makes one of two domains (RFC 5891 §5.4).
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())


def _email_key(address: str) -> EmailKey:
    return EmailKey(email_prefix_key(address))


def mask_email(address: str) -> str:
    """Return an address fit to be shown: `j***@e***`; the same however its letters are written."""
    local, _, domain = _email_key(address).rpartition("@")
    return f"{local[:1]}***@{domain[:1]}***"


# Beyond digits what people write between them, `+49 (0) 151 …` included.
_PHONE = re.compile(r"\+[0-9 ()./-]{1,40}")


def parse_phone(text: str, *, field: str = 'attributes["phone_number"]') -> str:
    """Return a phone number in E.164.

    Raises:
        InvalidFields: it is of no country's plan.
    """
    parse_given(text, field=field)
    # An input method may have made the digits wide.
    written = unicodedata.normalize("NFKC", text).strip(" ") if len(text) <= PHONE_CHARACTERS else ""
    if _PHONE.fullmatch(written):
        try:
            number = phonenumbers.parse(written)
            if phonenumbers.is_valid_number(number):
                return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        except phonenumbers.NumberParseException:
            pass
    raise refused(field, "E164", "must be a phone number with its country, like +14155550123")


def mask_phone(number: str) -> str:
    """Return a number fit to be shown: `+*******1234`, whatever its length."""
    return f"+*******{number[-4:]}"


_CODE = re.compile(r"[0-9]{4,12}")


def parse_code(text: str, *, field: str) -> str:
    """Return a code's digits without the spaces that people type and apps show.

    Raises:
        InvalidFields: it can be no code.
    """
    digits = parse_given("".join(text.split()), field=field)
    if not _CODE.fullmatch(digits):
        raise refused(field, "DIGITS", "must be a code of digits")
    return digits
