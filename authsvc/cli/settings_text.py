"""The settings file as text: what was chosen, and every other setting as a comment with its default and its meaning."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from authsvc.config import Settings
from authsvc.config.describe import Setting, Value, as_written, described, sections

Target = tuple[str, str]
WIDTH = 100
_PREFACE = (
    "Settings of authsvc: `AUTHSVC_SETTINGS_FILE` names this file. Lines without # were chosen by `authsvc init`; the "
    "others show the default. The environment wins over this file. Every setting can be changed at any time; servers "
    "read them when they start."
)


def settings_text(settings: Settings, chosen: Collection[Target], secret_files: Mapping[Target, Path]) -> str:
    """Write the settings file: the chosen settings by (section, field), and where the secrets among them are."""
    lines = [*_comment(_PREFACE)]
    for section, about in sections().items():
        lines += ["", "", f"[{section}]", *_comment(about)]
        for setting in described(section):
            target = (section, setting.field)
            lines += ["", *_comment(_meaning(setting))]
            if target in secret_files:
                lines.append(f"{setting.key}_file = {_toml(str(secret_files[target]))}")
            elif target in chosen and not setting.is_secret:
                lines.append(f"{setting.key} = {_toml(as_written(getattr(getattr(settings, section), setting.field)))}")
            else:
                lines.append(f"#{setting.key} = {_toml(setting.default)}")
    return "\n".join(lines) + "\n"


def _meaning(setting: Setting) -> str:
    bounds = f" {setting.bounds}." if setting.bounds and setting.bounds != "true, false" else ""
    place = f" Secret: keep it in a file of its own, named by {setting.key}_file, or in {setting.name}."
    return f"{setting.meaning}{bounds}{place if setting.is_secret else ''}"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def _toml(value: Value) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return "{}"
