"""Import of accounts: batches of rows, each stored whole together with the position that it moves.

Whether a name or an address is free is the database's to say, so an import may run beside sign-ups.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from authsvc.clock import Clock
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.fields import Fields, check_line, refused
from authsvc.core.operators.identity import Operator
from authsvc.core.operators.import_rows import Batch, Rows, Seen, sort
from authsvc.core.operators.user_records import RecordRules
from authsvc.errors import Conflict, Violation
from authsvc.store import groups, imports
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.imports import Counts, ProblemRows
from authsvc.store.users import imported

# Of one import; there are few kinds of problems, and many rows may have each.
MOST_PROBLEMS = 10_000
MOST_ROWS_OF_A_PROBLEM = 100_000
SOURCE_CHARACTERS = 128
_IMPORT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A batch that met a sign-up of one of its names is stored at the next try.
TRIES = 5


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Say which import it is and what it does; as sent, not validated."""

    import_id: str
    source: str
    dry_run: bool
    create_groups: bool


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Tell where an import stands."""

    next_row: int
    imported: int
    duplicates: int
    refused: int
    problems: list[ProblemRows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Imports:
    """Import accounts."""

    database: Database
    rules: RecordRules
    audit: Audit
    clock: Clock

    async def begin(self, options: ImportOptions, operator: Operator) -> StoringImport | DryRun:
        """Begin an import or take it up again; a dry run leaves nothing behind.

        Raises:
            InvalidFields: every broken rule at once, or the import of this id has another source.
        """
        _check(options)
        if options.dry_run:
            return DryRun(shared=self, options=options)
        import_id = options.import_id
        await imports.begin(self.database, import_id=import_id, source=options.source, now=self.clock.now())
        begun = await imports.find(self.database, import_id=import_id)
        if begun is None or begun.source != options.source:
            description = "must be the source that the import of this import_id began with"
            raise refused("options.source", "OTHER_SOURCE", description)
        return StoringImport(shared=self, options=options, operator=operator)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoringImport:
    """Store batches."""

    shared: Imports
    options: ImportOptions
    operator: Operator

    async def take(self, batch: Batch) -> None:
        """Store a batch and move the position past it; rows before the position are passed over.

        Raises:
            InvalidFields: the batch is out of bounds, or rows before it are missing.
            Conflict: other changes of the same accounts came between again and again.
        """
        batch.check()
        rows = await sort(self.shared.rules, batch, Seen(), now=self.shared.clock.now())
        for _ in range(TRIES):
            try:
                async with self.shared.database.transaction() as transaction:
                    await self._store(transaction, batch, rows)
                return
            except Conflict:
                continue
        raise Conflict(retry_after=RETRY_CONFLICT)

    async def report(self) -> ImportReport:
        """Tell where the import stands after all of its calls."""
        import_id = self.options.import_id
        state = await imports.find(self.shared.database, import_id=import_id)
        if state is None:
            raise Conflict(retry_after=RETRY_CONFLICT)
        problems = await imports.list_problems(
            self.shared.database, import_id=import_id, rows=MOST_ROWS_OF_A_PROBLEM, limit=MOST_PROBLEMS
        )
        return ImportReport(
            next_row=state.next_row,
            imported=state.imported,
            duplicates=state.duplicates,
            refused=state.refused,
            problems=problems,
        )

    async def _store(self, executor: Executor, batch: Batch, parsed: Rows) -> None:
        now = self.shared.clock.now()
        import_id = self.options.import_id
        next_row = await imports.lock(executor, import_id=import_id)
        if next_row is None:
            raise Conflict(retry_after=RETRY_CONFLICT)
        if batch.first_row > next_row:
            raise refused("batch.first_row", "GAP", "must not be after next_row")
        if batch.next_row <= next_row:
            return
        rows = parsed.from_row(next_row)
        if self.options.create_groups:
            await groups.insert_missing(executor, names=rows.groups, now=now)
        rows = rows.without_groups_but(await groups.hold_existing(executor, names=rows.groups))
        inserted = await imported.insert_many(executor, users=list(rows.users.values()), now=now)
        left_out = {row: user for row, user in rows.users.items() if user.user.user_id not in inserted}
        if left_out:
            taken = await imported.find_taken(executor, users=list(left_out.values()), now=now)
            rows = rows.without(dict(zip(left_out, taken, strict=True)))
        if len(rows.users) > len(inserted):
            # What was in the way has gone since.
            raise Conflict(retry_after=RETRY_CONFLICT)
        await imported.insert_belongings(executor, users=list(rows.users.values()), now=now)
        await imports.insert_problems(executor, import_id=import_id, problems=rows.problems)
        counts = Counts(imported=len(rows.users), duplicates=len(rows.duplicates), refused=len(rows.refused))
        if not await imports.advance(executor, import_id=import_id, next_row=batch.next_row, counts=counts, now=now):
            raise Conflict(retry_after=RETRY_CONFLICT)
        told = {"import_id": import_id, "first_row": max(batch.first_row, next_row), "next_row": batch.next_row}
        details = {name: str(value) for name, value in (told | asdict(counts)).items()}
        await self.shared.audit.record(executor, self.operator.event(AuditKind.ADMIN_IMPORT_USERS, **details))


class DryRun:
    """Tell what an import would do."""

    def __init__(self, *, shared: Imports, options: ImportOptions) -> None:
        self._shared = shared
        self._options = options
        self._seen = Seen()
        self._next_row = 1
        self._imported = self._duplicates = self._refused = 0
        self._problems: dict[Violation, list[int]] = {}

    async def take(self, batch: Batch) -> None:
        """Check a batch.

        Raises:
            InvalidFields: it is out of bounds.
        """
        batch.check()
        now = self._shared.clock.now()
        rows = await sort(self._shared.rules, batch, self._seen, now=now)
        if not self._options.create_groups:
            rows = rows.without_groups_but(await groups.find_existing(self._shared.database, names=rows.groups))
        taken = await imported.find_taken(self._shared.database, users=list(rows.users.values()), now=now)
        rows = rows.without(dict(zip(rows.users, taken, strict=True)))
        self._next_row = batch.next_row
        self._imported += len(rows.users)
        self._duplicates += len(rows.duplicates)
        self._refused += len(rows.refused)
        for row, violation in rows.problems:
            if len(self._problems) < MOST_PROBLEMS or violation in self._problems:
                numbers = self._problems.setdefault(violation, [])
                if len(numbers) < MOST_ROWS_OF_A_PROBLEM:
                    numbers.append(row)

    async def report(self) -> ImportReport:
        """Tell what the batches of this call would do."""
        found = [ProblemRows(**asdict(violation), rows=rows) for violation, rows in self._problems.items()]
        problems = sorted(found, key=lambda problem: (problem.rows[0], problem.field, problem.rule))
        return ImportReport(
            next_row=self._next_row,
            imported=self._imported,
            duplicates=self._duplicates,
            refused=self._refused,
            problems=problems,
        )


def _check(options: ImportOptions) -> None:
    fields = Fields()
    fields.require(
        options.dry_run or _IMPORT_ID.fullmatch(options.import_id) is not None,
        Violation("options.import_id", "IMPORT_ID", "must have 1 to 64 letters, digits, `.`, `_` or `-`"),
    )
    fields.take(check_line, options.source, SOURCE_CHARACTERS, field="options.source", rule="SOURCE")
    fields.check()
