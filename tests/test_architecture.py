"""What the architecture promises and neither ruff, mypy nor import-linter can hold."""

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 350

# Where functions are held to a shape that can be read and called without mixing anything up.
SHAPED = ("authsvc",)
MOST_PARAMETERS = 7
MOST_POSITIONAL = 3
MOST_FUNCTION_LINES = 60

# Each library is known to one part of the program; the others don't see that it is there.
HOMES = {
    "aiohttp": ("authsvc.cli.demo_mail", "authsvc.delivery.sms.carrier", "authsvc.dev.mailbox_http"),
    "aiosmtpd": ("authsvc.dev",),
    "aiosmtplib": ("authsvc.delivery.mail.smtp",),
    "argon2": ("authsvc.crypto",),
    "asyncpg": ("authsvc.store",),
    "authsvc.v1": ("authsvc.rpc", "authsvc.cli"),
    "bcrypt": ("authsvc.crypto",),
    "cryptography": ("authsvc.crypto",),
    "google": ("authsvc.rpc", "authsvc.v1", "authsvc.cli"),
    "grpc": ("authsvc.rpc", "authsvc.v1", "authsvc.cli"),
    "grpc_health": ("authsvc.rpc", "authsvc.cli"),
    "grpc_reflection": ("authsvc.rpc",),
    "grpc_status": ("authsvc.rpc", "authsvc.cli"),
    "jwt": ("authsvc.crypto",),
    "phonenumbers": ("authsvc.core.names",),
    "pyotp": ("authsvc.crypto",),
    "rich": ("authsvc.cli",),
    "secrets": ("authsvc.crypto",),
    "segno": ("authsvc.cli",),
}

SQL_CLOCK = re.compile(
    r"\b(?:now|(?:clock|statement|transaction)_timestamp|timeofday)\s*\(|"
    r"\b(?:current_(?:date|time|timestamp)|localtime(?:stamp)?)\b",
    re.IGNORECASE,
)
SUPPRESSION = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w,\s-]*\])?)")


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Return the files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the project is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def own_python_files() -> Iterator[Path]:
    """Yield the tracked Python files that people write."""
    generated = ROOT / "authsvc" / "v1"
    return (path for path in tracked_files() if path.suffix == ".py" and generated not in path.parents)


@functools.cache
def imports() -> grimp.ImportGraph:
    """Return the graph of all imports below authsvc, those of libraries included."""
    return grimp.build_graph("authsvc", include_external_packages=True, cache_dir=None)


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Tell whether the module is, or is inside, one of the packages."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("library", HOMES)
def test_library_is_imported_by_its_home_alone(library: str) -> None:
    """A library, or the generated stubs, is imported where it is at home and nowhere else."""
    graph = imports()
    modules = {module for module in graph.modules if within(module, (library,))}
    importers = {
        importer
        for module in modules
        for importer in graph.find_modules_that_directly_import(module)
        if not within(importer, (library,))
    }
    assert importers, f"nothing imports {library}: is it still needed?"
    strangers = sorted(importer for importer in importers if not within(importer, HOMES[library]))
    assert not strangers, f"{library} is at home in {' and '.join(HOMES[library])}"


