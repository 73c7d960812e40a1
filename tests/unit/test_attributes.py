"""Attributes: the standard claims, each in its shape, every fault at once."""

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.config import AttributeType, CustomAttribute
from authsvc.core.accounts.attributes import STANDARD, VALUE_BYTES, AttributeRules, Attributes
from authsvc.core.fields import has_control_characters
from authsvc.core.names import EmailAddress
from authsvc.domain import EmailKey
from tests.ids import short
from tests.violations import violations_of

EMAIL = EmailAddress("ada@example.com", EmailKey("ada@example.com"))


PLAIN = AttributeRules()


def broken(rules: AttributeRules, values: dict[str, str], **how: Any) -> list[tuple[str, str]]:
    """Return the fields and rules that attributes break."""
    return [(violation.field, violation.rule) for violation in violations_of(rules.parse, values, **how)]


def rules(values: dict[str, str], *, required: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the fields and rules that attributes break where none are declared."""
    return broken(PLAIN, values, required=required)


def test_address_is_kept_apart_from_the_others() -> None:
    """Valid attributes are kept as they are, the address in its two forms."""
    parsed = PLAIN.parse({"email": "ada@example.com", "name": "Ada L."}, required=("email",))
    assert parsed == Attributes(EMAIL, {"name": "Ada L."})


def test_address_is_needed_only_where_it_is_required() -> None:
    """Without one there is a violation, or no address; a given one must be right in any case."""
    assert rules({}, required=("email",)) == [('attributes["email"]', "REQUIRED")]
    assert PLAIN.parse({}) == Attributes(None, {})
    assert rules({"email": ""}) == [('attributes["email"]', "REQUIRED")]
    assert rules({"email": "nonsense"}) == [('attributes["email"]', "EMAIL")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phone_number", "+14155550123"),
        ("locale", "de"),
        ("locale", "zh-Hant-TW"),
        ("locale", "en_GB"),
        ("birthdate", "1815-12-10"),
        ("birthdate", "1815"),
        ("birthdate", "0000-02-29"),
        ("birthdate", "2024-02-29"),
        ("locale", "de-CH-1996"),
        ("locale", "sl-rozaj-biske-1994"),
        ("locale", "en-u-co-phonebk-x-private"),
        ("zoneinfo", "Europe/London"),
        ("zoneinfo", "America/Argentina/Buenos_Aires"),
        ("zoneinfo", "UTC"),
        ("website", "https://example.com/~ada?x=1"),
        ("website", "http://[::1]:8080/"),
        ("picture", "http://example.com/ä.png"),
        ("name", "Ada 🙂 \u202bשלום\u202c"),
        ("nickname", ""),
        ("address", "x" * VALUE_BYTES),
    ],
    ids=short,
)
def test_value_in_its_shape_is_kept(name: str, value: str) -> None:
    """Each attribute takes the values that OpenID Connect means, text in any script."""
    assert PLAIN.parse({name: value}) == Attributes(None, {name: value})


def test_phone_number_is_kept_in_its_normal_form() -> None:
    """What is stored is E.164, however it was written."""
    parsed = PLAIN.parse({"phone_number": "+1 (415) 555-0123"})
    assert parsed == Attributes(None, {"phone_number": "+14155550123"})


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("phone_number", "0415 555", "E164"),
        ("phone_number", "+0123456789", "E164"),
        ("phone_number", "+14155550123\n", "CHARACTERS"),
        ("phone_number", "+١٢٣٤٥٦٧٨", "E164"),
        ("locale", "english please", "LOCALE"),
        ("locale", "", "LOCALE"),
        ("locale", "e", "LOCALE"),
        ("locale", "en-", "LOCALE"),
        ("locale", "en-toolongsubtag", "LOCALE"),
        ("locale", "en-a-b", "LOCALE"),
        ("birthdate", "10.12.1815", "DATE"),
        ("birthdate", "2023-02-29", "DATE"),
        ("birthdate", "1815-13-01", "DATE"),
        ("birthdate", "1815-12-32", "DATE"),
        ("birthdate", "1815-12", "DATE"),
        ("zoneinfo", "Mars/Olympus_Mons", "ZONE"),
        ("zoneinfo", "Europe", "ZONE"),
        ("zoneinfo", "../../etc/passwd", "ZONE"),
        ("zoneinfo", "", "ZONE"),
        ("website", "https://", "URL"),
        ("website", "https:///path", "URL"),
        ("website", "https://[::1", "URL"),
        ("profile", "javascript:alert(1)", "URL"),
        ("website", "https://a b", "URL"),
        ("name", "a\0b", "CHARACTERS"),
        ("name", "two\nlines", "CHARACTERS"),
        ("name", "\uffff", "CHARACTERS"),
        ("address", "x" * (VALUE_BYTES + 1), "LENGTH"),
        ("address", "é" * (VALUE_BYTES // 2 + 1), "LENGTH"),
    ],
    ids=short,
)
def test_value_out_of_shape_is_refused(name: str, value: str, rule: str) -> None:
    """A value that breaks its rule is told by its attribute and the rule."""
    assert rules({name: value}) == [(f'attributes["{name}"]', rule)]


@pytest.mark.parametrize(
    "name", ["admin", "", "EMAIL", "sub", "email_verified", "custom:tier", "name\0", "x" * 60_000], ids=short
)
def test_unknown_attribute_is_refused_without_being_repeated(name: str) -> None:
    """Only the standard claims that a user may set are attributes; the free text of another name is not sent back."""
    assert name not in STANDARD
    assert rules({name: "value"}) == [("attributes", "UNKNOWN")]


def test_all_broken_rules_are_told_at_once() -> None:
    """One violation for each wrong attribute, the address first; one for all unknown ones, or they outgrow a status."""
    values = {"name": "\n", "nonsense": "x", "more of it": "x", "email": "nonsense", "locale": "?"}
    assert rules(values, required=("email",)) == [
        ('attributes["email"]', "EMAIL"),
        ("attributes", "UNKNOWN"),
        ('attributes["locale"]', "LOCALE"),
        ('attributes["name"]', "CHARACTERS"),
    ]


CUSTOM = {
    "custom:team": CustomAttribute(min=2, max=5, user_may_write=True),
    "custom:age": CustomAttribute(type=AttributeType.NUMBER, min=0, max=150, user_may_write=True),
    "custom:fan": CustomAttribute(type=AttributeType.BOOLEAN, user_may_write=True),
    "custom:since": CustomAttribute(type=AttributeType.DATETIME, user_may_write=True),
    "custom:tier": CustomAttribute(),
}
DECLARED = AttributeRules(custom=CUSTOM)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("custom:team", "ab", None),
        ("custom:team", "abcde", None),
        ("custom:team", "éé", None),
        ("custom:team", "a", "LENGTH"),
        ("custom:team", "abcdef", "LENGTH"),
        ("custom:team", "a\nb", "CHARACTERS"),
        ("custom:age", "0", None),
        ("custom:age", "150", None),
        ("custom:age", "149.5", None),
        ("custom:age", "-1", "RANGE"),
        ("custom:age", "150.1", "RANGE"),
        ("custom:age", "1e2", "NUMBER"),
        ("custom:age", "NaN", "NUMBER"),
        ("custom:age", "٣", "NUMBER"),
        ("custom:age", "", "NUMBER"),
        ("custom:fan", "true", None),
        ("custom:fan", "True", "BOOLEAN"),
        ("custom:since", "2030-01-15T12:00:00Z", None),
        ("custom:since", "2030-01-15T12:00:00.5+01:00", None),
        ("custom:since", "2030-02-30T12:00:00Z", "DATETIME"),
        ("custom:since", "2030-01-15T12:00:00", "DATETIME"),
        ("custom:since", "2030-01-15", "DATETIME"),
        ("custom:tier", "gold", "NOT_WRITABLE"),
    ],
    ids=short,
)
def test_custom_values(name: str, value: str, rule: str | None) -> None:
    """A custom attribute takes values of its type and within its bounds, from users only where it says so."""
    if rule is None:
        assert DECLARED.parse({name: value}) == Attributes(None, {name: value})
    else:
        assert broken(DECLARED, {name: value}) == [(f'attributes["{name}"]', rule)]


def test_operators_write_every_declared_attribute() -> None:
    """What users may not write operators may, under the same rules; what is not declared nobody may."""
    parsed = DECLARED.parse({"custom:tier": "gold"}, by_operator=True)
    assert parsed == Attributes(None, {"custom:tier": "gold"})
    assert broken(DECLARED, {"custom:age": "old"}, by_operator=True) == [('attributes["custom:age"]', "NUMBER")]
    assert broken(DECLARED, {"custom:other": "x"}, by_operator=True) == [("attributes", "UNKNOWN")]


def test_required_attributes_must_be_there() -> None:
    """Each required attribute that is absent or empty is told, beside what else is wrong."""
    required = ("email", "name", "custom:team")
    assert broken(DECLARED, {"name": "", "locale": "?"}, required=required) == [
        ('attributes["email"]', "REQUIRED"),
        ('attributes["locale"]', "LOCALE"),
        ('attributes["name"]', "REQUIRED"),
        ('attributes["custom:team"]', "REQUIRED"),
    ]
    given = {"email": "ada@example.com", "name": "Ada", "custom:team": "math"}
    assert DECLARED.parse(given, required=required) == Attributes(EMAIL, {"name": "Ada", "custom:team": "math"})


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(STANDARD)), st.text(max_size=20)), st.text(max_size=100)))
def test_attributes_of_any_text_are_valid_or_break_a_rule(values: dict[str, str]) -> None:
    """No text makes the parser fail, and what passes can be stored: no NUL, no line break, known names alone."""
    if not violations_of(PLAIN.parse, values):
        parsed = PLAIN.parse(values)
        assert parsed.others.keys() <= STANDARD - {"email"}
        assert not any(set(value) & set("\0\r\n") for value in parsed.others.values())


@pytest.mark.parametrize(
    ("text", "has"),
    [("", False), ("plain é 🙂", False), ("\u202e", False), ("\x7f", True), ("\x85", True), ("\r", True)],
)
def test_control_characters_are_found(text: str, has: bool) -> None:
    """Control characters of both sets are found; format characters, which scripts need, are none."""
    assert has_control_characters(text) is has
