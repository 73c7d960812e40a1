"""Where the words of mails come from: the built-in templates, and in front of them those of an operator's folder.

`LANGUAGE/KIND.txt` is what a kind of mail says in a language, `LANGUAGE/code.txt` how mails with a code begin,
`layout.html` what the HTML part looks like; files that begin with `_` are there to be included by others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FunctionLoader, PackageLoader, StrictUndefined, Template, select_autoescape
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from authsvc.core.messages.kinds import KINDS
from authsvc.delivery.words import CODE_PLACEHOLDER, DEFAULT_LANGUAGE, tags_for, tags_of

PACKAGE = "authsvc.delivery.mail"
LAYOUT = "layout.html"
CODE_WORDS = "code.txt"
NAMES = frozenset({CODE_WORDS, *(f"{kind.lower()}.txt" for kind in KINDS)})


class TemplatesError(Exception):
    """Tell an operator, one line a fault, which templates are wrong and why."""


@dataclass(frozen=True, slots=True)
class OwnTemplate:
    """Hold a template of the operator's folder as it was when it was read."""

    path: Path
    source: str


class _CodePlaceholder(Extension):
    """Let templates show the code as the settings do; to Jinja it would be a comment."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return source.replace(CODE_PLACEHOLDER, "{{ code }}")


class Wording:
    """Find templates by language, the operator's before the built-in ones of the same name."""

    def __init__(self, *, own: Mapping[str, OwnTemplate], default_locale: str = DEFAULT_LANGUAGE) -> None:
        self.own = own
        self._default_locale = default_locale
        # In a sandbox, because those who word mails are not always those who may read the master keys in here.
        self._templates = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([FunctionLoader(self._load_own), PackageLoader(PACKAGE, "templates")]),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            extensions=[_CodePlaceholder],
            trim_blocks=True,
            auto_reload=False,
        )

    def languages(self) -> list[str]:
        """Return every language that has templates."""
        built_in = {each.name for each in files(PACKAGE).joinpath("templates").iterdir() if each.is_dir()}
        return sorted(built_in | {name.partition("/")[0] for name in self.own if "/" in name})

    def find(self, kind: str, locale: str) -> tuple[str, Template]:
        """Return the template of a kind of mail, and the language that it is in."""
        tags = tags_for(locale, self._default_locale)
        template = self._templates.select_template([f"{tag}/{kind.lower()}.txt" for tag in tags])
        return str(template.name).partition("/")[0], template

    def find_code_words(self, language: str) -> Template:
        """Return the template of how mails with a code begin."""
        tags = [*tags_of(language), DEFAULT_LANGUAGE]
        return self._templates.select_template([f"{tag}/{CODE_WORDS}" for tag in tags])

    def get(self, name: str) -> Template:
        """Return a template by its name."""
        return self._templates.get_template(name)

    def _load_own(self, name: str) -> tuple[str, str, Any] | None:
        template = self.own.get(name)
        return (template.source, str(template.path), lambda: True) if template else None


def read_folder(folder: Path | None) -> dict[str, OwnTemplate]:
    """Read the operator's templates, by name.

    Raises:
        TemplatesError: the folder or a file can't be read, or is no template; all faults at once.
    """
    own: dict[str, OwnTemplate] = {}
    faults: list[str] = []
    if folder is None:
        return own
    for path in _paths(folder):
        name = path.relative_to(folder).as_posix()
        if fault := _fault_of_name(name):
            faults.append(f"{path}: {fault}")
            continue
        try:
            own[name] = OwnTemplate(path, path.read_text(encoding="utf-8"))
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{path}: is not UTF-8 text")
    if faults:
        raise TemplatesError("\n".join(faults))
    return own


def _paths(folder: Path) -> Iterator[Path]:
    """Yield what is in the folder and in its folders, symbolic links to folders too: Kubernetes makes such volumes.

    Hidden ones belong to the system, like the `..data` of Kubernetes.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise TemplatesError(f"{folder}: cannot be read: {error.strerror}") from error
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _paths(path)
        else:
            yield path


def _fault_of_name(name: str) -> str:
    """Return why a file of that name would never be used; empty if it would."""
    language, slash, file = name.rpartition("/")
    if file.startswith("_") or name == LAYOUT:
        return ""
    if not slash:
        return f"is no template: beside {LAYOUT} there are only folders named after languages"
    if file not in NAMES:
        return f"is no template: the names are {', '.join(sorted(NAMES))}"
    if tags_of(language)[:1] != [language]:
        return "is in no language: the folder is to be named by a language tag in lower case, like de or pt-br"
    return ""
