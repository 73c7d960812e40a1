"""Write the documents that are made from the code: docs/configuration.md and docs/errors.md.

Usage: python -m tools.generate_docs
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from authsvc.config import SETTINGS_FILE, Settings, is_secret, setting_names
from authsvc.errors import Reason
from authsvc.rpc.status import CODES

ROOT = Path(__file__).parents[1]
DOCUMENTS = ROOT / "docs"


def configuration() -> str:
    """Return docs/configuration.md: a table for each section of the settings."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made by `make docs` from authsvc/config. -->",
        "",
        "Every setting is an environment variable, and a key of the TOML file that "
        f"`{SETTINGS_FILE}` names; the environment wins.",
        "A secret can be given as `…_FILE`, the path of a file with the value. An unknown name, or a value out",
        "of its range, stops the start with a line that says what is wrong. Lists are separated by commas.",
    ]
    names = {target: name for name, target in setting_names().items()}
    for section, holder in Settings.model_fields.items():
        model: Any = holder.annotation
        lines += ["", f"## [{section}]", "", (model.__doc__ or "").strip(), ""]
        lines += ["| environment | key | default | range | meaning |", "|---|---|---|---|---|"]
        for field, info in model.model_fields.items():
            name = names[section, field]
            key = name.removeprefix(f"AUTHSVC_{section.upper()}_").lower()
            secret = " Secret." if is_secret(section, field) else ""
            cells = (f"`{name}`", f"`{key}`", _default(info), _range(info), f"{info.description}{secret}")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def errors() -> str:
    """Return docs/errors.md: the comments of the proto enum ErrorReason."""
    proto = (ROOT / "protos/authsvc/v1/error_reason.proto").read_text(encoding="utf-8")
    lines = [
        "# Errors",
        "",
        "<!-- Made by `make docs` from protos/authsvc/v1/error_reason.proto. -->",
        "",
        "Every error is a `google.rpc.Status` in the trailer `grpc-status-details-bin` with one",
        '`google.rpc.ErrorInfo{domain: "authsvc", reason, metadata}`; `metadata["request_id"]` is in the log.',
        "`BadRequest` and `RetryInfo` are there where the table says so. The list only grows: treat a reason",
        "that you do not know by its status.",
        "",
        "| reason | status | meaning | example |",
        "|---|---|---|---|",
    ]
    for comment, name in re.findall(r"((?:  // .*\n)+)  ERROR_REASON_(\w+) = \d+;", proto):
        if name in Reason.__members__:
            text = " ".join(line.strip().removeprefix("// ") for line in comment.splitlines())
            meaning, _, example = text.partition(" Example: ")
            meaning = meaning.partition(": ")[2] if ":" in meaning else meaning
            extras = [extra for extra in ("BadRequest", "RetryInfo") if f"with {extra}" in text]
            status = " + ".join([CODES[Reason(name)].name, *extras])
            lines.append(f"| `{name}` | {status} | {meaning[:1].upper()}{meaning[1:]} | {example} |")
    return "\n".join(lines) + "\n"


GENERATED = {"configuration.md": configuration, "errors.md": errors}


def _default(info: FieldInfo) -> str:
    value = info.default
    if value is None or value == () or (isinstance(value, SecretStr) and not value.get_secret_value()):
        return "-"
    if isinstance(value, timedelta):
        return _seconds(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{value}`" if isinstance(value, str) and value else str(value) or "-"


def _range(info: FieldInfo) -> str:
    bounds: dict[type, str] = {}
    for rule in info.metadata:
        if isinstance(rule, Ge | Le):
            bound: Any = rule.ge if isinstance(rule, Ge) else rule.le
            bounds[type(rule)] = _seconds(bound) if isinstance(bound, timedelta) else str(bound)
    if bounds:
        return f"{bounds[Ge]}-{bounds[Le]}"
    most = next((rule.max_length for rule in info.metadata if isinstance(rule, MaxLen)), None)
    least = next((rule.min_length for rule in info.metadata if isinstance(rule, MinLen)), 0)
    if most is not None:
        return f"{least}-{most} characters"
    return "true, false" if isinstance(info.default, bool) else "-"


def _seconds(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return str(int(seconds)) if seconds.is_integer() else str(seconds)


def main() -> None:
    """Write both documents."""
    for name, make in GENERATED.items():
        (DOCUMENTS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
