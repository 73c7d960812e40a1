"""Read the settings from the environment and the settings file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from authsvc.config.settings import Settings

PREFIX = "AUTHSVC_"
SETTINGS_FILE = "AUTHSVC_SETTINGS_FILE"


class SettingsError(Exception):
    """Tell an operator, one line a fault, which settings are wrong and what they must be."""


def setting_names() -> dict[str, tuple[str, str]]:
    """Map every environment name to its (section, field), `…_FILE` names of secrets excluded."""
    names: dict[str, tuple[str, str]] = {}
    for section, holder in Settings.model_fields.items():
        fields: Mapping[str, Any] = holder.annotation.model_fields  # type: ignore[union-attr]  # every section is a model
        for field, info in fields.items():
            suffix = "_SECONDS" if info.annotation is timedelta else ""
            names[f"{PREFIX}{section}_{field}{suffix}".upper()] = (section, field)
    return names


def is_secret(section: str, field: str) -> bool:
    """Tell whether a setting holds a secret, and so has a `…_FILE` form."""
    model: Any = Settings.model_fields[section].annotation
    annotation = model.model_fields[field].annotation
    return annotation is SecretStr or SecretStr in get_args(annotation)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment and the settings file.

    Raises:
        SettingsError: a name is unknown, a value out of its range, or a file can't be read; all faults at once.
    """
    environ = os.environ if environ is None else environ
    names = setting_names()
    values: dict[str, dict[str, object]] = {}
    faults: list[str] = []
    if path := environ.get(SETTINGS_FILE):
        _read_settings_file(Path(path), names, values, faults)
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == SETTINGS_FILE:
            continue
        if environ.get(name.removesuffix("_FILE"), value) != value and name.removesuffix("_FILE") in names:
            faults.append(f"{name}: give either this or {name.removesuffix('_FILE')}, not both")
        _read_variable(name, value, names, values, faults)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += [
            _fault(names, fault["loc"], line)
            for fault in error.errors(include_url=False, include_input=False)
            for line in fault["msg"].removeprefix("Value error, ").splitlines()
        ]
    if faults:
        raise SettingsError("\n".join(sorted(faults)))
    return settings


def _read_settings_file(
    path: Path, names: dict[str, tuple[str, str]], values: dict[str, dict[str, object]], faults: list[str]
) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        faults.append(f"{SETTINGS_FILE}: {path}: {error}")
        return
    for section, fields in content.items():
        if not isinstance(fields, dict):
            faults.append(f"{path}: {section!r} must be a section")
            continue
        for key, value in fields.items():
            target, from_file = _find(f"{PREFIX}{section}_{key}".upper(), names)
            if target is None:
                faults.append(f"{path}: unknown setting {key!r} in [{section}]")
            elif from_file and key.removesuffix("_file") in fields:
                faults.append(f"{path}: give either {key} or {key.removesuffix('_file')} in [{section}], not both")
            elif from_file:
                _read_secret(f"{path}: {key} in [{section}]", value, target, values, faults)
            else:
                values.setdefault(target[0], {})[target[1]] = value


def _read_variable(
    name: str, value: str, names: dict[str, tuple[str, str]], values: dict[str, dict[str, object]], faults: list[str]
) -> None:
    target, from_file = _find(name, names)
    if target is None:
        faults.append(f"{name}: unknown setting")
    elif from_file:
        _read_secret(name, value, target, values, faults)
    else:
        values.setdefault(target[0], {})[target[1]] = value


def _find(name: str, names: dict[str, tuple[str, str]]) -> tuple[tuple[str, str] | None, bool]:
    """Return the setting that a name stands for, and whether the value is the path of a file with the secret."""
    if (target := names.get(name)) is not None:
        return target, False
    target = names.get(name.removesuffix("_FILE")) if name.endswith("_FILE") else None
    return (target, True) if target is not None and is_secret(*target) else (None, False)


def _read_secret(
    name: str, path: object, target: tuple[str, str], values: dict[str, dict[str, object]], faults: list[str]
) -> None:
    try:
        secret = Path(str(path)).read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        faults.append(f"{name}: {path}: cannot be read: {error.strerror}")
    except ValueError:
        faults.append(f"{name}: {path}: is not UTF-8 text")
    else:
        values.setdefault(target[0], {})[target[1]] = secret


def _fault(names: dict[str, tuple[str, str]], location: tuple[int | str, ...], message: str) -> str:
    by_target = {target: name for name, target in names.items()}
    name = by_target.get((str(location[0]), str(location[1]))) if len(location) > 1 else None
    return f"{name or 'settings'}: {message}"