def test_every_imported_library_is_declared() -> None:
    """The service runs with its declared dependencies; those of the extras are for `dev` and the command line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {distribution(requirement) for requirement in project["dependencies"]}
    extras = {distribution(each) for extra in project["optional-dependencies"].values() for each in extra}
    providers = packages_distributions()
    graph = imports()
    undeclared = []
    for library in sorted(graph.modules - sys.stdlib_module_names):
        if within(library, ("authsvc",)):
            continue
        provided_by = {distribution(name) for name in providers.get(library, ())}
        for importer in sorted(graph.find_modules_that_directly_import(library)):
            allowed = declared | extras if within(importer, ("authsvc.dev", "authsvc.cli")) else declared
            if not provided_by & allowed:
                undeclared.append(f"{importer} imports {library}")
    assert not undeclared


def distribution(requirement: str) -> str:
    """Return the normal form of the name that a requirement starts with."""
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def test_files_are_short_enough_to_be_read_in_one_go() -> None:
    """No file of ours has more lines than the limit."""
    lengths = {path: len(path.read_text().splitlines()) for path in own_python_files()}
    too_long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MOST_LINES}
    assert lengths
    assert not too_long


def test_functions_can_be_read_and_called_without_mixing_anything_up() -> None:
    """No function is long, takes many parameters or many by position; constructors take theirs by keyword."""
    shaped = [path for path in own_python_files() if is_below(path, SHAPED)]
    faults = [
        f"{path.relative_to(ROOT)}:{function.lineno}: {function.name} {fault}"
        for path in shaped
        for function, fault in shape_faults(ast.parse(path.read_text()))
    ]
    assert shaped
    assert not faults


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("def f(a, b, c, *, d, e, g, h): ...", []),
        ("def f(a, b, c, *, d, e, g, h, i): ...", ["takes 8 parameters"]),
        ("def f(a, b, /, c, d): ...", ["takes 4 by position"]),
        ("async def f():\n    def g(a, b, c, d): ...", ["takes 4 by position"]),
        ("class C:\n    def f(self, a, b, c): ...", []),
        ("class C:\n    @classmethod\n    async def f(cls, a, b, c, d): ...", ["takes 4 by position"]),
        ("class C:\n    @staticmethod\n    def f(a, b, c, d): ...", ["takes 4 by position"]),
        ("class C:\n    def __init__(self, *, a, b): ...", []),
        ("class C:\n    def __init__(self, a): ...", ["is a constructor that takes 1 by position"]),
        ("class C(ValueError):\n    def __init__(self, text, *, a): ...", []),
        ("class C(ValueError):\n    def __init__(self, text, a): ...", ["is a constructor that takes 2 by position"]),
        ("def f():\n" + "    x = 1\n" * 59, []),
        ("def f():\n" + "    x = 1\n" * 60, ["has 61 lines"]),
    ],
)
def test_a_bad_shape_is_told_from_a_good_one(source: str, faults: list[str]) -> None:
    """What counts are parameters without `self` and `cls`, and lines without decorators; an error may take its text."""
    assert [fault for _, fault in shape_faults(ast.parse(source))] == faults


Function = ast.FunctionDef | ast.AsyncFunctionDef


def shape_faults(tree: ast.AST, holder: ast.ClassDef | None = None) -> Iterator[tuple[Function, str]]:
    """Yield each function below a class or a module that has a bad shape, and what is bad about it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield from ((node, fault) for fault in faults_of_function(node, holder))
        inside = node if isinstance(node, ast.ClassDef) else None if isinstance(node, Function) else holder
        yield from shape_faults(node, inside)


def faults_of_function(function: Function, holder: ast.ClassDef | None) -> Iterator[str]:
    """Yield what is bad about the shape of a function, which is a method if a class holds it."""
    is_static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
    positional = len(function.args.posonlyargs + function.args.args) - (holder is not None and not is_static)
    if (count := positional + len(function.args.kwonlyargs)) > MOST_PARAMETERS:
        yield f"takes {count} parameters"
    if holder is not None and function.name == "__init__":
        # An error takes its text as built-in ones do.
        if positional > any(base.endswith(("Error", "Exception")) for base in map(ast.unparse, holder.bases)):
            yield f"is a constructor that takes {positional} by position"
    elif positional > MOST_POSITIONAL:
        yield f"takes {positional} by position"
    if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) > MOST_FUNCTION_LINES:
        yield f"has {lines} lines"


def test_values_of_many_fields_are_built_by_keyword() -> None:
    """What stands for four fields or more is named where a value of ours is built, as parameters of a function are."""
    trees = {path: ast.parse(path.read_text()) for path in own_python_files() if is_below(path, SHAPED)}
    classes = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert classes
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes
        if len(node.args) > MOST_POSITIONAL
    ]


