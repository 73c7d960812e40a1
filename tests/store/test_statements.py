"""Every SQL statement of the store, prepared by Postgres and compared with the function that runs it."""

import ast
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import asyncpg
import pytest

from authsvc import store
from authsvc.store.db import Database

# Constants that are not single statements: the name of a channel, and the script that makes the migrator's own tables.
NOT_STATEMENTS = {("outbox", "CHANNEL"), ("migrate", "CREATE_TABLES")}
RUNNERS = {"execute", "fetch", "fetchrow", "fetchval"}

# What asyncpg takes and gives for a Postgres type.
PYTHON_TYPES: dict[str, type] = {
    "bool": bool,
    "bytea": bytes,
    "int2": int,
    "int4": int,
    "int8": int,
    "interval": timedelta,
    "jsonb": dict,
    "text": str,
    "timestamptz": datetime,
    "uuid": UUID,
    "varchar": str,
}


@dataclass(frozen=True)
class Use:
    """Hold one place where a function runs a statement.

    `arguments` are the types of the values it passes, None where its annotations don't tell. `row` is the class that
    the function makes of a row, if it does; `by_position` whether by the order of columns instead of their names.
    """

    where: str
    statement: str
    runner: str
    arguments: list[Any]
    row: Any
    by_position: bool
    columns_read: set[str]


def modules() -> list[types.ModuleType]:
    """Return the modules of the store."""
    return [import_module(f"{store.__name__}.{found.name}") for found in iter_modules(store.__path__)]


def statements() -> dict[tuple[str, str], str]:
    """Return the SQL of every statement by the names of its module and its constant."""
    return {
        (short_name(module), name): value
        for module in modules()
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and (short_name(module), name) not in NOT_STATEMENTS
    }


def uses(module: types.ModuleType) -> Iterator[Use]:
    """Yield every place in a module where a statement is run."""
    tree = ast.parse(inspect.getsource(module))
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef) and hasattr(module, function.name):
            yield from uses_in(module, function)


def uses_in(module: types.ModuleType, function: ast.AsyncFunctionDef) -> Iterator[Use]:
    """Yield every place in a function where a statement is run."""
    hints = get_type_hints(getattr(module, function.name))
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    row, by_position = None, False
    for call in calls:
        if isinstance(call.func, ast.Name) and any(is_row(node) for node in unpacked(call)):
            row = getattr(module, call.func.id)
            by_position = not call.keywords
    columns_read = {
        str(node.slice.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Subscript) and is_row(node.value) and isinstance(node.slice, ast.Constant)
    }
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in RUNNERS and isinstance(call.args[0], ast.Name):
            yield Use(
                where=f"{short_name(module)}.{function.name}",
                statement=call.args[0].id,
                runner=call.func.attr,
                arguments=[each for argument in call.args[1:] for each in types_of(argument, hints)],
                row=row,
                by_position=by_position,
                columns_read=columns_read,
            )


def unpacked(call: ast.Call) -> list[ast.expr]:
    """Return what a call unpacks into its arguments."""
    starred = [argument.value for argument in call.args if isinstance(argument, ast.Starred)]
    return starred + [keyword.value for keyword in call.keywords if keyword.arg is None]


def is_row(node: ast.expr) -> bool:
    """Tell whether an expression is a row, by the one name that rows have."""
    return isinstance(node, ast.Name) and node.id == "row"


def types_of(argument: ast.expr, hints: dict[str, Any]) -> list[Any]:
    """Return the types of the values that one argument stands for."""
    if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Name):
        return list(get_args(hints[argument.value.id]))
    if isinstance(argument, ast.Name):
        return [hints.get(argument.id)]
    if isinstance(argument, ast.Constant):
        return [type(argument.value)]
    return [None]


