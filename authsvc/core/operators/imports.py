"""Import of accounts: batches of rows, each stored whole together with the position that it moves.

Whether a name or an address is free is the database's to say, so an import may run beside sign-ups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.operators.identity import Operator
from authsvc.core.operators.user_records import RecordRules, UserRecord
from authsvc.errors import Conflict, InvalidFields, Violation
from authsvc.store import groups, imports, users
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.imports import Counts, Problem, ProblemRows
from authsvc.store.users import Taken, WholeUser

# Of one import; there are few kinds of problems, and many rows may have each.
MOST_PROBLEMS = 10_000
MOST_ROWS_OF_A_PROBLEM = 100_000
# A batch that met a sign-up of one of its names is stored at the next try.
TRIES = 5

USERNAME_EXISTS = Violation("username", "USERNAME_EXISTS", "must not be that of another account")
EMAIL_EXISTS = Violation('attributes["email"]', "EMAIL_EXISTS", "must not be verified by another account")
USER_ID_EXISTS = Violation("user_id", "USER_ID_EXISTS", "must not be that of another account")
UNKNOWN_GROUP = Violation("groups", "GROUP_NOT_FOUND", "must exist")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Say which import it is and what it does."""

    import_id: str
    source: str
    dry_run: bool
    create_groups: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Hold consecutive rows: what each tells, or why it can't be read."""

    first_row: int
    rows: list[UserRecord | Violation]

    @property
    def next_row(self) -> int:
        """Return the number of the row behind the last one."""
        return self.first_row + len(self.rows)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Tell where an import stands."""

    next_row: int
    imported: int
    duplicates: int
    refused: int
    problems: list[ProblemRows]


_NOTHING = Taken(username=False, email=False, user_id=False)


@dataclass(slots=True)
class _Seen:
    """Remember what earlier rows have, by hash value: the names and addresses of a million rows are large."""

    usernames: set[int] = field(default_factory=set)
    emails: set[int] = field(default_factory=set)
    user_ids: set[int] = field(default_factory=set)

    def take(self, user: WholeUser) -> Taken:
        """Tell what of an account earlier rows have; if nothing, later rows can't have it."""
        username, user_id = hash(user.user.username_key), hash(user.user.user_id)
        email = hash(user.verified_key) if user.verified_key else None
        taken = Taken(username in self.usernames, email in self.emails, user_id in self.user_ids)
        if taken == _NOTHING:
            self.usernames.add(username)
            self.user_ids.add(user_id)
            if email is not None:
                self.emails.add(email)
        return taken


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hold the rows of a batch by number: what they are, or what is wrong with them."""

    users: dict[int, WholeUser]
    duplicates: dict[int, list[Violation]]
    refused: dict[int, list[Violation]]

    def from_row(self, first: int) -> _Rows:
        """Return the rows from one on."""
        return _Rows(
            {row: user for row, user in self.users.items() if row >= first},
            {row: violations for row, violations in self.duplicates.items() if row >= first},
            {row: violations for row, violations in self.refused.items() if row >= first},
        )

    def without_groups_but(self, groups: set[str]) -> _Rows:
        """Refuse the rows that name other groups."""
        unknown = {row: [UNKNOWN_GROUP] for row, user in self.users.items() if not groups.issuperset(user.groups)}
        return _Rows(
            {row: user for row, user in self.users.items() if row not in unknown},
            self.duplicates,
            self.refused | unknown,
        )

    def without(self, taken: dict[int, Taken]) -> _Rows:
        """Make the rows of which something is taken duplicates."""
        duplicates = {row: list(_violations(each)) for row, each in taken.items() if each != _NOTHING}
        return _Rows(
            {row: user for row, user in self.users.items() if row not in duplicates},
            self.duplicates | duplicates,
            self.refused,
        )

    @property
    def groups(self) -> list[str]:
        """Return the groups that accounts are to be in."""
        return sorted({group for user in self.users.values() for group in user.groups})

    @property
    def problems(self) -> list[Problem]:
        """Return what is wrong with rows, in their order."""
        return [
            Problem(row, violation.field, violation.rule, violation.description)
            for row, violations in sorted((self.duplicates | self.refused).items())
            for violation in violations
        ]


class Imports:
    """Import accounts."""

    def __init__(self, *, database: Database, rules: RecordRules, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._audit = audit
        self._clock = clock

    async def begin(self, options: ImportOptions, operator: Operator) -> StoringImport | DryRun:
        """Begin an import or take it up again; a dry run leaves nothing behind.

        Raises:
            InvalidFields: the import of this id has another source.
        """
        if options.dry_run:
            return DryRun(database=self._database, rules=self._rules, options=options, clock=self._clock)
        import_id = options.import_id
        await imports.begin(self._database, import_id=import_id, source=options.source, now=self._clock.now())
        begun = await imports.find(self._database, import_id=import_id)
        if begun is None or begun.source != options.source:
            description = "must be the source that the import of this import_id began with"
            raise InvalidFields(violations=(Violation("options.source", "OTHER_SOURCE", description),))
        return StoringImport(
            database=self._database,
            rules=self._rules,
            options=options,
            operator=operator,
            audit=self._audit,
            clock=self._clock,
        )


class StoringImport:
    """Store batches."""

    def __init__(
        self,
        *,
        database: Database,
        rules: RecordRules,
        options: ImportOptions,
        operator: Operator,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._rules = rules
        self._options = options
        self._operator = operator
        self._audit = audit
        self._clock = clock

    async def take(self, batch: Batch) -> None:
        """Store a batch and move the position past it; rows before the position are passed over.

        Raises:
            InvalidFields: rows before the batch are missing.
            Conflict: other changes of the same accounts came between again and again.
        """
        rows = await _parse(self._rules, batch, _Seen(), self._clock.now())
        for _ in range(TRIES):
            try:
                async with self._database.transaction() as transaction:
                    await self._store(transaction, batch, rows)
                return
            except Conflict:
                continue
        raise Conflict(retry_after=RETRY_CONFLICT)

    async def report(self) -> ImportReport:
        """Tell where the import stands after all of its calls."""
        import_id = self._options.import_id
        state = await imports.find(self._database, import_id=import_id)
        if state is None:
            raise Conflict(retry_after=RETRY_CONFLICT)
        problems = await imports.list_problems(
            self._database, import_id=import_id, rows=MOST_ROWS_OF_A_PROBLEM, limit=MOST_PROBLEMS
        )
        return ImportReport(state.next_row, state.imported, state.duplicates, state.refused, problems)

    async def _store(self, executor: Executor, batch: Batch, parsed: _Rows) -> None:
        now = self._clock.now()
        import_id = self._options.import_id
        next_row = await imports.lock(executor, import_id=import_id)
        if next_row is None:
            raise Conflict(retry_after=RETRY_CONFLICT)
        if batch.first_row > next_row:
            raise InvalidFields(violations=(Violation("batch.first_row", "GAP", "must not be after next_row"),))
        if batch.next_row <= next_row:
            return
        rows = parsed.from_row(next_row)
        if self._options.create_groups:
            await groups.insert_missing(executor, names=rows.groups, now=now)
        rows = rows.without_groups_but(await groups.hold_existing(executor, names=rows.groups))
        inserted = await users.insert_many(executor, users=list(rows.users.values()), now=now)
        left_out = {row: user for row, user in rows.users.items() if user.user.user_id not in inserted}
        if left_out:
            taken = await users.find_taken(executor, users=list(left_out.values()), now=now)
            rows = rows.without(dict(zip(left_out, taken, strict=True)))
        if len(rows.users) > len(inserted):
            # What was in the way has gone since.
            raise Conflict(retry_after=RETRY_CONFLICT)
        await users.insert_belongings(executor, users=list(rows.users.values()), now=now)
        await imports.insert_problems(executor, import_id=import_id, problems=rows.problems)
        counts = Counts(imported=len(rows.users), duplicates=len(rows.duplicates), refused=len(rows.refused))
        if not await imports.advance(executor, import_id=import_id, next_row=batch.next_row, counts=counts, now=now):
            raise Conflict(retry_after=RETRY_CONFLICT)
        told = {"import_id": import_id, "first_row": max(batch.first_row, next_row), "next_row": batch.next_row}
        details = {name: str(value) for name, value in (told | asdict(counts)).items()}
        await self._audit.record(executor, self._operator.event(AuditKind.ADMIN_IMPORT_USERS, **details))


class DryRun:
    """Tell what an import would do."""

    def __init__(self, *, database: Database, rules: RecordRules, options: ImportOptions, clock: Clock) -> None:
        self._database = database
        self._rules = rules
        self._options = options
        self._clock = clock
        self._seen = _Seen()
        self._next_row = 1
        self._imported = self._duplicates = self._refused = 0
        self._problems: dict[tuple[str, str, str], list[int]] = {}

    async def take(self, batch: Batch) -> None:
        """Check a batch."""
        now = self._clock.now()
        rows = await _parse(self._rules, batch, self._seen, now)
        if not self._options.create_groups:
            rows = rows.without_groups_but(await groups.find_existing(self._database, names=rows.groups))
        taken = await users.find_taken(self._database, users=list(rows.users.values()), now=now)
        rows = rows.without(dict(zip(rows.users, taken, strict=True)))
        self._next_row = batch.next_row
        self._imported += len(rows.users)
        self._duplicates += len(rows.duplicates)
        self._refused += len(rows.refused)
        for problem in rows.problems:
            key = (problem.field, problem.rule, problem.description)
            if len(self._problems) < MOST_PROBLEMS or key in self._problems:
                numbers = self._problems.setdefault(key, [])
                if len(numbers) < MOST_ROWS_OF_A_PROBLEM:
                    numbers.append(problem.row_number)

    async def report(self) -> ImportReport:
        """Tell what the batches of this call would do."""
        found = [ProblemRows(*key, rows) for key, rows in self._problems.items()]
        problems = sorted(found, key=lambda problem: (problem.rows[0], problem.field, problem.rule))
        return ImportReport(self._next_row, self._imported, self._duplicates, self._refused, problems)


async def _parse(rules: RecordRules, batch: Batch, seen: _Seen, now: datetime) -> _Rows:
    """Sort rows by the rules, and by what earlier rows have; in a thread, since a batch takes a while."""

    def parse() -> _Rows:
        rows = _Rows({}, {}, {})
        for number, row in enumerate(batch.rows, start=batch.first_row):
            parsed = [row] if isinstance(row, Violation) else rules.parse(row, now)
            if isinstance(parsed, list):
                rows.refused[number] = parsed
            elif (taken := seen.take(parsed)) != _NOTHING:
                rows.duplicates[number] = list(_violations(taken))
            else:
                rows.users[number] = parsed
        return rows

    return await asyncio.to_thread(parse)


def _violations(taken: Taken) -> Iterator[Violation]:
    if taken.username:
        yield USERNAME_EXISTS
    if taken.email:
        yield EMAIL_EXISTS
    if taken.user_id:
        yield USER_ID_EXISTS
