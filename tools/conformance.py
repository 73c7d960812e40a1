"""Read docs/security/conformance.toml, find what it names that does not exist, and write the document."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from authsvc.config.describe import described, sections

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs/security/conformance.toml"

# How a requirement can stand, and what the document says of it.
STANDS = {
    "met": "met",
    "setting": "by setting",
    "caller": "caller's duty",
    "unmet": "not met",
    "none": "does not apply",
}
NONE = "-"
# What has to be shown by a test, or said to be held by the code alone.
HELD = ("met", "setting")
_RANGE = re.compile(r"(.*?)(\d+)-(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """Hold a chapter of a standard; `ids` are all its requirements, if it is there in full."""

    title: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """Hold what a standard asks in one place, how it stands, and what holds it."""

    asks: str
    stands: str
    why: str = ""
    settings: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    code_alone: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Standard:
    """Hold a standard: its chapters by number, its requirements by id, in the order of the file."""

    title: str
    about: str
    chapters: dict[str, Chapter]
    requirements: dict[str, Requirement]


def read(text: str) -> dict[str, Standard]:
    """Read the file's text.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML, or an id stands twice.
        TypeError: a key that is none, or one that is missing.
    """
    data = tomllib.loads(text)
    standards: dict[str, dict[str, Any]] = data.pop("standards")
    if strange := set(data) - set(standards):
        raise TypeError(f"no standard: {sorted(strange)}")
    return {
        key: Standard(
            title=told.pop("title"),
            about=told.pop("about"),
            chapters={number: Chapter(**_tuples(chapter)) for number, chapter in told.pop("chapters").items()},
            requirements={id_: Requirement(**_tuples(requirement)) for id_, requirement in data.get(key, {}).items()},
            **told,
        )
        for key, told in standards.items()
    }


def faults_of(standards: dict[str, Standard]) -> list[str]:
    """Return what is wrong with the data, a line each."""
    return [
        f"{standard.title} {where}: {fault}"
        for standard in standards.values()
        for where, fault in (*_faults_of_chapters(standard), *_faults_of_requirements(standard))
    ]


def conformance() -> str:
    """Return docs/security/conformance.md."""
    standards = read(DATA.read_text(encoding="utf-8"))
    lines = [
        "# Conformance",
        "",
        "<!-- Made by `make docs` from docs/security/conformance.toml. -->",
        "",
        "What standards of the field ask, in words of ours, and how authsvc stands to it, as it comes. A test fails",
        "when a setting, a path, a name or a test that is named here is gone. Attacks and what they cost:",
        "[threat-model.md](threat-model.md).",
        "",
        "- **met**: as it comes.",
        "- **by setting**: with the settings that are named; what the default is stands beside it.",
        "- **caller's duty**: not authsvc's to do, but of the services that call it, or of whoever operates it.",
        "- **not met**, with the reason.",
        "- **does not apply**: about something that is not here.",
        "",
        "*Code alone* marks what no test could show.",
        "",
        "| standard | " + " | ".join(STANDS.values()) + " |",
        "|---|" + "---|" * len(STANDS),
    ]
    for standard in standards.values():
        counts = Counter(requirement.stands for requirement in standard.requirements.values())
        link = f"[{standard.title}](#{_anchor(standard.title)})"
        lines.append(f"| {link} | " + " | ".join(str(counts[stands]) for stands in STANDS) + " |")
    for standard in standards.values():
        lines += ["", f"## {standard.title}", "", standard.about]
        for number, chapter in standard.chapters.items():
            lines += ["", f"### {number} {chapter.title}", ""]
            lines += ["| id | asks | stands | held by | shown by |", "|---|---|---|---|---|"]
            lines += [
                _row(id_, requirement)
                for id_, requirement in standard.requirements.items()
                if _chapter_of(id_, standard) == number
            ]
    return "\n".join(lines) + "\n"


def _row(id_: str, requirement: Requirement) -> str:
    stands = f"**{STANDS[requirement.stands]}**" + (f": {requirement.why}" if requirement.why else "")
    held = ", ".join(f"`{name}`" for name in (*requirement.settings, *requirement.code)) or NONE
    shown = ", ".join(f"`{test}`" for test in requirement.tests) or ("code alone" if requirement.code_alone else NONE)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (id_, requirement.asks, stands, held, shown)) + " |"


def _faults_of_chapters(standard: Standard) -> Iterator[tuple[str, str]]:
    for number, chapter in standard.chapters.items():
        here = [id_ for id_ in standard.requirements if _chapter_of(id_, standard) == number]
        if not here:
            yield number, "nothing of this chapter"
        if chapter.ids:
            full = [id_ for told in chapter.ids for id_ in _ids(told)]
            yield from ((id_, "missing of a chapter that is there in full") for id_ in full if id_ not in here)
            yield from ((id_, "no id of this chapter") for id_ in here if id_ not in full)


def _faults_of_requirements(standard: Standard) -> Iterator[tuple[str, str]]:
    for id_, requirement in standard.requirements.items():
        if _chapter_of(id_, standard) is None:
            yield id_, "of no chapter"
        if requirement.stands not in STANDS:
            yield id_, f"{requirement.stands!r} is no way to stand"
        if requirement.stands != "met" and not requirement.why:
            yield id_, "does not say why"
        if requirement.code_alone is bool(requirement.tests) and requirement.stands in HELD:
            yield id_, "has either tests or `code_alone`"
        if requirement.stands in HELD and not requirement.code:
            yield id_, "names no code"
        if requirement.stands == "setting" and not requirement.settings:
            yield id_, "names no setting"
        yield from ((id_, f"no setting {name}") for name in requirement.settings if name not in _settings())
        yield from ((id_, f"no code {name}") for name in requirement.code if not _is_there(name))
        yield from ((id_, f"no test {name}") for name in requirement.tests if not _is_test(name))


def _chapter_of(id_: str, standard: Standard) -> str | None:
    """Return the chapter of an id: what stands before its first full stop or space."""
    number = re.split(r"[. ]", id_)[0]
    return number if number in standard.chapters else None


def _ids(told: str) -> Iterator[str]:
    """Yield the ids of `V6.1.1-3`, or the one that was told."""
    if parts := _RANGE.fullmatch(told):
        head, first, last = parts.groups()
        yield from (f"{head}{number}" for number in range(int(first), int(last) + 1))
    else:
        yield told


def _tuples(told: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@cache
def _settings() -> frozenset[str]:
    return frozenset(f"{section}.{setting.key}" for section in sections() for setting in described(section))


def _is_test(name: str) -> bool:
    path, _, test = name.partition("::")
    return path.startswith("tests/") and test.startswith("test_") and test in _names(path)


def _is_there(name: str) -> bool:
    path, _, inner = name.partition("::")
    return inner in _names(path) if inner else (ROOT / path).is_file()


@cache
def _names(path: str) -> frozenset[str]:
    """Return what a module defines at its top, and `Class.method`."""
    file = ROOT / path
    if not file.is_file() or file.suffix != ".py":
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = (f"{cls.name}.{name}" for cls in classes for node in cls.body for name in _defined_by(node))
    return frozenset([*(name for node in tree.body for name in _defined_by(node)), *methods])


def _defined_by(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []
