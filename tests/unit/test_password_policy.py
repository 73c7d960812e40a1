"""What a new password must be, and the form in which passwords are compared."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.config import MfaMode, PasswordsSettings
from authsvc.core.accounts.password_policy import PasswordPolicy, own_words
from tests.ids import short
from tests.violations import violations_of

GOOD = "Tr0mbone-under-9-lakes"
POLICY = PasswordPolicy(settings=PasswordsSettings(), mfa=MfaMode.REQUIRED)


def policy(mfa: MfaMode = MfaMode.REQUIRED, **fields: object) -> PasswordPolicy:
    """Make a policy with some settings changed."""
    return PasswordPolicy(settings=PasswordsSettings.model_validate(fields), mfa=mfa)


def rules(policy: PasswordPolicy, password: str, words: frozenset[str] = frozenset()) -> list[str]:
    """Return the names of the rules that a password breaks."""
    broken = violations_of(policy.new, password, field="password", own_words=words)
    assert all(violation.field == "password" for violation in broken)
    return [violation.rule for violation in broken]


def normal(text: str) -> str:
    """Return the form in which a password is compared."""
    return POLICY.parse(text, field="password").normal


@pytest.mark.parametrize(
    ("mfa", "shortest"), [(MfaMode.REQUIRED, 8), (MfaMode.OPTIONAL, 15), (MfaMode.OFF, 15)], ids=str
)
def test_password_that_stands_alone_is_longer(mfa: MfaMode, shortest: int) -> None:
    """Where a second factor is required 8 characters do; elsewhere it takes 15."""
    text = "qv7!xw9?zk2#mp4$"
    assert rules(policy(mfa), text[:shortest]) == []
    assert rules(policy(mfa), text[: shortest - 1]) == ["MIN_LENGTH"]


@pytest.mark.parametrize("common", ["password123", "PASSWORD123", "qwertyuiop", "iloveyou2"])
def test_common_password_is_refused(common: str) -> None:
    """The passwords that everybody tries first are refused, in any letter case."""
    assert rules(POLICY, common) == ["COMMON"]


def test_own_blocklist_is_added_to_the_built_in_one(tmp_path: Path) -> None:
    """A file of further passwords blocks its lines, in any letter case, and empty lines block nothing."""
    path = tmp_path / "blocklist.txt"
    path.write_text("Acme-Rocks-2030\n\n  spaced-out-entry  \n", encoding="utf-8")
    own = policy(blocklist_file=path)
    assert [rules(own, text) for text in ("acme-rocks-2030", "spaced-out-entry", "password123", GOOD)] == [
        ["COMMON"],
        ["COMMON"],
        ["COMMON"],
        [],
    ]


def test_words_of_the_account_are_refused() -> None:
    """Neither the username nor the words of the address may be in a password, in any letter case."""
    words = own_words("lovelace", "ada.byron+x@engines.example.com")
    assert words == {"lovelace", "ada", "byron", "engines", "example"}
    for password in ("my-LoveLace-secret", "xxAdaxx-9-lakes", "byron-at-the-lake", "Engines-of-1843"):
        assert rules(POLICY, password, words) == ["OWN_WORDS"]
    assert rules(POLICY, "lovelac-9-lakes-com", words) == []


def test_account_without_an_address_has_its_username_alone() -> None:
    """Words that are too short to mean anything are not looked for."""
    assert own_words("al", None) == frozenset()
    assert own_words("ada", None) == {"ada"}
    assert own_words("ada", "x@y.example") == {"ada"}


COMPOSITION = {
    "require_lowercase": ("LOWERCASE", "UPPER-9999-UPPER"),
    "require_uppercase": ("UPPERCASE", "lower-9999-lower"),
    "require_numbers": ("NUMBER", "No-Numbers-At-All"),
    "require_symbols": ("SYMBOL", "NoSymbols9999Here"),
}


@pytest.mark.parametrize("setting", COMPOSITION)
def test_composition_rule_holds_only_when_it_is_set(setting: str) -> None:
    """Each of the four composition rules refuses what lacks its character, when configured."""
    rule, lacking = COMPOSITION[setting]
    assert rules(policy(), lacking) == []
    assert rules(policy(MfaMode.REQUIRED, **{setting: True}), lacking) == [rule]
    assert rules(policy(MfaMode.REQUIRED, **{setting: True}), GOOD) == []


def test_all_broken_rules_are_told_at_once() -> None:
    """One violation for each rule, in one answer."""
    strict = policy(MfaMode.REQUIRED, **dict.fromkeys(COMPOSITION, True))
    assert rules(strict, "中") == ["MIN_LENGTH", "LOWERCASE", "UPPERCASE", "NUMBER", "SYMBOL"]
    assert rules(strict, "adaadaada", frozenset({"ada"})) == ["OWN_WORDS", "UPPERCASE", "NUMBER", "SYMBOL"]


def test_password_is_compared_in_one_form() -> None:
    """Composition and the kind of space don't matter; letter case and width do (RFC 8265 §4.2)."""
    assert normal("cafe\u0301\u00a0 x") == "café  x"
    assert normal("ＡbC") == "ＡbC"
    assert normal("🙂 pässwörd ١") == "🙂 pässwörd ١"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "REQUIRED"),
        ("a\0b", "CHARACTERS"),
        ("line\nbreak", "CHARACTERS"),
        ("\u202eabc", "CHARACTERS"),
        ("a" * 257, "MAX_LENGTH"),
        ("a" * 60_000, "MAX_LENGTH"),
        ("e\u0301" * 257, "MAX_LENGTH"),
    ],
    ids=short,
)
def test_what_can_be_no_password_is_refused(text: str, rule: str) -> None:
    """Control characters and more than 256 characters make no password, at sign-in as at sign-up."""
    (violation,) = violations_of(POLICY.parse, text, field="password")
    assert (violation.field, violation.rule) == ("password", rule)
    assert rules(POLICY, text) == [rule]


