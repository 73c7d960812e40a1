"""Attributes of an account: the standard claims of OpenID Connect Core §5.1 that a user may set."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

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
_SHAPES = {
    "locale": (re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*"), "LOCALE", "must be a language tag like en-GB"),
    "birthdate": (re.compile(r"[0-9]{4}(-[0-9]{2}-[0-9]{2})?"), "DATE", "must be a date like 1815-12-10"),
    "profile": (re.compile(r"https?://\S+"), "URL", "must be a web address"),
    "picture": (re.compile(r"https?://\S+"), "URL", "must be a web address"),
    "website": (re.compile(r"https?://\S+"), "URL", "must be a web address"),
}


@dataclass(frozen=True, slots=True)
class Attributes:
    """Hold valid attributes, the e-mail address apart from the others."""

    email: EmailAddress | None
    others: dict[str, str]


def parse_attributes(values: Mapping[str, str], *, email_required: bool) -> Attributes | list[Violation]:
    """Validate attributes, or list every rule that they break."""
    violations: list[Violation] = []
    email: EmailAddress | None = None
    if email_required or "email" in values:
        parsed = parse_email(values.get("email", ""))
        if isinstance(parsed, Violation):
            violations.append(parsed)
        else:
            email = parsed
    others = {name: value for name, value in values.items() if name != "email"}
    # Once, whatever their number, and not repeating them: an unknown name is as free as a value.
    if not others.keys() <= STANDARD:
        description = "must have only the attributes of OpenID Connect Core section 5.1"
        violations.append(Violation("attributes", "UNKNOWN", description))
    for name in sorted(STANDARD & others.keys()):
        faults = _violations(name, others[name])
        if name == "phone_number" and not faults:
            number = parse_phone(others[name])
            if isinstance(number, Violation):
                faults = [number]
            else:
                others[name] = number
        violations += faults
    return violations or Attributes(email, others)


def _violations(name: str, value: str) -> list[Violation]:
    field = f'attributes["{name}"]'
    if len(value.encode()) > VALUE_BYTES:
        return [Violation(field, "LENGTH", f"must have at most {VALUE_BYTES} bytes")]
    if has_control_characters(value):
        return [Violation(field, "CHARACTERS", "must not contain control characters")]
    pattern, rule, description = _SHAPES.get(name, (None, "", ""))
    if pattern is not None and not pattern.fullmatch(value):
        return [Violation(field, rule, description)]
    return []


def has_control_characters(text: str) -> bool:
    """Tell whether a text has control, surrogate or unassigned characters, line breaks among them."""
    return any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in text)
