"""docs/security/conformance.md names only what exists, and leaves out nothing of what it has in full."""

from __future__ import annotations

import tomllib

import pytest

from tools.conformance import DATA, faults_of, read

TEXT = DATA.read_text(encoding="utf-8")

SMALL = """
[standards.asvs]
title = "ASVS"
about = "About."

[standards.asvs.chapters.V9]
title = "Tokens"
ids = ["V9.1.1-2"]

[asvs."V9.1.1"]
asks = "Something."
stands = "met"
settings = ["tokens.audience"]
code = ["authsvc/crypto/jwt.py::PublicKey.verify", "README.md"]
tests = ["tests/unit/test_jwt.py::test_tampered_token_is_refused"]

[asvs."V9.1.2"]
asks = "Something else."
stands = "unmet"
why = "So."
"""


def test_nothing_is_wrong() -> None:
    """Every setting, path, name and test is there, every reason is given, and what is there in full lacks no id."""
    assert faults_of(read(TEXT)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("test_tampered_token_is_refused", "test_gone", "no test tests/unit/test_jwt.py::test_gone"),
        ("unit/test_jwt.py", "unit/test_gone.py", "no test tests/unit/test_gone.py::test_tampered_token_is_refused"),
        (
            "tests/unit/test_jwt.py::",
            "authsvc/crypto/jwt.py::",
            "no test authsvc/crypto/jwt.py::test_tampered_token_is_refused",
        ),
        ("PublicKey.verify", "PublicKey.gone", "no code authsvc/crypto/jwt.py::PublicKey.gone"),
        ("README.md", "GONE.md", "no code GONE.md"),
        ("tokens.audience", "tokens.gone", "no setting tokens.gone"),
        ('why = "So."', "", "does not say why"),
        ('"unmet"', '"half"', "'half' is no way to stand"),
        ('"unmet"', '"met"', "has either tests or `code_alone`"),
        ('"unmet"', '"setting"', "names no setting"),
        ("V9.1.1-2", "V9.1.1-3", "missing of a chapter that is there in full"),
        ('asvs."V9.1.2"', 'asvs."V9.2.2"', "no id of this chapter"),
        ('asvs."V9.1.2"', 'asvs."V8.1.2"', "of no chapter"),
        ("chapters.V9]", "chapters.V8]", "nothing of this chapter"),
    ],
)
def test_what_is_wrong_is_found(right: str, wrong: str, fault: str) -> None:
    """Each rule can fail."""
    assert faults_of(read(SMALL)) == []
    assert right in SMALL
    assert any(told.endswith(fault) for told in faults_of(read(SMALL.replace(right, wrong))))


def test_an_id_stands_once() -> None:
    """The second entry of an id is refused."""
    with pytest.raises(tomllib.TOMLDecodeError):
        read(SMALL.replace("V9.1.2", "V9.1.1"))


@pytest.mark.parametrize(
    ("right", "wrong"), [("why =", "because ="), ("asks =", "why ="), ('[asvs."V9.1.2"]', '[other."1"]')]
)
def test_unknown_and_missing_keys_are_refused(right: str, wrong: str) -> None:
    """A key that is misspelt or missing, or a standard that nobody described, is told."""
    with pytest.raises((TypeError, tomllib.TOMLDecodeError)):
        read(SMALL.replace(right, wrong))
