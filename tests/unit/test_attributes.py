"""Attributes: the standard claims, each in its shape, every fault at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.attributes import STANDARD, VALUE_BYTES, Attributes, has_control_characters, parse_attributes
from authsvc.core.names import EmailAddress
from authsvc.errors import Violation
from tests.ids import short

EMAIL = EmailAddress("ada@example.com", "ada@example.com")


def rules(values: dict[str, str], *, email_required: bool = False) -> list[tuple[str, str]]:
    """Return the fields and rules that attributes break."""
    parsed = parse_attributes(values, email_required=email_required)
    assert isinstance(parsed, list), parsed
    return [(violation.field, violation.rule) for violation in parsed]


def test_address_is_kept_apart_from_the_others() -> None:
    """Valid attributes are kept as they are, the address in its two forms."""
    parsed = parse_attributes({"email": "ada@example.com", "name": "Ada L."}, email_required=True)
    assert parsed == Attributes(EMAIL, {"name": "Ada L."})


def test_address_is_needed_only_where_it_is_required() -> None:
    """Without one there is a violation, or no address; a given one must be right in any case."""
    assert rules({}, email_required=True) == [('attributes["email"]', "REQUIRED")]
    assert parse_attributes({}, email_required=False) == Attributes(None, {})
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
        ("website", "https://example.com/~ada?x=1"),
        ("picture", "http://example.com/ä.png"),
        ("name", "Ada 🙂 \u202bשלום\u202c"),
        ("nickname", ""),
        ("address", "x" * VALUE_BYTES),
    ],
    ids=short,
)
def test_value_in_its_shape_is_kept(name: str, value: str) -> None:
    """Each attribute takes the values that OpenID Connect means, text in any script."""
    assert parse_attributes({name: value}, email_required=False) == Attributes(None, {name: value})


def test_phone_number_is_kept_in_its_normal_form() -> None:
    """What is stored is E.164, however it was written."""
    parsed = parse_attributes({"phone_number": "+1 (415) 555-0123"}, email_required=False)
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
        ("birthdate", "10.12.1815", "DATE"),
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
    assert rules(values, email_required=True) == [
        ('attributes["email"]', "EMAIL"),
        ("attributes", "UNKNOWN"),
        ('attributes["locale"]', "LOCALE"),
        ('attributes["name"]', "CHARACTERS"),
    ]


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(STANDARD)), st.text(max_size=20)), st.text(max_size=100)))
def test_attributes_of_any_text_are_valid_or_break_a_rule(values: dict[str, str]) -> None:
    """No text makes the parser fail, and what passes can be stored: no NUL, no line break, known names alone."""
    parsed = parse_attributes(values, email_required=False)
    if isinstance(parsed, Attributes):
        assert parsed.others.keys() <= STANDARD - {"email"}
        assert not any(set(value) & set("\0\r\n") for value in parsed.others.values())
    else:
        assert all(isinstance(violation, Violation) for violation in parsed)
        assert parsed


@pytest.mark.parametrize(
    ("text", "has"),
    [("", False), ("plain é 🙂", False), ("\u202e", False), ("\x7f", True), ("\x85", True), ("\r", True)],
)
def test_control_characters_are_found(text: str, has: bool) -> None:
    """Control characters of both sets are found; format characters, which scripts need, are none."""
    assert has_control_characters(text) is has