def fits(postgres: asyncpg.Type, python: Any) -> bool:
    """Tell whether values of a Python annotation are values of a Postgres type."""
    if python is None:
        return True
    if get_origin(python) in (types.UnionType, Union):
        return all(fits(postgres, each) for each in get_args(python) if each is not type(None))
    if get_origin(python) is list:
        (element,) = get_args(python)
        element = getattr(element, "__supertype__", element)
        return postgres.name.endswith("[]") and PYTHON_TYPES[postgres.name.removesuffix("[]")] is element
    # A NewType is what it is made of.
    python = getattr(python, "__supertype__", python)
    bare = get_origin(python) or python
    if issubclass(bare, StrEnum):
        bare = str
    return PYTHON_TYPES.get(postgres.name) is bare


def short_name(module: types.ModuleType) -> str:
    """Return the last part of a module's name."""
    return module.__name__.rpartition(".")[2]


ALL_USES = [(short_name(module), use) for module in modules() for use in uses(module)]


def test_every_statement_is_run_by_a_function_beside_it() -> None:
    """Each constant of a store module that holds SQL is run by a function of that module, and nothing else is run."""
    run = {(module, use.statement) for module, use in ALL_USES} - {(module, name) for module, name in NOT_STATEMENTS}
    assert run == statements().keys()
    assert len(run) > 50


async def test_every_statement_takes_what_its_function_passes(database: Database) -> None:
    """Postgres finds as many parameters in a statement as its function passes, of the types that it passes."""
    faults = []
    async with database.connection() as connection:
        for module, use in ALL_USES:
            if (module, use.statement) in NOT_STATEMENTS:
                continue
            prepared = await connection.prepare(statements()[module, use.statement])
            wanted = prepared.get_parameters()
            if len(wanted) != len(use.arguments):
                faults.append(f"{use.where}: {use.statement} takes {len(wanted)}, is given {len(use.arguments)}")
                continue
            faults += [
                f"{use.where}: {use.statement} ${number} is {postgres.name}, is given {python}"
                for number, (postgres, python) in enumerate(zip(wanted, use.arguments, strict=True), start=1)
                if not fits(postgres, python)
            ]
    assert not faults


async def test_every_statement_gives_what_its_function_reads(database: Database) -> None:
    """The columns of a statement are the fields of the class that its rows become, by name and type."""
    faults = []
    async with database.connection() as connection:
        for module, use in ALL_USES:
            if (module, use.statement) in NOT_STATEMENTS:
                continue
            prepared = await connection.prepare(statements()[module, use.statement])
            columns = {attribute.name: attribute.type for attribute in prepared.get_attributes()}
            faults += [f"{use.where}: {use.statement} {fault}" for fault in faults_of_columns(use, columns)]
    assert not faults


def faults_of_columns(use: Use, columns: dict[str, asyncpg.Type]) -> Iterator[str]:
    """Yield how the columns that a statement gives differ from what its function reads."""
    if use.runner == "execute":
        return
    if use.runner == "fetchval":
        if len(columns) != 1:
            yield f"gives {list(columns)} where one value is read"
        return
    if use.row is None:
        if columns.keys() != use.columns_read:
            yield f"gives {list(columns)}, of which {sorted(use.columns_read)} are read"
        return
    wanted = {field.name: hint for field, hint in zip(fields(use.row), get_type_hints(use.row).values(), strict=True)}
    if columns.keys() != wanted.keys() or (use.by_position and list(columns) != list(wanted)):
        yield f"gives {list(columns)}, {use.row.__name__} has {list(wanted)}"
        return
    for name, postgres in columns.items():
        if not fits(postgres, wanted[name]):
            yield f"gives {name} as {postgres.name}, {use.row.__name__} has {wanted[name]}"


@pytest.mark.parametrize(
    ("sql", "python"),
    [("select $1::text", datetime), ("select $1::bytea", list[bytes]), ("select $1::text[]", list[bytes])],
)
async def test_the_audit_sees_a_wrong_type(database: Database, sql: str, python: Any) -> None:
    """A parameter of another type than its function passes would be found."""
    async with database.connection() as connection:
        (parameter,) = (await connection.prepare(sql)).get_parameters()
    assert not fits(parameter, python)
