"""Which usernames people may choose: none that reads as somebody else's, and none that reads as a web address.

What operators make or import is theirs to judge, and a name that stands signs in whatever it looks like.
"""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from confusable_homoglyphs.categories import alias
from publicsuffixlist import PublicSuffixList

from authsvc.config import UsernameScripts
from authsvc.core.fields import refused
from authsvc.core.names import Username

# Letters that belong to no script of their own.
_SHARED = frozenset({"COMMON", "INHERITED"})
# Scripts that one language writes together (UTS 39 §5.2, Highly Restrictive).
_TOGETHER = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
# What may follow the host of a link that has no scheme (RFC 3986 §3).
_AFTER_HOST = re.compile(r"[/:?#\\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class UsernamePolicy:
    """Refuse names that are made to be taken for something else."""

    scripts: UsernameScripts

    def require_allowed(self, name: Username, *, field: str = "username") -> None:
        """Let a name pass that somebody chooses.

        Raises:
            InvalidFields: it looks like a web address, or like a name in other letters.
        """
        if _is_web_address(name.key):
            raise refused(field, "WEB_ADDRESS", "must not look like a web address")
        if self.scripts is UsernameScripts.UNRESTRICTED or name.display.isascii():
            return
        if self.scripts is UsernameScripts.ASCII_ONLY:
            raise refused(field, "SCRIPTS", "must have letters, digits and symbols of ASCII alone")
        scripts = _scripts(name.display)
        if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
            raise refused(field, "SCRIPTS", "must have letters of one script alone")
        if scripts and "LATIN" not in scripts and _passes_for_latin(name.key):
            raise refused(field, "LOOKALIKE", "must have a letter that can't be taken for a Latin one")


def _is_web_address(name: str) -> bool:
    host = _AFTER_HOST.split(name, maxsplit=1)[0]
    labels = host.split(".")
    # A full stop at an end is no part of a name that people see; `xn--` stands for letters that nobody sees (RFC 5890).
    if "://" in name or "" in labels or any(label.startswith("xn--") for label in labels):
        return True
    return labels[0] == "www" or (len(labels) > 1 and _suffixes().publicsuffix(host) is not None)


@cache
def _suffixes() -> PublicSuffixList:
    """Return the domains that exist: a name that ends with one is made into a link by the programs that show mail."""
    return PublicSuffixList(accept_unknown=False, accept_encoded_idn=False, only_icann=True)


def _scripts(name: str) -> frozenset[str]:
    """Return the scripts of a name's letters (UAX 24)."""
    return frozenset(alias(letter) for letter in name) - _SHARED


def _passes_for_latin(name: str) -> bool:
    """Tell whether every letter of a name can be taken for one of ASCII (UTS 39 §4, whole-script confusable)."""
    return all(letter in _latin_lookalikes() for letter in name if letter.isalpha())


@cache
def _latin_lookalikes() -> frozenset[str]:
    # The table is large and needed at names in other letters only: it is read at the first, and not kept.
    table = json.loads(files("confusable_homoglyphs").joinpath("confusables.json").read_bytes())
    latin = frozenset(string.ascii_letters)
    return frozenset(letter for letter, others in table.items() if not latin.isdisjoint(each["c"] for each in others))