def test_longest_password_is_a_password() -> None:
    """256 characters are allowed, in whatever form they were sent."""
    assert normal("a" * 256) == "a" * 256
    assert normal("e\u0301" * 256) == "é" * 256


@given(st.text(max_size=300))
def test_every_text_is_a_password_or_breaks_a_rule(text: str) -> None:
    """No text makes the policy fail, and a normalised password stays as it is when it is given again."""
    if not violations_of(POLICY.parse, text, field="password"):
        assert normal(normal(text)) == normal(text)
        assert normal(text).encode()
        rules(POLICY, text, own_words("ada", "ada@example.com"))


def test_password_is_not_shown() -> None:
    """Neither form of a password is in its repr."""
    assert repr(POLICY.parse(GOOD, field="password")) == "Password()"


@pytest.mark.parametrize(
    "text",
    [
        "aaaaaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "passwordpassword1",
        "P@ssw0rd P@ssw0rd",
        "password-password",
        "iloveyou iloveyou",
        "drowssapdrowssap1",
        "123456789012345678",
        "qwertyuiopasdfghjkl",
        "abcdefghijklmnopqrstuvwxyz",
        "абвгдежзийклмнопр",
        "19900101 19900101",
        "thisismypassword",
        "mynameisjohnsmith",
        "dragonballsuperdragon",
        "iloveyouforever",
        "Password123456789",
        "a" * 256,
    ],
    ids=short,
)
def test_long_and_common(text: str) -> None:
    """NIST SP 800-63B-4 §3.1.1.2: where 15 characters do, what everybody makes them of is as common as ever."""
    assert rules(policy(MfaMode.OFF), text) == ["COMMON"]


@pytest.mark.parametrize(
    "text",
    [
        "correct horse battery staple",
        "never-the-right-password",
        "violet-otter-42",
        "Mississippi mud pie",
        "Gr\u00fcner Tee um 5",
        "qv7!xw9?zk2#mp4$",
        "to be or not to be that",
    ],
)
def test_long_and_not_common(text: str) -> None:
    """A few words that nobody has put together, or characters without an order, are a password, at either length."""
    assert rules(policy(MfaMode.OFF), text) == rules(POLICY, text) == []


@pytest.mark.parametrize("text", [" " * 20, "\u3000" * 20, "\u00a0 \u2003" * 8])
def test_white_space_is_no_password(text: str) -> None:
    """White space alone is no password, beside a second factor neither."""
    assert rules(POLICY, text) == rules(policy(MfaMode.OFF), text) == ["BLANK"]


def test_code_is_no_password() -> None:
    """A code that was sent is in no password, with spaces neither."""
    for text in ("48151623", "4815 1623", "my 48151623 lakes", "4815 1623 4815 1623"):
        assert "OWN_WORDS" in rules(POLICY, text, frozenset({"48151623"}))


@pytest.mark.parametrize(
    "text",
    ["4@({[<691!|7+$50%28" * 13, "ab" * 3 + "cab" * 80, "p1n3ml3h ee2m kdlnim" * 12, "01/01/2020-" * 23, "é1" * 128],
)
def test_look_at_a_password_is_short(text: str) -> None:
    """ASVS 5 V15.2.2: no password that a stranger makes up keeps the others waiting, as it did for seconds."""
    started = time.process_time()
    rules(policy(MfaMode.OFF), text)
    assert time.process_time() - started < 0.15
