"""A spy in the place of a database, which compares what functions pass and read with what Postgres says of their SQL.

Each function is run as it is, with values made up of its annotations. So whatever way a statement or a row takes in it
is seen: through variables, tables of statements, other functions.
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import asyncpg

from authsvc.clock import Clock
from authsvc.store.db import Database, Executor
from tests.clock import FakeClock

# An example of what asyncpg takes and gives for a Postgres type.
EXAMPLES: dict[str, Any] = {
    "bool": True,
    "bytea": b"bytes",
    "int2": 1,
    "int4": 1,
    "int8": 1,
    "interval": timedelta(milliseconds=1),
    "jsonb": {"name": "value"},
    "text": "text",
    "timestamptz": datetime(2030, 1, 1, tzinfo=UTC),
    "uuid": UUID(int=1),
    "varchar": "text",
}
# Columns with a closed set of values.
NAMED_EXAMPLES: dict[str, Any] = {
    "kind": "DEVICE",
    "factors": {"TOTP": True, "SMS": False},
    "medium": "EMAIL",
    "preferred": "TOTP",
    "recovered_by": "EMAIL",
    "state": "QUEUED",
    "status": "CONFIRMED",
}
# The only SQL that comes from elsewhere: that of a migration.
MIGRATION = "select 1"
# More than any function runs but one that goes on until it is stopped.
MOST_STATEMENTS = 50


class EndlessError(Exception):
    """Stop a function that goes on for ever."""


@dataclass
class Findings:
    """Gather which statements were run, which of their columns were given and read, and what is wrong."""

    run: set[str] = field(default_factory=set)
    given: dict[str, set[str]] = field(default_factory=dict)
    read: dict[str, set[str]] = field(default_factory=dict)
    faults: set[str] = field(default_factory=set)

    def all_faults(self) -> list[str]:
        """Return what is wrong, columns that nobody reads included."""
        unread = {query: columns - self.read.get(query, set()) for query, columns in self.given.items()}
        return sorted(
            self.faults
            | {f"{_shortly(query)} gives {sorted(left)} to nobody" for query, left in unread.items() if left}
        )


class Row:
    """Stand for a row: an example of each column, and a note of those that were read."""

    def __init__(self, columns: dict[str, Any], read: set[str]) -> None:
        self._columns = columns
        self._read = read

    def keys(self) -> list[str]:
        """Return the names of the columns, for `**row` and `dict(row)`."""
        return list(self._columns)

    def __getitem__(self, name: str) -> Any:
        self._read.add(name)
        return self._columns[name]

    def __iter__(self) -> Iterator[Any]:
        return iter([self[name] for name in self._columns])


@dataclass
class Spy:
    """Take the statements of one call.

    With `made_up` rows are examples of what the statement would give, else what it gives in a database without rows.
    """

    database: asyncpg.Connection
    constants: AbstractSet[str]
    findings: Findings
    where: str
    made_up: bool
    count: int = 0

    async def execute(self, query: str, *args: object) -> str:
        """Take a statement whose rows are not read."""
        await self._take(query, args)
        return "UPDATE 1" if self.made_up else str(await self._really(self.database.execute, query, args))

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Take a statement that gives rows."""
        columns = await self._take(query, args)
        self.findings.given.setdefault(query, set()).update(columns)
        if not self.made_up:
            return list(await self._really(self.database.fetch, query, args))
        return [Row(columns, self.findings.read.setdefault(query, set()))]

    async def fetchrow(self, query: str, *args: object) -> Any:
        """Take a statement that gives a row."""
        return next(iter(await self.fetch(query, *args)), None)

    async def fetchval(self, query: str, *args: object) -> Any:
        """Take a statement that gives one value."""
        columns = await self._take(query, args)
        if len(columns) != 1:
            self.fault(f"{_shortly(query)} gives {list(columns)} where one value is read")
        if not self.made_up:
            return await self._really(self.database.fetchval, query, args)
        return next(iter(columns.values()))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Spy]:
        """Take the statements of a transaction."""
        yield self

    def is_closed(self) -> bool:
        """Tell that the connection lives."""
        return False

    def add_termination_listener(self, _: object) -> None:
        """Do nothing."""

    remove_termination_listener = add_termination_listener

    async def add_listener(self, *_: object) -> None:
        """Do nothing."""

    remove_listener = add_listener

    def fault(self, text: str) -> None:
        """Note what is wrong."""
        self.findings.faults.add(f"{self.where}: {text}")

    async def _take(self, query: str, args: tuple[object, ...]) -> dict[str, Any]:
        """Compare a statement with its arguments; return an example of each of its columns."""
        self.count += 1
        if self.count > MOST_STATEMENTS:
            raise EndlessError
        if query not in self.constants and query != MIGRATION:
            self.fault(f"{_shortly(query)} is no constant beside the function")
        self.findings.run.add(query)
        if ";" in query:
            # A script, which takes and gives nothing.
            return {}
        prepared = await self.database.prepare(query)
        wanted = prepared.get_parameters()
        if len(wanted) != len(args):
            self.fault(f"{_shortly(query)} takes {len(wanted)}, is given {len(args)}")
        for number, (postgres, value) in enumerate(zip(wanted, args, strict=False), start=1):
            if not _takes(postgres.name, value):
                self.fault(f"{_shortly(query)} ${number} is {postgres.name}, is given {value!r}")
        return {column.name: _example_of(column) for column in prepared.get_attributes()}

    async def _really(self, run: Callable[..., Awaitable[Any]], query: str, args: tuple[object, ...]) -> Any:
        async with self.database.transaction():
            return await run(query, *args)