def is_below(path: Path, places: tuple[str, ...]) -> bool:
    """Tell whether a file is one of the places, or in a folder that is."""
    return any(path == ROOT / place or ROOT / place in path.parents for place in places)


def test_every_suppression_says_why() -> None:
    """Each switched-off check has its reason behind it, or in a comment of its own right above."""
    without_reason = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in own_python_files()
        for line in suppressions_without_reason(path.read_text())
    ]
    assert not without_reason


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("x = f()  # noqa: S105", [1]),
        ("x = f()  # noqa: S105, PTH123", [1]),
        ("x = f()  # type: ignore[no-any-return]", [1]),
        ("x = f()  # type: ignore[arg-type]  # noqa: S105", [1]),
        ("x = 1\nx = f()  # noqa: S105", [2]),
        ("x = f()  # noqa: S105  # the name of a purpose", []),
        ("x = f()  # type: ignore[arg-type] - the stub is wrong about None", []),
        ("# The stub is wrong about None.\nx = f()  # type: ignore[arg-type]", []),
        ('x = "# noqa: S105"', []),
    ],
)
def test_a_reason_is_told_from_none(source: str, lines: list[int]) -> None:
    """A suppression counts as explained only by words beside it or right above it."""
    assert list(suppressions_without_reason(source)) == lines


def suppressions_without_reason(source: str) -> Iterator[int]:
    """Yield the numbers of the lines that switch a check off and don't say why."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or not SUPPRESSION.search(token.string):
            continue
        line = token.start[0]
        above = lines[line - 2].strip() if line > 1 else ""
        explained = re.search(r"\w", SUPPRESSION.sub("", token.string)) or above.startswith("# ")
        if not explained:
            yield line


def test_sql_never_asks_for_the_time() -> None:
    """No SQL statement reads the database's clock: time comes from the clock that was given."""
    asking = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "authsvc" / "store").rglob("*.py")
        for line, text in strings(path.read_text())
        if SQL_CLOCK.search(text)
    ]
    for path in migrations():
        statements = re.sub(r"--.*", "", path.read_text())
        asking += [f"{path.name}: {match.group()}" for match in SQL_CLOCK.finditer(statements)]
    assert not asking


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield each string in the code with its line; docstrings are not code."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def migrations() -> list[Path]:
    """Return the migrations in the order in which they are applied."""
    return sorted((ROOT / "migrations").iterdir())


def test_migrations_are_numbered_without_gaps() -> None:
    """A migration is called NNNN_what.sql and bears the number after the one before."""
    names = [path.name for path in migrations()]
    assert names
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names), names
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_migrations_only_go_forward() -> None:
    """A migration has statements for the way up, and none for the way down."""
    for path in migrations():
        opening, up, down = re.split(r"^-- migrate:(?:up|down).*$", path.read_text(), flags=re.MULTILINE)
        code = [re.sub(r"--.*", "", part).strip() for part in (opening, up, down)]
        assert code[0] == "", path.name
        assert code[1], path.name
        assert code[2] == "", path.name


def test_no_file_names_a_package_index_or_a_path_of_somebodys_machine() -> None:
    """The project builds anywhere, so no file says where one machine found its packages or kept its files."""
    # Written in pieces, so that this file is not found by its own search.
    hosts = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "npm" + "js.org",
        "npm" + "js.com",
        "deb." + "debian.org",
    ]
    options = [f"--{option}" for option in ("index" + "-url", "extra-index" + "-url", "find" + "-links")]
    homes = "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers"])
    named = re.compile("|".join([*map(re.escape, [*hosts, *options]), rf"(?<![\w.~-])/(?:{homes})/"]))
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if (match := named.search(path.read_bytes().decode(errors="replace")))
    ]
    assert not found
