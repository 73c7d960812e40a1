"""Read the settings from the environment and the settings file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

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
    return model.model_fields[field].annotation is SecretStr


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment and the settings file.

    Raises:
        SettingsError: a name is unknown, a value out of its range, or a file can't be read; all faults at once.
    """
    environ = os.environ if environ is None else environ
    reading = _Reading()
    if path := environ.get(SETTINGS_FILE):
        reading.read_file(Path(path))
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == SETTINGS_FILE:
            continue
        if environ.get(name.removesuffix("_FILE"), value) != value and name.removesuffix("_FILE") in reading.names:
            reading.faults.append(f"{name}: give either this or {name.removesuffix('_FILE')}, not both")
        reading.read_variable(name, value)
    faults = reading.faults
    try:
        settings = Settings.model_validate(reading.values)
    except ValidationError as error:
        faults += [
            _fault(reading.names, fault["loc"], line)
            for fault in error.errors(include_url=False, include_input=False)
            for line in fault["msg"].removeprefix("Value error, ").splitlines()
        ]
    if faults:
        raise SettingsError("\n".join(sorted(faults)))
    return settings


class _Reading:
    """Collect what the settings are, by section and field, and what is wrong with how they are given."""

    def __init__(self) -> None:
        self.names = setting_names()
        self.values: dict[str, dict[str, object]] = {}
        self.faults: list[str] = []

    def read_file(self, path: Path) -> None:
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self.faults.append(f"{SETTINGS_FILE}: {path}: {error}")
            return
        for section, fields in content.items():
            if not isinstance(fields, dict):
                self.faults.append(f"{path}: {section!r} must be a section")
                continue
            for key, value in fields.items():
                target, from_file = self._find(f"{PREFIX}{section}_{key}".upper())
                if target is None:
                    self.faults.append(f"{path}: unknown setting {key!r} in [{section}]")
                elif from_file and (plain := key.removesuffix("_file")) in fields:
                    self.faults.append(f"{path}: give either {key} or {plain} in [{section}], not both")
                elif from_file:
                    self._take_secret(target, value, named=f"{path}: {key} in [{section}]")
                else:
                    self._take(target, value)

    def read_variable(self, name: str, value: str) -> None:
        target, from_file = self._find(name)
        if target is None:
            self.faults.append(f"{name}: unknown setting")
        elif from_file:
            self._take_secret(target, value, named=name)
        else:
            self._take(target, value)

    def _find(self, name: str) -> tuple[tuple[str, str] | None, bool]:
        """Return the setting that a name stands for, and whether the value is the path of a file with the secret."""
        if (target := self.names.get(name)) is not None:
            return target, False
        target = self.names.get(name.removesuffix("_FILE")) if name.endswith("_FILE") else None
        return (target, True) if target is not None and is_secret(*target) else (None, False)

    def _take(self, target: tuple[str, str], value: object) -> None:
        section, field = target
        self.values.setdefault(section, {})[field] = value

    def _take_secret(self, target: tuple[str, str], path: object, *, named: str) -> None:
        try:
            self._take(target, Path(str(path)).read_text(encoding="utf-8").rstrip("\n"))
        except OSError as error:
            self.faults.append(f"{named}: {path}: cannot be read: {error.strerror}")
        except ValueError:
            self.faults.append(f"{named}: {path}: is not UTF-8 text")


def _fault(names: dict[str, tuple[str, str]], location: tuple[int | str, ...], message: str) -> str:
    by_target = {target: name for name, target in names.items()}
    name = by_target.get((str(location[0]), str(location[1]))) if len(location) > 1 else None
    return f"{name or 'settings'}: {message}"