class SpyDatabase(Database):
    """Lend a spy as the connection."""

    def __init__(self, spy: Spy) -> None:
        self._spy = spy

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend the spy."""
        yield self._spy


async def spy_on(
    function: Callable[..., Awaitable[Any]],
    connection: asyncpg.Connection,
    *,
    constants: AbstractSet[str],
    findings: Findings,
) -> None:
    """Run a function with each example of each of its parameters, and note what is wrong with its statements."""
    hints = get_type_hints(function)
    named = {name: examples(hints[name]) for name in inspect.signature(function).parameters}
    first = {name: values[0] for name, values in named.items()}
    calls = [first, *({**first, name: value} for name, values in named.items() for value in values[1:])]
    for arguments in calls:
        for made_up in (True, False):
            spy = Spy(connection, constants, findings, f"{function.__module__}.{function.__name__}", made_up)
            await _call(function, arguments, hints["return"], spy)


async def _call(function: Callable[..., Awaitable[Any]], arguments: dict[str, Any], gives: Any, spy: Spy) -> None:
    transaction = spy.database.transaction()
    await transaction.start()
    given = {name: _in_place_of(value, spy) for name, value in arguments.items()}
    signature = inspect.signature(function)
    positional = [given[name] for name, each in signature.parameters.items() if each.kind is not each.KEYWORD_ONLY]
    keywords = {name: given[name] for name, each in signature.parameters.items() if each.kind is each.KEYWORD_ONLY}
    try:
        result = await function(*positional, **keywords)
        if not _is_a(result, gives):
            spy.fault(f"returns {result!r}, which is no {gives}")
    except (EndlessError, asyncpg.IntegrityConstraintViolationError, LookupError) as error:
        # A made-up value refers to nothing; what is missing from a row is another kind of LookupError.
        if spy.made_up and not isinstance(error, EndlessError):
            spy.fault(repr(error))
    except Exception as error:
        spy.fault(repr(error))
    finally:
        await transaction.rollback()


def _in_place_of(value: Any, spy: Spy) -> Any:
    return {Executor: spy, Database: SpyDatabase(spy)}.get(value, value) if isinstance(value, type) else value


def examples(hint: Any) -> list[Any]:
    """Return values of an annotation, one of each sort; classes stand for a spy that is put in their place."""
    hint = getattr(hint, "__supertype__", hint)
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin in (types.UnionType, Union):
        return [value for each in args for value in examples(each)]
    if origin in _SIMPLE:
        return _SIMPLE[origin]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return [hint(**{each.name: _example_of_field(each.name, hints[each.name]) for each in fields(hint)})]
    parts = [examples(each)[0] for each in args if each is not ...]
    return [dict([parts]) if origin in (dict, Mapping) else tuple(parts) if origin is tuple else parts]


def _example_of_field(name: str, hint: Any) -> Any:
    return MIGRATION if name == "sql" else examples(hint)[0]


_SIMPLE: dict[Any, list[Any]] = {
    # What jsonb holds is told by the annotation.
    **{type(value): [value] for value in EXAMPLES.values() if not isinstance(value, dict)},
    bool: [True, False],
    type(None): [None],
    Executor: [Executor],
    asyncpg.Connection: [Executor],
    Database: [Database],
    Clock: [FakeClock()],
    Callable: [lambda *_: None],
}


def _example_of(column: asyncpg.Attribute) -> Any:
    if column.name in NAMED_EXAMPLES:
        return NAMED_EXAMPLES[column.name]
    element = column.type.name.removesuffix("[]")
    return [EXAMPLES[element]] if element != column.type.name else EXAMPLES.get(element)


def _takes(postgres: str, value: Any) -> bool:
    """Tell whether a value is one of a Postgres type, as asyncpg passes it."""
    if value is None:
        return True
    if isinstance(value, list):
        return postgres.endswith("[]") and all(_takes(postgres.removesuffix("[]"), each) for each in value)
    bare = str if isinstance(value, enum.StrEnum) else type(value)
    return postgres in EXAMPLES and bare is type(EXAMPLES[postgres])


def _is_a(value: Any, hint: Any) -> bool:
    """Tell whether a value is what an annotation promises, all the way down."""
    hint = getattr(hint, "__supertype__", hint)
    origin, args = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return True
    if origin in (types.UnionType, Union):
        return any(_is_a(value, each) for each in args)
    if hint is None or hint is type(None):
        return value is None
    if origin in (list, set, frozenset):
        return isinstance(value, origin) and all(_is_a(each, args[0]) for each in value)
    if origin is tuple:
        kinds = [args[0]] * len(value) if args[-1] is ... else list(args)
        return isinstance(value, tuple) and all(map(_is_a, value, kinds))
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            _is_a(key, args[0]) and _is_a(each, args[1]) for key, each in value.items()
        )
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return type(value) is hint and all(_is_a(getattr(value, each.name), hints[each.name]) for each in fields(hint))
    return type(value) is hint or (hint is UUID and isinstance(value, UUID))


def _shortly(query: str) -> str:
    return f"`{' '.join(query.split())[:60]} …`"
