"""Usernames, addresses and codes: one form to compare, and a rule by name for what has none."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.names import (
    EMAIL_CHARACTERS,
    USERNAME_CHARACTERS,
    EmailAddress,
    Username,
    mask_email,
    mask_phone,
    parse_code,
    parse_email,
    parse_phone,
    parse_username,
)
from authsvc.domain import EmailKey, UsernameKey
from tests.ids import short
from tests.violations import violations_of


def key_of(text: str) -> str:
    """Return the key of a username that is one."""
    return parse_username(text).key


def rule_of(parse: Callable[..., object], text: str) -> str:
    """Return the name of the rule that a text breaks."""
    (violation,) = violations_of(parse, text)
    return violation.rule


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "aDA"),
        ("ＡＤＡ", "ada"),  # full width
        ("Ångström", "ångström"),
        ("cafe\u0301", "café"),  # NFC
        ("Σίσυφος", "σίσυφος"),
        ("A\u0308", "ä"),
    ],
)
def test_names_that_look_alike_are_one_name(one: str, other: str) -> None:
    """Letter case, width and composition don't tell names apart (RFC 8265 §3.3)."""
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(("one", "other"), [("ada", "ada1"), ("a.da", "ada"), ("résumé", "resume"), ("ss", "ß")])
def test_names_that_differ_are_two(one: str, other: str) -> None:
    """Accents, dots and sharp s tell names apart."""
    assert key_of(one) != key_of(other)


def test_display_form_is_as_its_owner_writes_it() -> None:
    """The display form keeps letter case and changes composition alone."""
    parsed = parse_username("Cafe\u0301-Ada")
    assert parsed == Username(display="Café-Ada", key=UsernameKey("café-ada"))


@pytest.mark.parametrize(
    "text",
    [
        "two words",
        " ada",
        "ada\n",
        "a\0b",
        "tab\t",
        "\u202eada",  # right-to-left override
        "\u200bada",  # zero-width space
        "emoji\U0001f642\ufe0f",
        "\ufdfa",  # a compatibility ligature
        "\u0660\u06f0",  # two kinds of Arabic digits
        "a\u05d0",  # two directions
        "\ud7ff\uffff",
        "l\u00b7",  # a middle dot between no two l
    ],
)
def test_text_that_is_no_username_of_the_rfc_is_refused(text: str) -> None:
    """Spaces, control and format characters, compatibility characters and mixed directions make no username."""
    assert rule_of(parse_username, text) == "CHARACTERS"


def test_length_is_that_of_the_normalised_name() -> None:
    """A name has 1 to 128 characters, however many it took to write them."""
    assert key_of("a" * USERNAME_CHARACTERS) == "a" * USERNAME_CHARACTERS
    assert key_of("e\u0301" * USERNAME_CHARACTERS) == "é" * USERNAME_CHARACTERS
    for length in (USERNAME_CHARACTERS + 1, USERNAME_CHARACTERS * 4 + 1, 60_000):
        assert rule_of(parse_username, "a" * length) == "LENGTH"
    assert rule_of(parse_username, "") == "REQUIRED"


def test_name_with_an_at_sign_is_refused() -> None:
    """A username can't be taken for an address."""
    assert rule_of(parse_username, "ada@example.com") == "AT_SIGN"
    # Full width, which normalising makes an @ of.
    assert rule_of(parse_username, "ada＠example.com") == "AT_SIGN"


def test_violation_is_about_the_field_that_was_named_and_repeats_no_value() -> None:
    """A violation carries the field's path, and nothing of what was submitted."""
    (violation,) = violations_of(parse_username, "two words", field="username_of_another")
    assert violation.field == "username_of_another"
    assert "two words" not in violation.description


@given(st.text(max_size=200))
def test_every_text_is_a_username_or_breaks_a_rule(text: str) -> None:
    """No text makes the parser fail, and a normalised name stays as it is when it is given again."""
    if not violations_of(parse_username, text):
        parsed = parse_username(text)
        assert key_of(parsed.display) == parsed.key
        assert key_of(parsed.key) == parsed.key
        assert 1 <= len(parsed.key) <= USERNAME_CHARACTERS
        assert "\0" not in parsed.display + parsed.key


