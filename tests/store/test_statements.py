"""Every SQL statement of the store, compared with the functions that run it."""

import inspect
import re
import types
from collections.abc import Awaitable, Callable
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest

from authsvc import store
from authsvc.domain import Group, UserId, UserStatus
from authsvc.store.db import Database, Executor
from tests.store.spying import Findings, spy_on

# What a statement begins with; what is put into statements begins otherwise.
BEGIN = re.compile(r"\s*(select|with|insert|update|delete|lock|set|create)\b")
WRITES_USERS = re.compile(r"\b(insert into|update|delete from) users\b")


def modules() -> list[types.ModuleType]:
    """Return the modules of the store, those in packages too."""
    found = walk_packages(store.__path__, f"{store.__name__}.")
    return [import_module(module.name) for module in found if not module.ispkg]


def statements(module: types.ModuleType) -> set[str]:
    """Return the SQL of a module's constants, and of those that hold several."""
    found = set()
    for name, value in vars(module).items():
        if name.isupper() and not name.startswith("_"):
            several = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
            found |= {each for each in several if isinstance(each, str) and BEGIN.match(each)}
    return found


def functions(module: types.ModuleType) -> list[Callable[..., Awaitable[Any]]]:
    """Return the functions of a module that await something."""
    return [
        function
        for function in vars(module).values()
        if inspect.iscoroutinefunction(function) and function.__module__ == module.__name__
    ]


def test_the_statements_of_the_store_are_found() -> None:
    """Constants that hold SQL are found in modules and packages."""
    found = {module.__name__.removeprefix("authsvc.store."): len(statements(module)) for module in modules()}
    assert found["users.writes"] > 10
    assert found["users.lists"] > 8
    assert found["factors.preferences"] > 4
    assert sum(found.values()) > 120


@pytest.mark.parametrize("module", [each for each in modules() if statements(each)], ids=lambda module: module.__name__)
async def test_statements_take_and_give_what_their_functions_pass_and_read(
    database: Database, module: types.ModuleType
) -> None:
    """Each constant is run by a function beside it, and nothing else is.

    As many parameters as are passed, of their types; columns that make what the function's annotations promise, and no
    others.
    """
    findings = Findings()
    async with database.connection() as connection:
        for function in functions(module):
            await spy_on(function, connection, constants=statements(module), findings=findings)
    assert findings.all_faults() == []
    assert statements(module) - findings.run == set()


def test_one_place_writes_accounts() -> None:
    """Only what is under `store.users` inserts, changes and deletes accounts."""
    writers = {
        module.__name__: sum(bool(WRITES_USERS.search(statement)) for statement in statements(module))
        for module in modules()
    }
    writing = {name for name, count in writers.items() if count}
    assert writing == {f"authsvc.store.users.{name}" for name in ("addresses", "imported", "writes")}


COUNT = "select count(*) from users where username_key = $1"
TWO = "select user_id from users where username_key = $1 and created_at < $2"
MANY = "select user_id from users where user_id = any($1)"
GROUP = "select name, description, precedence from groups where name = $1"
MORE = "select name, description, precedence, created_at, name as again from groups where name = $1"
OTHER = "select name, name as description, precedence, description as created_at from groups where name = $1"
STATUS = "select status from users where user_id = $1"


async def wrong_type(executor: Executor, *, number: int) -> int:
    """Pass a number as a text."""
    return int(await executor.fetchval(COUNT, number))


async def wrong_count(executor: Executor, *, name: str) -> int:
    """Pass one value where two are taken."""
    return int(await executor.fetchval(TWO, name))


async def wrong_element(executor: Executor, *, names: list[str]) -> None:
    """Pass texts as ids."""
    await executor.execute(MANY, names)


async def made_by_itself(executor: Executor, *, name: str) -> int:
    """Put a statement together."""
    return int(await executor.fetchval(COUNT + " or true", name))


async def several_values(executor: Executor, *, name: str) -> object:
    """Read one value of several."""
    return await executor.fetchval(GROUP, name)


def group_of(row: Any) -> Group:
    """Make a group of a row."""
    return Group(**row)


async def missing_column(executor: Executor, *, name: str) -> Group | None:
    """Read a column that is not there, by a function and through a variable."""
    statement = GROUP
    row = await executor.fetchrow(statement, name)
    return None if row is None else group_of(row)


async def superfluous_column(executor: Executor, *, name: str) -> list[str]:
    """Leave columns unread."""
    return [row["name"] for row in await executor.fetch(MORE, name)]


async def other_column(executor: Executor, *, name: str) -> list[Group]:
    """Read a text as a time."""
    return [group_of(row) for row in await executor.fetch(OTHER, name)]


async def no_member(executor: Executor, *, user_id: UserId) -> UserStatus:
    """Promise a member of a closed set, and return its text."""
    status: UserStatus = await executor.fetchval(STATUS, user_id)
    return status


async def no_row(executor: Executor, *, name: str) -> str:
    """Count on a row that may not be there."""
    row: Any = await executor.fetchrow("select name from groups where name = $1", name)
    return str(row["name"])


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (wrong_type, r"\$1 is text, is given 1"),
        (wrong_count, "takes 2, is given 1"),
        (wrong_element, r"\$1 is uuid\[\], is given \['text'\]"),
        (made_by_itself, "is no constant beside the function"),
        (several_values, "where one value is read"),
        (missing_column, "missing 1 required positional argument: 'created_at'"),
        (superfluous_column, r"gives \['again', 'created_at', 'description', 'precedence'\] to nobody"),
        (other_column, "which is no list"),
        (no_member, "returns 'CONFIRMED', which is no"),
        (no_row, "'NoneType' object is not subscriptable"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_the_audit_finds(database: Database, function: Callable[..., Awaitable[Any]], fault: str) -> None:
    """A function that passes or reads other than its statement takes or gives is found."""
    findings = Findings()
    async with database.connection() as connection:
        constants = {COUNT, TWO, MANY, GROUP, MORE, OTHER, STATUS}
        await spy_on(function, connection, constants=constants, findings=findings)
    assert any(re.search(fault, found) for found in findings.all_faults()), findings.all_faults()
