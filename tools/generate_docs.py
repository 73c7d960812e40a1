"""Write the documents that are made: docs/configuration.md, docs/errors.md and docs/security/conformance.md.

Usage: python -m tools.generate_docs
"""

from __future__ import annotations

import re
from pathlib import Path

from authsvc.config import SETTINGS_FILE
from authsvc.config.describe import Value, described, sections
from authsvc.errors import Reason
from authsvc.rpc.status import CODES
from tools.conformance import conformance

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
        "A secret can be given as `…_FILE`, or `…_file` in the file: the path of a file with the value. An unknown",
        "name, or a value out of its range, stops the start with a line that says what is wrong. Lists are separated",
        "by commas; in the file they may be arrays.",
        "",
        "`authsvc init` asks for the rules of sign-in and writes the file, with every other setting as a comment.",
        "Nothing in it is for good: any setting can be changed later, and holds for the accounts that are there from",
        "the next start of the servers on. There is never a need for a second pool of users. Turning MFA on, for one,",
        "leads every user through set-up at their next sign-in; turning a kind of second factor off leaves those who",
        "have it with their others.",
    ]
    for section, about in sections().items():
        lines += ["", f"## [{section}]", "", about, ""]
        lines += ["| environment | key | default | range | meaning |", "|---|---|---|---|---|"]
        for setting in described(section):
            secret = " Secret." if setting.is_secret else ""
            cells = (
                f"`{setting.name}`",
                f"`{setting.key}`",
                _default(setting.default),
                setting.bounds or "-",
                f"{setting.meaning}{secret}",
            )
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


GENERATED = {"configuration.md": configuration, "errors.md": errors, "security/conformance.md": conformance}


def _default(value: Value) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"`{','.join(value)}`" if value else "-"
        case str():
            return f"`{value}`" if value else "-"
        case _:
            return str(value)


def main() -> None:
    """Write all of them."""
    for name, make in GENERATED.items():
        (DOCUMENTS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