@pytest.mark.parametrize(
    ("text", "address", "key"),
    [
        ("Ada@Example.COM", "Ada@example.com", "ada@example.com"),
        ("ada@bücher.example", "ada@bücher.example", "ada@bücher.example"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example", "ada@bücher.example"),
        ("a.b+c@example.com", "a.b+c@example.com", "a.b+c@example.com"),
    ],
)
def test_address_is_compared_without_case_and_kept_with_it(text: str, address: str, key: str) -> None:
    """Mail goes to the address as written; who else has it is decided without letter case."""
    assert parse_email(text) == EmailAddress(address, EmailKey(key))


def test_domains_that_differ_are_two() -> None:
    """Sharp s and ss make two domains (RFC 5891 §5.4): mail of one must not go to the other."""
    sharp, double = parse_email("joe@straße-x.example"), parse_email("joe@strasse-x.example")
    assert sharp.key != double.key
    assert parse_email("JOE@STRASSE-X.example").key == double.key
    assert parse_email("Joe@Straße-X.example").key == sharp.key


@pytest.mark.parametrize(
    "text",
    [
        "ada",
        "ada@",
        "@example.com",
        "ada@@example.com",
        "ada@example..com",
        "ada @example.com",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: eve@example.com",
        "Ada <ada@example.com>",
        "ada@example.com,eve@example.com",
        "ada\0@example.com",
        "ada@[127.0.0.1]",
        '"a b"@example.com',
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Lists, display names, line breaks and everything else that mail could go astray by are refused."""
    assert rule_of(parse_email, text) == "EMAIL"


def test_missing_and_endless_addresses_are_refused() -> None:
    """An address is there, and has at most 254 characters."""
    assert rule_of(parse_email, "") == "REQUIRED"
    assert rule_of(parse_email, "a" * (EMAIL_CHARACTERS + 1)) == "LENGTH"


@given(st.one_of(st.emails(), st.text(max_size=100), st.text(max_size=50).map(lambda text: f"{text}@example.com")))
def test_every_text_is_an_address_or_breaks_a_rule(text: str) -> None:
    """No text makes the parser fail, and a normalised address stays as it is when it is given again."""
    if not violations_of(parse_email, text):
        parsed = parse_email(text)
        assert parse_email(parsed.address) == parsed
        assert not set(parsed.address) & set("\0\r\n<>, ")
        assert parsed.address.count("@") == 1


@pytest.mark.parametrize(
    ("address", "masked"),
    [("ada@example.com", "a***@e***"), ("a@b.c", "a***@b***"), ("ünal@öbb.at", "ü***@ö***")],
)
def test_masked_address_shows_two_letters(address: str, masked: str) -> None:
    """A mask shows the first letters of both parts and neither the length nor the top-level domain."""
    assert mask_email(address) == masked


@pytest.mark.parametrize("text", ["123456", "123 456", " 123456 ", "12 34 56", "123\u00a0456", "123\t456\n"])
def test_code_is_read_through_its_spaces(text: str) -> None:
    """Spaces that people type or apps show don't make a code wrong."""
    assert parse_code(text, field="totp_code") == "123456"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "REQUIRED"),
        ("  ", "REQUIRED"),
        ("123", "DIGITS"),
        ("1" * 13, "DIGITS"),
        ("12345a", "DIGITS"),
        ("-12345", "DIGITS"),
        ("١٢٣٤٥٦", "DIGITS"),
        ("１２３４５６", "DIGITS"),
        ("123456\0", "DIGITS"),
        ("9" * 60_000, "DIGITS"),
    ],
    ids=short,
)
def test_what_can_be_no_code_is_refused(text: str, rule: str) -> None:
    """A code is 4 to 12 ASCII digits."""
    (violation,) = violations_of(parse_code, text, field="totp_code")
    assert (violation.field, violation.rule) == ("totp_code", rule)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+14155550123", "+14155550123"),
        ("+1 (415) 555-0123", "+14155550123"),
        ("+49 (0) 151 12345678", "+4915112345678"),
        (" +33.6.12.34.56.78 ", "+33612345678"),
        ("＋１４１５５５５０１２３", "+14155550123"),
        # Italian numbers keep their zero.
        ("+39 06 6982", "+39066982"),
    ],
)
def test_phone_number_is_normalised(text: str, number: str) -> None:
    """A number as people write it becomes E.164, and that stays as it is."""
    assert parse_phone(text) == number
    assert parse_phone(number) == number


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "REQUIRED"),
        (" ", "E164"),
        ("+", "E164"),
        # Of which country?
        ("0151 12345678", "E164"),
        ("4155550123", "E164"),
        ("tel:+14155550123", "E164"),
        ("+14155550123;ext=5", "E164"),
        ("+14155550123 x5", "E164"),
        ("+1415555012", "E164"),
        ("+141555501234", "E164"),
        ("+999123456789", "E164"),
        ("+10000000000", "E164"),
        ("+1415555٠١٢٣", "E164"),
        ("+14155550123\0", "E164"),
        ("+1 415 555 0123\n", "E164"),
        ("+" + "9" * 60_000, "E164"),
    ],
    ids=short,
)
def test_what_is_no_phone_number_is_refused(text: str, rule: str) -> None:
    """A number is of a country's plan, in ASCII digits behind its country."""
    assert rule_of(parse_phone, text) == rule


@given(st.text() | st.from_regex(r"\+[0-9 ]{3,20}"))
def test_any_text_is_a_phone_number_or_none(text: str) -> None:
    """What is read is in E.164 and read again as the same."""
    if not violations_of(parse_phone, text):
        parsed = parse_phone(text)
        assert re.fullmatch(r"\+[1-9][0-9]{1,14}", parsed)
        assert parse_phone(parsed) == parsed


def test_masked_number_shows_four_digits() -> None:
    """A mask shows the last four digits and not how many there are."""
    assert mask_phone("+14155550123") == "+*******0123"
    assert mask_phone("+4915112345678") == "+*******5678"
