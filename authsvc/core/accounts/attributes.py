"""Attributes of an account: the standard claims of OpenID Connect Core §5.1, and the custom ones of the settings."""

from __future__ import annotations

import functools
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from urllib.parse import urlsplit

from authsvc.config import AttributeType, CustomAttribute
from authsvc.core.names import EmailAddress, parse_email, parse_phone
from authsvc.errors import Violation

VALUE_BYTES = 2048
STANDARD = frozenset(
    {
        "address",
        "birthdate",
        "email",
        "family_name",
        "gender",
        "given_name",
        "locale",
        "middle_name",
        "name",
        "nickname",
        "phone_number",
        "picture",
        "preferred_username",
        "profile",
        "website",
        "zoneinfo",
    }
)
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


def parse_attributes(
    values: Mapping[str, str],
    *,
    email_required: bool,
    required: Collection[str] = (),
    custom: Mapping[str, CustomAttribute] = NO_CUSTOM,
    by_operator: bool = False,
) -> Attributes | list[Violation]:
    """Validate attributes, or list every rule that they break.

    `required` must be there. `custom` are those that the settings declare; users write only the ones that are theirs.
    """
    violations: list[Violation] = []
    email: EmailAddress | None = None
    if email_required or "email" in required or "email" in values:
        parsed = parse_email(values.get("email", ""))
        if isinstance(parsed, Violation):
            violations.append(parsed)
        else:
            email = parsed
    given = {name: value for name, value in values.items() if name != "email"}
    # Once, whatever their number, and not repeating them: an unknown name is as free as a value.
    if not given.keys() <= STANDARD | custom.keys():
        description = (
            "must have only the attributes of OpenID Connect Core section 5.1, and those that the settings declare"
        )
        violations.append(Violation("attributes", "UNKNOWN", description))
    others: dict[str, str] = {}
    for name in sorted((STANDARD | custom.keys()) & given.keys()):
        value = _parse(name, given[name], custom.get(name), by_operator=by_operator)
        if isinstance(value, Violation):
            violations.append(value)
        else:
            others[name] = value
    violations += [
        Violation(field_of(name), "REQUIRED", "must not be empty")
        for name in required
        if name != "email" and not given.get(name)
    ]
    return violations or Attributes(email, others)


def field_of(name: str) -> str:
    """Return the path of an attribute in a request."""
    return f'attributes["{name}"]'


def _parse(name: str, value: str, declared: CustomAttribute | None, *, by_operator: bool) -> str | Violation:
    field = field_of(name)
    if declared is not None and not declared.user_may_write and not by_operator:
        return Violation(field, "NOT_WRITABLE", "must not be written by users")
    if len(value.encode(errors="replace")) > VALUE_BYTES:
        return Violation(field, "LENGTH", f"must have at most {VALUE_BYTES} bytes")
    if has_control_characters(value):
        return Violation(field, "CHARACTERS", "must not contain control characters")
    if declared is not None:
        return _parse_custom(field, value, declared)
    if name == "phone_number":
        return parse_phone(value)
    if name in _SHAPES:
        fits, rule, description = _SHAPES[name]
        return value if fits(value) else Violation(field, rule, description)
    return value


def _parse_custom(field: str, value: str, declared: CustomAttribute) -> str | Violation:
    low, high = declared.min, declared.max
    match declared.type:
        case AttributeType.STRING:
            if (low is not None and len(value) < low) or (high is not None and len(value) > high):
                return Violation(field, "LENGTH", f"must have {_bounds(low, high)} characters")
        case AttributeType.NUMBER:
            if not _NUMBER.fullmatch(value):
                return Violation(field, "NUMBER", "must be a number like 12 or -0.5")
            if (low is not None and Decimal(value) < low) or (high is not None and Decimal(value) > high):
                return Violation(field, "RANGE", f"must be {_bounds(low, high)}")
        case AttributeType.BOOLEAN:
            if value not in ("true", "false"):
                return Violation(field, "BOOLEAN", "must be true or false")
        case AttributeType.DATETIME:
            if not _is_datetime(value):
                return Violation(field, "DATETIME", "must be a time like 2030-01-15T12:00:00Z")
    return value


def _bounds(low: int | None, high: int | None) -> str:
    return " and ".join(
        [*([f"at least {low}"] if low is not None else []), *([f"at most {high}"] if high is not None else [])]
    )


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


def _is_time_zone(value: str) -> bool:
    return value in _time_zones()


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
    "zoneinfo": (_is_time_zone, "ZONE", "must be the name of a time zone like Europe/London"),
    "profile": _WEB_ADDRESS,
    "picture": _WEB_ADDRESS,
    "website": _WEB_ADDRESS,
}


def has_control_characters(text: str) -> bool:
    """Tell whether a text has control, surrogate or unassigned characters, line breaks among them."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text)
