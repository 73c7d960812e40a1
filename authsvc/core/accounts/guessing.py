"""How many guesses a password takes of somebody who knows what people choose: words, repetitions, sequences.

The matchers are zxcvbn's, but for two. Its look for letters written as digits and signs tries all combinations, which
takes seconds for 40 characters that a stranger has chosen well; its look for repetitions does the same to their part.
"""

from __future__ import annotations

import re

from zxcvbn import matching, scoring

# What comes later is not looked at: so many should do, and a look at all would take too long.
MOST_CHARACTERS = 32
# A character three times, two characters three times, and more of them twice.
_REPEATED = re.compile(r"(.)\1{2,}|(..)\2{2,}|(.{3,}?)\3+", re.DOTALL)
_SEPARATORS = re.compile(r"[\s._-]+")
_AS_LETTERS = str.maketrans("@4301!$57", "aaeoiisst")
_MATCHERS = (
    matching.dictionary_match,
    matching.reverse_dictionary_match,
    matching.sequence_match,
    matching.spatial_match,
    matching.date_match,
    matching.regex_match,
)


def guesses(password: str) -> float:
    """Return about how many guesses it takes, read as its letters may be meant, what is repeated once."""
    texts = {_once(text)[:MOST_CHARACTERS] for text in (password, _SEPARATORS.sub("", password))}
    return min(_guesses(text) for text in texts | {text.translate(_AS_LETTERS) for text in texts})


def _once(text: str) -> str:
    return _REPEATED.sub(lambda match: next(filter(None, match.groups())), text)


def _guesses(text: str) -> float:
    if not text:
        return 1
    matches = sorted((each for match in _MATCHERS for each in match(text)), key=lambda each: (each["i"], each["j"]))
    return float(scoring.most_guessable_match_sequence(text, matches)["guesses"])
