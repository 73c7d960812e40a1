"""Run the tests that are near what changed since the branch began, committed or not.

Usage: python -m tools.check BASE [PYTEST_ARGUMENT ...]

The branch began where it left BASE; if that is empty, one of the usual names. Near are test files that changed, that
import what changed, however far down, or name it if it is no Python, and that are named as what changed.
Imports are not followed through what runs the whole service, which imports everything: tests that meet a change only
there are left to `make test`, and counted.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from tools.run_tests import run

# The branches that work begins from.
BASES = ("origin/HEAD", "origin/main", "main", "origin/master", "master")
# What puts everything together, and what runs it.
WHOLE = frozenset({"authsvc.app", "authsvc.composition", "tests.conftest", "tests.processes", "tests.service"})
# About every Python file, and quick.
ARCHITECTURE = Path("tests/test_architecture.py")
# About every table.
STORE = Path("tests/store")
# One walk through the service, whatever changed in it.
MAIN_FLOW = Path("tests/rpc/test_main_flow.py")


def main() -> int:
    """Say what is near and what is left, run the former, and return the status of pytest."""
    base, *arguments = sys.argv[1:]
    changed = changed_files(base)
    tests = sorted(Path("tests").rglob("test_*.py"))
    near = sorted(near_tests(changed, tests))
    if not near:
        print(f"check: none of {len(tests)} test files is near one of {len(changed)} changed files")
        return 0
    print(f"check: {len(near)} of {len(tests)} test files are near {len(changed)} changed files")
    status = run(*map(str, near), *arguments)
    left = len(tests) - len(near)
    print(f"check: left to make test: {left} test files, which meet the changes in the running service or not at all")
    return status


def changed_files(base: str) -> list[Path]:
    """Return what differs from where the branch began: also what was deleted, and what git does not know yet."""
    base = base or next((name for name in BASES if _git("rev-parse", "--verify", "-q", name)), "HEAD")
    (begin,) = _git("merge-base", "HEAD", base) or sys.exit(f"check: HEAD and {base} have no commit in common")
    names = _git("diff", "--name-only", "--no-renames", begin) + _git("ls-files", "--others", "--exclude-standard")
    return sorted({Path(name) for name in names})


def near_tests(changed: Collection[Path], tests: Collection[Path]) -> set[Path]:
    """Return the test files that are near changed files."""
    code = {path for path in changed if path.suffix == ".py"}
    naming = {file for file in Path("tests").rglob("*.py") for path in set(changed) - code if _names(file, path)}
    reached = _importers({_module(path) for path in code | naming})
    near = {path for path in tests if _module(path) in reached}
    for path in changed:
        if path.parts[0] == "migrations":
            near |= {test for test in tests if STORE in test.parents}
        elif path in code and path.parts[0] == "authsvc":
            near |= {test for test in tests if _is_named_as(test, path)} | {MAIN_FLOW}
    return near | {ARCHITECTURE} if code else near


def _importers(modules: set[str]) -> set[str]:
    """Return modules, and all that import them, directly or not."""
    reached, news = set(modules), set(modules)
    while news:
        news = {module for module, imported in _all_imports().items() if imported & news} - reached
        reached |= news
        news -= WHOLE
    return reached


@cache
def _all_imports() -> dict[str, set[str]]:
    """Return what each module imports, but for the stubs, which import each other and libraries alone."""
    files = {_module(path): path for folder in ("authsvc", "tests", "tools") for path in Path(folder).rglob("*.py")}
    return {
        module: set(_imports(path, files)) for module, path in files.items() if not module.startswith("authsvc.v1.")
    }


def _imports(path: Path, known: Collection[str]) -> Iterator[str]:
    """Yield the modules that a file imports, and for a test those of the fixtures in its folder."""
    if path.name.startswith("test_") and path.parent != Path("tests"):
        yield _module(path.with_name("conftest.py"))
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _names(file: Path, path: Path) -> bool:
    """Tell whether a file of the tests names a path, or the folder at the top that it is in, as it would to read it."""
    text = file.read_text(encoding="utf-8")
    return any(f'"{name}"' in text or f"/{name}" in text for name in {path.name, path.parts[0]} - {"authsvc", "tests"})


def _is_named_as(test: Path, path: Path) -> bool:
    """Tell whether a test is named as a module, or as the package that it is in: both in the singular."""
    named = f"_{_singular(test.stem.removeprefix('test_'))}_"
    return any(f"_{_singular(name)}_" in named for name in (path.stem, *path.parts[2:-1][-1:]))


def _singular(name: str) -> str:
    return re.sub(r"s(?=_|$)", "", name)


def _git(*arguments: str) -> list[str]:
    """Return the lines that git prints; none if it fails."""
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
