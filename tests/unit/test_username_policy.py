"""Which usernames may be chosen (UTS 39), and which would be links in a mail."""

from __future__ import annotations

import pytest

from authsvc.config import UsernameScripts
from authsvc.core.accounts.username_policy import UsernamePolicy
from authsvc.core.names import parse_username
from authsvc.errors import InvalidFields

SCRIPTS = UsernameScripts.HIGHLY_RESTRICTIVE


def refusal_of(name: str, scripts: UsernameScripts = SCRIPTS) -> str:
    """Return the rule that a name breaks, or nothing."""
    try:
        UsernamePolicy(scripts=scripts).require_allowed(parse_username(name))
    except InvalidFields as error:
        return error.violations[0].rule
    return ""


@pytest.mark.parametrize(
    "name",
    [
        "ada",
        "ada.lovelace",
        "o'hara",
        "résumé",
        "иван",
        "σοφία",
        "אדה",
        "田中さん",
        "カタカナ",
        "김철수",
        "taro田中",
        "user_1",
        "ada+1",
        "o'hara/smith",
        "a:b",
    ],
)
def test_names_of_people_pass(name: str) -> None:
    """A name in one script, or in scripts that one language writes together, may be chosen."""
    assert not refusal_of(name)


@pytest.mark.parametrize("name", ["аda", "adа", "раypal", "αda", "ada\u0561", "да田"])
def test_scripts_are_not_mixed(name: str) -> None:
    """A letter of another script that looks like the right one makes no second name of it (UTS 39 §5.1)."""
    assert refusal_of(name) == "SCRIPTS"


@pytest.mark.parametrize("name", ["аррӏе", "оса", "ѕоре"])
def test_a_name_is_not_wholly_of_lookalikes(name: str) -> None:
    """A name of one script all of whose letters look Latin is refused (UTS 39 §4)."""
    assert refusal_of(name) == "LOOKALIKE"


@pytest.mark.parametrize(
    "name",
    [
        "evil.com",
        "EVIL.Com",
        "www.anything",
        "login.evil.co.uk",
        "https://evil.com",
        "evil.com/path",
        "evil.com:443",
        "evil.com?x",
        "яндекс.рф",
        "xn--80ak6aa92e",
        "ada.xn--p1ai",
        "ada.",
        ".ada",
        "a..b",
    ],
)
@pytest.mark.parametrize("scripts", UsernameScripts)
def test_no_name_is_a_link(name: str, scripts: UsernameScripts) -> None:
    """What is shown as a link in a mail is refused whatever the letters may be, and so is what hides letters."""
    assert refusal_of(name, scripts) == "WEB_ADDRESS"


def test_letters_are_a_setting() -> None:
    """ASCII alone may be asked for, and everything may be allowed."""
    assert refusal_of("иван", UsernameScripts.ASCII_ONLY) == "SCRIPTS"
    assert not refusal_of("ivan", UsernameScripts.ASCII_ONLY)
    assert not refusal_of("аррӏе", UsernameScripts.UNRESTRICTED)
    assert not refusal_of("аda", UsernameScripts.UNRESTRICTED)
