"""Fields: each is parsed by itself, and what is wrong with any of them is told at once."""

from uuid import UUID

import pytest

from authsvc.core.fields import HANDLE_CHARACTERS, Field, Fields, parse_given, parse_handle, parse_uuid, refused
from authsvc.errors import InvalidFields, InvalidPassword, Violation
from tests.violations import violations_of

BROKEN = Violation("name", "RULE", "must be other")
WEAK = Violation("password", "WEAK", "must be stronger")


def parse_weak(text: str) -> str:
    """Refuse a text as a password."""
    raise InvalidPassword(violations=(WEAK,))


def test_fields_in_order_mean_what_they_say() -> None:
    """Where every rule holds nothing is told, and each field has its value, be it empty."""
    fields = Fields()
    name, number = fields.take(str.strip, " "), fields.take(int, "7")
    fields.require(True, BROKEN)
    fields.check()
    assert (name.value, number.value) == ("", 7)


def test_broken_rules_are_told_at_once_and_in_order() -> None:
    """All that is wrong with a request is in one refusal, weak passwords last."""
    fields = Fields()
    assert fields.take(parse_weak, "x").valid is None
    assert fields.take(parse_given, "", field="first").valid is None
    fields.require(False, BROKEN)
    fields.refuse(Violation("last", "RULE", "must not be"))
    with pytest.raises(InvalidFields) as refusal:
        fields.check()
    assert [violation.field for violation in refusal.value.violations] == ["first", "name", "last", "password"]


def test_what_is_wrong_twice_is_told_once() -> None:
    """Of a list many entries may break one rule."""
    fields = Fields()
    fields.refuse(BROKEN, BROKEN)
    assert violations_of(fields.check) == (BROKEN,)


def test_request_with_nothing_but_a_weak_password_is_told_so() -> None:
    """A weak password has a reason of its own."""
    fields = Fields()
    fields.take(parse_weak, "x")
    with pytest.raises(InvalidPassword) as refusal:
        fields.check()
    assert refusal.value.violations == (WEAK,)


def test_broken_field_has_no_value() -> None:
    """A field that was not checked is a fault of ours, not one of the caller's."""
    broken: Field[str] = Field(None)
    with pytest.raises(AssertionError):
        _ = broken.value


def test_other_faults_are_not_taken_for_broken_rules() -> None:
    """A parser that fails for another reason fails the call."""
    with pytest.raises(KeyError):
        Fields().take(dict[str, str]().__getitem__, "x")


def test_one_broken_rule_is_a_refusal() -> None:
    """A parser refuses with the field, the rule and its description."""
    assert refused("name", "RULE", "must be other").violations == (BROKEN,)


@pytest.mark.parametrize(
    ("text", "rules"),
    [("", ["REQUIRED"]), ("x", []), ("x" * HANDLE_CHARACTERS, []), ("x" * (HANDLE_CHARACTERS + 1), ["LENGTH"])],
    ids=["none", "one", "most", "too many"],
)
def test_handle_is_there_and_not_endless(text: str, rules: list[str]) -> None:
    """A handle may be any text of 1 to 512 characters."""
    assert [violation.rule for violation in violations_of(parse_handle, text, field="session")] == rules


@pytest.mark.parametrize(("text", "rules"), [("", ["REQUIRED"]), ("x", ["UUID"]), (str(UUID(int=7)), [])])
def test_uuid_is_one(text: str, rules: list[str]) -> None:
    """An id is there, and a UUID."""
    assert [violation.rule for violation in violations_of(parse_uuid, text, field="session_id")] == rules
