"""Rules that have one home: kinds of factors, guesses, the writing of users, and what makes a text a value."""

import ast
import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authsvc.core.factors import kinds
from authsvc.domain import FactorKind
from tests.test_architecture import ROOT, is_below, own_python_files

# A password is what accounts have: no kind that is added, left out or chosen.
KINDS = frozenset(FactorKind) - {FactorKind.PASSWORD}
SPECS = frozenset(name for name, spec in vars(kinds).items() if isinstance(spec, kinds.Spec)) - {"PASSWORD"}
# An SQL literal, or a whole text; the media of codes have names like kinds.
NAMED = re.compile("|".join(rf"'{kind}'|\A{kind}\Z" for kind in sorted(KINDS - {"SMS", "EMAIL"})))

# What the messages of the wire say of kinds.
CONVERSION = ("authsvc/rpc/convert.py", "authsvc/rpc/transfer.py")
WRITES_USERS = re.compile(r"\b(?:insert\s+into|update|delete\s+from|merge\s+into)\s+(?:only\s+)?users\b", re.IGNORECASE)
Strange = Callable[[ast.AST], bool]


def names_a_kind(node: ast.AST) -> bool:
    """Tell whether code names one kind of second factor: by the enum, by its entry in the registry, or by its text."""
    match node:
        case ast.Attribute(value=ast.Name("FactorKind"), attr=name):
            return name in KINDS
        case ast.Attribute(value=ast.Name("kinds"), attr=name):
            return name in SPECS
        case ast.ImportFrom(module="authsvc.core.factors.kinds", names=names):
            return any(each.name in SPECS for each in names)
        case ast.Constant(value=str(text)):
            return bool(NAMED.search(text))
    return False


def verifies_a_password(node: ast.AST) -> bool:
    """Tell whether code compares a password with a hash."""
    match node:
        case ast.Call(func=ast.Attribute(attr="verify", value=holder)):
            return ast.unparse(holder).endswith("place")
    return False


def spends_an_answer(node: ast.AST) -> bool:
    """Tell whether code counts an answer to a challenge session."""
    return isinstance(node, ast.Attribute) and node.attr == "spend_answer"


def writes_users(node: ast.AST) -> bool:
    """Tell whether code has a statement that writes users."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(WRITES_USERS.search(node.value))


def makes_an_enum(node: ast.AST) -> bool:
    """Tell whether code makes a value of one of our enums of something else."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in enums()


@pytest.mark.parametrize(
    ("is_strange", "homes"),
    [
        (names_a_kind, ("authsvc/domain.py", "authsvc/core/factors", "authsvc/config", *CONVERSION)),
        (verifies_a_password, ("authsvc/core/access/gate.py",)),
        (spends_an_answer, ("authsvc/core/access/gate.py",)),
        (writes_users, ("authsvc/store/users",)),
        # Texts become values where they are read, from rows and from what is typed; a step's column has others too.
        (makes_an_enum, ("authsvc/store", "authsvc/cli", "authsvc/core/sign_in/steps.py")),
    ],
)
def test_what_has_one_home_is_found_there_alone(is_strange: Strange, homes: tuple[str, ...]) -> None:
    """Elsewhere there is none of it; at home there is."""
    found = [path for path in own_python_files() if is_below(path, ("authsvc",)) and strange_lines(path, is_strange)]
    assert any(is_below(path, homes) for path in found)
    assert not [
        f"{path.relative_to(ROOT)}:{line}"
        for path in found
        if not is_below(path, homes)
        for line in strange_lines(path, is_strange)
    ]


@pytest.mark.parametrize(
    ("is_strange", "source", "is_one"),
    [
        (names_a_kind, "FactorKind.TOTP", True),
        (names_a_kind, "FactorKind.PASSWORD", False),
        (names_a_kind, "kinds.RECOVERY_CODE.answer", True),
        (names_a_kind, "from authsvc.core.factors.kinds import SPECS, CUSTOM_CHALLENGE", True),
        (names_a_kind, "FIND = \"select 1 from factors where kind = 'TOTP'\"", True),
        (names_a_kind, "'TOTP codes (RFC 6238)'", False),
        (verifies_a_password, "await self._place.verify(stored, text)", True),
        (verifies_a_password, "await guess.verify(text)", False),
        (spends_an_answer, "await challenges.spend_answer(tx)", True),
        (writes_users, "'update users set status = 1'", True),
        (writes_users, "'with gone as (DELETE FROM users) select 1'", True),
        (writes_users, "'select 1 from users for update'", False),
        (makes_an_enum, "Medium(kind)", True),
        (makes_an_enum, "User(kind)", False),
    ],
)
def test_what_is_strange_is_told_from_what_is_not(is_strange: Strange, source: str, is_one: bool) -> None:
    """The rules above can fail."""
    assert any(map(is_strange, ast.walk(ast.parse(source)))) is is_one


def strange_lines(path: Path, is_strange: Strange) -> list[int]:
    """Return the lines of a file that have what is looked for, docstrings apart."""
    return [getattr(node, "lineno", 0) for node in nodes_of(path) if is_strange(node)]


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Return all that a file's code is made of."""
    return tuple(code_of(ast.parse(path.read_text())))


def code_of(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree without texts that stand alone."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node
            yield from code_of(node)


@functools.cache
def enums() -> frozenset[str]:
    """Return the names of our enums."""
    return frozenset(
        node.name
        for path in own_python_files()
        if is_below(path, ("authsvc",))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases)
    )
