"""What the words of every medium have in common: how a code is written, and in which languages they are looked for."""

from __future__ import annotations

import re

from pydantic import BaseModel

CODE_PLACEHOLDER = "{####}"
DEFAULT_LANGUAGE = "en"

# BCP 47 in form and length. It comes from users and names a folder.
_LANGUAGE_TAG = re.compile(r"(?=.{1,35}\Z)[a-z]{2,8}(?:-[a-z0-9]{1,8})*")


def tags_of(locale: str) -> list[str]:
    """Return where to look for words: `pt-BR`, or `pt_BR`, is pt-br, else pt; what is no language is nowhere."""
    tag = locale.lower().replace("_", "-")
    subtags = tag.split("-") if _LANGUAGE_TAG.fullmatch(tag) else []
    return ["-".join(subtags[:length]) for length in range(len(subtags), 0, -1)]


def tags_for(locale: str, default_locale: str) -> list[str]:
    """Return where to look for the words of an account's language: at last in those that are always there."""
    return [*tags_of(locale), *tags_of(default_locale), DEFAULT_LANGUAGE]


def is_changed(settings: BaseModel, field: str) -> bool:
    """Tell whether a text is the operator's: by value, since a settings file may well spell the default out."""
    return bool(getattr(settings, field) != type(settings).model_fields[field].default)
