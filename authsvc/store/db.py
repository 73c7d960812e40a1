"""Connections, transactions, and the one place where Postgres errors become domain errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import fields
from datetime import timedelta
from functools import cache
from operator import attrgetter
from typing import Any, Protocol, TypeVar, cast

import asyncpg

from authsvc.config import DatabaseSettings
from authsvc.errors import Conflict, DatabaseUnavailable

# A failover takes seconds; a client that comes back after one is neither late nor a storm.
RETRY_UNAVAILABLE = timedelta(seconds=1)
RETRY_CONFLICT = timedelta(milliseconds=50)
CLOSE_SECONDS = 5.0

Found = TypeVar("Found")

_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutdown, crash, cannot connect now, statement timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # the old primary after a failover
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,  # the schema is behind
    asyncpg.UndefinedColumnError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError too
)
_CONFLICT = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


class Executor(Protocol):
    """Run one statement: the database itself (autocommit) or an open transaction."""

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows."""

    async def fetchrow(self, query: str, *args: object) -> Any | None:
        """Return the first row, or None."""

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row, or None."""

    async def execute(self, query: str, *args: object) -> str:
        """Return the command tag."""


@contextmanager
def domain_errors() -> Iterator[None]:
    """Turn what asyncpg raises into DatabaseUnavailable or Conflict where that is what it means."""
    try:
        yield
    except Exception as error:
        _raise_domain_error(error)
        raise


def _raise_domain_error(error: BaseException) -> None:
    if isinstance(error, _CONFLICT):
        raise Conflict(retry_after=RETRY_CONFLICT) from error
    if isinstance(error, _UNAVAILABLE):
        raise DatabaseUnavailable(retry_after=RETRY_UNAVAILABLE) from error


class _Loan:
    """Hold a connection for the length of an `async with`.

    Written out because every statement passes here: as two nested generators it took an eighth of the time of each.
    """

    __slots__ = ("_connection", "_pool", "_seconds")

    def __init__(self, *, pool: asyncpg.Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds

    async def __aenter__(self) -> asyncpg.Connection:
        try:
            async with asyncio.timeout(self._seconds):
                self._connection = await self._pool.acquire()
        except Exception as error:
            _raise_domain_error(error)
            raise
        return cast(asyncpg.Connection, self._connection)

    async def __aexit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        try:
            await self._pool.release(self._connection, timeout=self._seconds)
        finally:
            if error is not None:
                _raise_domain_error(error)


class Database:
    """Hold one pool of connections; connects when first used, so that it can be made while Postgres is away."""

    def __init__(self, *, pool: asyncpg.Pool, settings: DatabaseSettings) -> None:
        self._pool = pool
        self._acquire_seconds = settings.acquire_timeout.total_seconds()

    @classmethod
    async def open(
        cls, settings: DatabaseSettings, *, size: int, durable: bool = True, hurried: bool = True
    ) -> Database:
        """Make a pool of at most `size` connections.

        Without `durable` a commit does not wait for the disk: a crash of Postgres can lose the last 0.6 s of commits.
        Without `hurried` statements may take any time, as migrations do.
        """
        pool = asyncpg.create_pool(
            settings.url.get_secret_value(),
            min_size=0,
            max_size=size,
            timeout=settings.connect_timeout.total_seconds(),
            command_timeout=settings.statement_timeout.total_seconds() if hurried else None,
            server_settings={
                "application_name": "authsvc",
                "timezone": "UTC",
                "synchronous_commit": "on" if durable else "off",
                "idle_in_transaction_session_timeout": "60s",
            },
            init=_set_codecs,
            # No session state is ever set on a connection, so there is none to reset: saves a round trip a release.
            reset=_keep_session,
        )
        await pool
        return cls(pool=pool, settings=settings)

    async def close(self) -> None:
        """Close every connection; those still in use after a moment are cut off."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    def connection(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """Lend a connection, in autocommit.

        Raises:
            DatabaseUnavailable: Postgres can't be reached, or no connection came free in time.
        """
        return _Loan(pool=self._pool, seconds=self._acquire_seconds)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Executor]:
        """Run statements that happen together or not at all."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Return all rows."""
        async with self.connection() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Any | None:
        """Return the first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object) -> Any:
        """Return the first column of the first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        """Return the command tag."""
        async with self.connection() as connection:
            return await connection.execute(query, *args)


async def find_one(executor: Executor, make: Callable[..., Found], statement: str, *args: object) -> Found | None:
    """Return what `make` makes of the columns of the first row, or None."""
    row = await executor.fetchrow(statement, *args)
    return None if row is None else make(**row)


async def wrote_one(executor: Executor, statement: str, *args: object) -> bool:
    """Run a statement that writes one row or none, and tell whether it did."""
    return affected(await executor.execute(statement, *args)) == 1


async def write_unique(executor: Executor, statement: str, *args: object) -> bool:
    """Write one row; False if there is none to write, or if another one has what must be unique.

    The transaction is lost in the latter case.
    """
    try:
        return await wrote_one(executor, statement, *args)
    except asyncpg.UniqueViolationError:
        return False


def values_of(row: Any) -> tuple[object, ...]:
    """Return the fields of a dataclass of several in their order, for a statement that takes all of them."""
    values: tuple[object, ...] = _getter(type(row))(row)  # type: ignore[arg-type]  # a class is hashable
    return values


@cache
def _getter(row_type: Any) -> Callable[[Any], Any]:
    return attrgetter(*(each.name for each in fields(row_type)))


def affected(command_tag: str) -> int:
    """Return the row count of a command tag such as `DELETE 3`."""
    return int(command_tag.rsplit(" ", 1)[-1])


async def _set_codecs(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def _keep_session(_connection: asyncpg.Connection) -> None:
    return None
