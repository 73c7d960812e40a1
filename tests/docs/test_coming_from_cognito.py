"""docs/coming-from-cognito.md leaves nothing out, names only what exists, and each test that it names is one."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
from google.protobuf.descriptor import ServiceDescriptor

from authsvc.cli import _authsvc
from authsvc.config import Settings
from authsvc.errors import Reason
from authsvc.v1 import admin_service_pb2, auth_service_pb2
from authsvc.v1.sign_in_step_pb2 import SignInStep
from tests.docs.cognito_names import AMPLIFY_FLUTTER, AMPLIFY_JS, CHALLENGES, OPERATIONS
from tests.rpc.test_tokens import decode
from tests.service import Service

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/coming-from-cognito.md").read_text(encoding="utf-8")
ABSENT = re.compile(r"(not yet|deliberately not): \*\*([^*]+)\*\*")
NONE = "–"


def names_of(service: ServiceDescriptor, prefix: str = "") -> set[str]:
    """Return the methods of a service as the document writes them."""
    return {prefix + method.name for method in service.methods}


METHODS = names_of(auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]) | names_of(
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"], "AdminService."
)
FIELDS = {
    field.name
    for file in (auth_service_pb2, admin_service_pb2)
    for each in (file.DESCRIPTOR, *file.DESCRIPTOR.dependencies)
    for message in each.message_types_by_name.values()
    for field in message.fields
}
SETTINGS = {
    f"{section}.{name}"
    for section, field in Settings.model_fields.items()
    for name in getattr(field.annotation, "model_fields", {})
}


@dataclass(frozen=True)
class Row:
    """Hold a row of a table: what it is about, the cells between, and the tests that show it."""

    about: str
    cells: tuple[str, ...]
    shown_by: str

    @property
    def names(self) -> list[str]:
        """Return what the row is about."""
        return re.findall(r"`([^`]+)`", self.about) or [self.about]

    @property
    def here(self) -> list[str]:
        """Return what the row says is here."""
        return [name for cell in self.cells for name in re.findall(r"`([^`]+)`", cell)]


def rows_of(heading: str) -> list[Row]:
    """Return the rows of the table below a heading."""
    table = re.search(rf"^#+ {re.escape(heading)}\n[^#]*?^\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert table, heading
    split = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in table[1].splitlines()]
    return [Row(cells[0], tuple(cells[1:-1]), cells[-1].rstrip("| ")) for cells in split]


AMPLIFY = rows_of("Amplify Auth")
POOL = [
    row
    for heading in ("Signing up and in", "The signed-in user", "Operators", "The pool itself")
    for row in rows_of(heading)
]
OTHERS = [*rows_of("Beyond the API"), *rows_of("Triggers")]
STEPS = rows_of("Challenge names")
CALLS = [*AMPLIFY, *POOL, *OTHERS]


def repeated(rows: list[Row]) -> list[str]:
    """Return what more than one row is about."""
    return [name for name, times in Counter(name for row in rows for name in row.names).items() if times > 1]


def test_every_call_has_one_row() -> None:
    """Each function of Amplify Auth and each operation of a user pool is in one row, and nothing else is."""
    assert {name for row in AMPLIFY for name in row.names} == {*AMPLIFY_JS.split(), *AMPLIFY_FLUTTER.split()}
    assert {name for row in POOL for name in row.names} == set(OPERATIONS.split())
    assert [repeated(rows) for rows in (AMPLIFY, POOL, OTHERS)] == [[], [], []]
    assert all(len(row.names) == 1 for row in POOL)
    assert f"the {len(OPERATIONS.split())} operations" in " ".join(TEXT.split())


def faults_of(row: Row) -> list[str]:
    """Return what a row names that does not exist, and whether it has both something here and a test, or neither."""
    methods = {name for name in row.here if re.fullmatch(r"(AdminService\.)?[A-Z]\w+", name)}
    settings = {name for name in row.here if re.fullmatch(r"[a-z]+\.\w+", name)}
    commands = {name for name in row.here if name.startswith("authsvc ")}
    fields = set(row.here) - methods - settings - commands
    unknown = (methods - METHODS) | (settings - SETTINGS) | (fields - FIELDS)
    faults = [*unknown, *(name for name in commands if not is_command(name))]
    is_here = bool(methods | settings | commands)
    if not is_here and not ABSENT.search(row.cells[0]):
        faults.append("neither here nor missing for a reason")
    if is_here != (row.shown_by != NONE):
        faults.append("here without a test, or shown without being here")
    return faults


def test_rows_name_what_exists() -> None:
    """What is here is a method, a setting, a command or a field, and shown by a test; what is not says why."""
    assert {row.about: faults for row in CALLS if (faults := faults_of(row))} == {}


def is_command(line: str) -> bool:
    """Tell whether a command line names a command of `authsvc`."""
    command: click.Command | None = _authsvc
    for word in line.split()[1:]:
        command = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
    return command is not None


def test_every_method_is_in_a_row() -> None:
    """No method of AuthService or AdminService is left out."""
    assert METHODS - {name for row in CALLS for name in row.here} == set()


def is_test(path: str, name: str) -> bool:
    """Tell whether a file that pytest collects has a test of this name."""
    return re.fullmatch(r"tests/\w+/test_\w+\.py", path) is not None and name in in_file(path)


@cache
def in_file(path: str) -> set[str]:
    """Return the names of the tests in a file."""
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.exists() else ast.Module([], [])
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {name for name in functions if name.startswith("test_")}


def test_rows_are_shown_by_tests() -> None:
    """Each test that a row names is there."""
    shown = {test for row in (*CALLS, *STEPS) if row.shown_by != NONE for test in row.shown_by.split(", ")}
    assert len(shown) > 100
    assert [test for test in sorted(shown) if not is_test(*test.split("::"))] == []


def test_every_reason_is_given_once_and_used() -> None:
    """What is not yet, or deliberately not, has its reason in the list of either, and each of these is some row's."""
    _, _, reasons = TEXT.partition("## Why some are missing\n")
    reasons, _, _ = reasons.partition("\n## ")
    not_yet, _, deliberately_not = reasons.partition("Deliberately not:")
    listed = [
        (kind, reason)
        for kind, lines in (("not yet", not_yet), ("deliberately not", deliberately_not))
        for reason in re.findall(r"^- \*\*([^*]+)\*\*: ", lines, re.MULTILINE)
    ]
    assert len(set(listed)) == len(listed)
    assert set(ABSENT.findall(TEXT)) == set(listed)


