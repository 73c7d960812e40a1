"""Attributes of an account: the standard claims of OpenID Connect Core §5.1, and the custom ones of the settings."""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from urllib.parse import urlsplit

from authsvc.config import AttributeType, CustomAttribute, Settings
from authsvc.core.fields import REQUIRED, Fields, has_control_characters, refused
from authsvc.core.names import EmailAddress, parse_email, parse_phone
from authsvc.domain import User
from authsvc.errors import Violation

VALUE_BYTES = 2048
# Two of the standard attributes are in use only once a code that was sent to them is given.
CONFIRMED_BY_CODE = ("email", "phone_number")
NO_CUSTOM: Mapping[str, CustomAttribute] = MappingProxyType({})

# RFC 5646 §2.1, without the tags that are grandfathered; OpenID Connect knows of `_` for `-`.
_LANGUAGE_TAG = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})-([0-9]{2}))?")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?")
# RFC 3339 §5.6; what it names must exist besides.
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Hold valid attributes, the e-mail address apart from the others."""

    email: EmailAddress | None
    others: dict[str, str]


class AttributeRules:
    """Hold what the settings say of attributes, and read attributes by it."""

    def __init__(
        self,
        *,
        custom: Mapping[str, CustomAttribute] = NO_CUSTOM,
        required: Collection[str] = (),
        needs_email: bool = False,
    ) -> None:
        """Take the declared attributes, those that accounts must have, and whether users need an address for a code."""
        self._custom = custom
        self.known = STANDARD | custom.keys()
        self.read_only = frozenset(name for name, declared in custom.items() if not declared.user_may_write)
        self.required = tuple(required)
        # What users must give, and may not remove.
        self.required_of_users = ("email", *required) if needs_email else self.required

    @classmethod
    def of(cls, settings: Settings) -> AttributeRules:
        """Return the rules of the settings."""
        custom, accounts = settings.attributes.custom, settings.accounts
        return cls(custom=custom, required=accounts.required_attributes, needs_email=accounts.confirm_sign_up)

    def missing(self, user: User) -> list[str]:
        """Return the required attributes that an account lacks."""
        has = user.attributes.keys() | ({"email"} if user.email else set())
        return [name for name in self.required if name not in has]

    def parse(
        self, values: Mapping[str, str], *, required: Collection[str] = (), by_operator: bool = False
    ) -> Attributes:
        """Return attributes in the form in which they are stored.

        Raises:
            InvalidFields: every rule that they break; `required` must be there.
        """
        fields = Fields()
        has_email = "email" in values or "email" in required
        email = fields.take(parse_email, values.get("email", "")) if has_email else None
        given = {name: value for name, value in values.items() if name != "email"}
        # Once, whatever their number, and not repeating them: an unknown name is as free as a value.
        text = "must have only the attributes of OpenID Connect Core section 5.1, and those that the settings declare"
        fields.require(given.keys() <= self.known, Violation("attributes", "UNKNOWN", text))
        others = {
            name: fields.take(self._value, name, given[name], by_operator=by_operator)
            for name in sorted(self.known & given.keys())
        }
        for name in required:
            fields.require(name == "email" or bool(given.get(name)), Violation(field_of(name), *REQUIRED))
        fields.check()
        return Attributes(email.value if email else None, {name: other.value for name, other in others.items()})

    def _value(self, name: str, value: str, *, by_operator: bool) -> str:
        field, declared = field_of(name), self._custom.get(name)
        if name in self.read_only and not by_operator:
            raise refused(field, "NOT_WRITABLE", "must not be written by users")
        if len(value.encode(errors="replace")) > VALUE_BYTES:
            raise refused(field, "LENGTH", f"must have at most {VALUE_BYTES} bytes")
        if has_control_characters(value):
            raise refused(field, "CHARACTERS", "must not contain control characters")
        if declared is not None:
            return _parse_custom(field, value, declared)
        if name == "phone_number":
            return parse_phone(value)
        if name in _SHAPES:
            fits, rule, description = _SHAPES[name]
            if not fits(value):
                raise refused(field, rule, description)
        return value


def field_of(name: str) -> str:
    """Return the path of an attribute in a request."""
    return f'attributes["{name}"]'


def _parse_custom(field: str, value: str, declared: CustomAttribute) -> str:
    low, high = declared.min, declared.max
    match declared.type:
        case AttributeType.STRING:
            if (low is not None and len(value) < low) or (high is not None and len(value) > high):
                raise refused(field, "LENGTH", f"must have {_bounds(low, high)} characters")
        case AttributeType.NUMBER:
            if not _NUMBER.fullmatch(value):
                raise refused(field, "NUMBER", "must be a number like 12 or -0.5")
            if (low is not None and Decimal(value) < low) or (high is not None and Decimal(value) > high):
                raise refused(field, "RANGE", f"must be {_bounds(low, high)}")
        case AttributeType.BOOLEAN:
            if value not in ("true", "false"):
                raise refused(field, "BOOLEAN", "must be true or false")
        case AttributeType.DATETIME:
            if not _is_datetime(value):
                raise refused(field, "DATETIME", "must be a time like 2030-01-15T12:00:00Z")
    return value


def _bounds(low: int | None, high: int | None) -> str:
    bounds = (("at least", low), ("at most", high))
    return " and ".join(f"{what} {bound}" for what, bound in bounds if bound is not None)


def _is_language_tag(value: str) -> bool:
    return _LANGUAGE_TAG.fullmatch(value.lower().replace("_", "-")) is not None


def _is_birthdate(value: str) -> bool:
    match = _DATE.fullmatch(value)
    if match is None:
        return False
    year, month, day = (int(part or 1) for part in match.groups())
    try:
        # OpenID Connect has the year 0000 stand for one that is not told: a leap year, so that 29 February passes.
        date(year or 2000, month, day)
    except ValueError:
        return False
    return True


def _is_datetime(value: str) -> bool:
    try:
        return _DATETIME.fullmatch(value) is not None and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


@functools.cache
def _time_zones() -> frozenset[str]:
    # Reads a folder of files: once.
    return frozenset(zoneinfo.available_timezones())


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(map(str.isspace, value))
    except ValueError:
        return False


_WEB_ADDRESS = (_is_web_address, "URL", "must be a web address")
_SHAPES: dict[str, tuple[Callable[[str], bool], str, str]] = {
    "locale": (_is_language_tag, "LOCALE", "must be a language tag like en-GB"),
    "birthdate": (_is_birthdate, "DATE", "must be a date like 1815-12-10"),
    "zoneinfo": (lambda value: value in _time_zones(), "ZONE", "must be the name of a time zone like Europe/London"),
    "profile": _WEB_ADDRESS,
    "picture": _WEB_ADDRESS,
    "website": _WEB_ADDRESS,
}
_FREE = ("address", "family_name", "gender", "given_name", "middle_name", "name", "nickname", "preferred_username")
STANDARD = frozenset((*CONFIRMED_BY_CODE, *_SHAPES, *_FREE))
