"""Imports of accounts: how far each got, and what was wrong with rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from authsvc.errors import Violation
from authsvc.store.db import Executor, find_one, wrote_one


@dataclass(frozen=True, slots=True)
class Counts:
    """Count what became of rows."""

    imported: int
    duplicates: int
    refused: int


BEGIN = """
insert into imports (import_id, source, next_row, created_at, updated_at)
values ($1, $2, 1, $3, $3)
on conflict (import_id) do nothing
"""


async def begin(executor: Executor, *, import_id: str, source: str, now: datetime) -> None:
    """Begin an import, unless there is one of this id."""
    await executor.execute(BEGIN, import_id, source, now)


@dataclass(frozen=True, slots=True)
class Import(Counts):
    """Hold how far an import got."""

    source: str
    next_row: int


FIND = "select source, next_row, imported, duplicates, refused from imports where import_id = $1"


async def find(executor: Executor, *, import_id: str) -> Import | None:
    """Read how far an import got; None if there is none of this id."""
    return await find_one(executor, Import, FIND, import_id)


LOCK = "select next_row from imports where import_id = $1 for update"


async def lock(executor: Executor, *, import_id: str) -> int | None:
    """Hold an import until the transaction ends; return the row that comes next, None if the import is gone."""
    next_row: int | None = await executor.fetchval(LOCK, import_id)
    return next_row


ADVANCE = """
update imports
   set next_row = $2,
       imported = imported + $3,
       duplicates = duplicates + $4,
       refused = refused + $5,
       updated_at = $6
 where import_id = $1
   and next_row < $2
"""


async def advance(executor: Executor, *, import_id: str, next_row: int, counts: Counts, now: datetime) -> bool:
    """Note that the rows before `next_row` are done; False if they were already."""
    return await wrote_one(
        executor, ADVANCE, import_id, next_row, counts.imported, counts.duplicates, counts.refused, now
    )


INSERT_PROBLEMS = """
insert into import_problems (import_id, row_number, field, rule, description)
select $1, r.row_number, r.field, r.rule, r.description
  from unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) as r (row_number, field, rule, description)
"""


async def insert_problems(executor: Executor, *, import_id: str, problems: Sequence[tuple[int, Violation]]) -> None:
    """Note what is wrong with which row."""
    await executor.execute(
        INSERT_PROBLEMS,
        import_id,
        [row for row, _ in problems],
        [violation.field for _, violation in problems],
        [violation.rule for _, violation in problems],
        [violation.description for _, violation in problems],
    )


@dataclass(frozen=True, slots=True)
class ProblemRows(Violation):
    """Hold what is wrong with the rows that it is wrong with."""

    rows: list[int]


LIST_PROBLEMS = """
select field, rule, description, (array_agg(row_number order by row_number))[:$2::int] as rows
  from import_problems
 where import_id = $1
 group by field, rule, description
 order by min(row_number), field collate "C", rule collate "C"
 limit $3
"""


async def list_problems(executor: Executor, *, import_id: str, rows: int, limit: int) -> list[ProblemRows]:
    """List at most `limit` problems, each with at most so many of the rows that have it."""
    return [ProblemRows(**row) for row in await executor.fetch(LIST_PROBLEMS, import_id, rows, limit)]