def test_every_challenge_leads_to_a_step() -> None:
    """Each challenge of Cognito is in the table, and so is each step and each field of an answer."""
    cognito = {name for row in STEPS for name in row.names if not name.endswith("Exception") and name != NONE}
    assert cognito == set(CHALLENGES.split())
    here = [name for row in STEPS for name in re.findall(r"`([A-Z_]+)`", row.cells[2])]
    steps = {name.removeprefix("SIGN_IN_STEP_") for name in SignInStep.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    assert set(here) == steps
    answers = {name for row in STEPS for name in re.findall(r"`(\w+)`", row.cells[3])}
    fields = set(auth_service_pb2.ConfirmSignInRequest.DESCRIPTOR.fields_by_name)
    assert answers == fields - {"session", "request_id"}


def test_errors_are_reasons() -> None:
    """What the table of errors has on our side are reasons, and no exception is in two rows."""
    rows = [(row.about, row.shown_by) for row in rows_of("Errors")]
    named = {name for _, here in rows for name in re.findall(r"`([A-Z_]+)`", here)}
    assert named <= set(Reason)
    exceptions = Counter(name for about, _ in rows for name in re.findall(r"`(\w+)`", about))
    assert {name: times for name, times in exceptions.items() if times > 1} == {}


async def test_claims_are_those_of_the_tokens(service: Service) -> None:
    """The claims that the table has on our side are those of real tokens, and all of these are in it."""
    account = await service.enrolled("ada")
    tokens = [account.tokens.access_token, account.tokens.id_token]
    claims = {name for token in tokens for name in await decode(service, token)}
    documented = {name for row in rows_of("Token claims") for name in row.here}
    of_attributes = {"phone_number", "phone_number_verified", "name", "locale", "custom:team"}
    assert documented - of_attributes == claims
    assert of_attributes <= documented


def test_settings_in_the_text_exist() -> None:
    """Settings and commands outside the tables are there too."""
    prose = "\n".join(line for line in TEXT.splitlines() if not line.startswith("|"))
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", prose))
    assert named
    assert named <= SETTINGS
    commands = re.findall(r"`(authsvc [a-z -]+)`", prose)
    assert commands
    assert all(is_command(line) for line in commands)
