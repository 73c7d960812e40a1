"""What each setting is called, may be and means, read from the fields: for documents and settings files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from authsvc.config.load import PREFIX, is_secret, setting_names
from authsvc.config.settings import Settings

Value = bool | int | float | str | list[str] | dict[str, object]


@dataclass(frozen=True, slots=True)
class Setting:
    """Describe one setting; `default` is written as in the settings file, `bounds` is empty where there are none."""

    field: str
    name: str
    key: str
    default: Value
    bounds: str
    meaning: str
    is_secret: bool


def sections() -> dict[str, str]:
    """Return each section with what it is about, in the order of the documents."""
    return {name: (info.annotation.__doc__ or "").strip() for name, info in Settings.model_fields.items()}


def described(section: str) -> Iterator[Setting]:
    """Describe the settings of a section, in their order."""
    names = {target: name for name, target in setting_names().items()}
    model: Any = Settings.model_fields[section].annotation
    for field, info in model.model_fields.items():
        name = names[section, field]
        yield Setting(
            field=field,
            name=name,
            key=name.removeprefix(f"{PREFIX}{section}_".upper()).lower(),
            default=as_written(info.default),
            bounds=_bounds(info),
            meaning=info.description or "",
            is_secret=is_secret(section, field),
        )


def as_written(value: object) -> Value:
    """Return a setting's value as it is written in the settings file.

    Raises:
        TypeError: no setting has values of this type.
    """
    match value:
        case None:
            return ""
        case timedelta():
            seconds = value.total_seconds()
            return int(seconds) if seconds.is_integer() else seconds
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return [str(each) for each in value]
        case str():
            # An enum's value and not its member.
            return str(value)
        case bool() | int() | float() | dict():
            return value
        case _:
            raise TypeError(type(value))


def _bounds(info: FieldInfo) -> str:
    bounds: dict[type, str] = {}
    for rule in info.metadata:
        if isinstance(rule, Ge | Le):
            bound: object = rule.ge if isinstance(rule, Ge) else rule.le
            bounds[type(rule)] = str(as_written(bound))
    if bounds:
        return f"{bounds[Ge]}-{bounds[Le]}"
    most = next((rule.max_length for rule in info.metadata if isinstance(rule, MaxLen)), None)
    least = next((rule.min_length for rule in info.metadata if isinstance(rule, MinLen)), 0)
    if most is not None:
        return f"{least}-{most} characters"
    return "true, false" if isinstance(info.default, bool) else ""
