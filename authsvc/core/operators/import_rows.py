"""The rows of an import: sorted by the rules, and by what of each others have."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.core.fields import Fields, has_control_characters
from authsvc.core.operators.user_records import RecordRules, UserRecord
from authsvc.errors import InvalidFields, Violation
from authsvc.store.users.imported import Taken
from authsvc.store.users.rows import WholeUser

BATCH_ROWS = 1_000

USERNAME_EXISTS = Violation("username", "USERNAME_EXISTS", "must not be that of another account")
EMAIL_EXISTS = Violation('attributes["email"]', "EMAIL_EXISTS", "must not be verified by another account")
USER_ID_EXISTS = Violation("user_id", "USER_ID_EXISTS", "must not be that of another account")
UNKNOWN_GROUP = Violation("groups", "GROUP_NOT_FOUND", "must exist")
UNREADABLE = Violation("", "UNREADABLE", "must be readable")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Hold why whoever sends a row can't read it; as sent, not validated."""

    field: str
    rule: str
    description: str

    @property
    def violation(self) -> Violation:
        """Return the broken rule, in bounds."""
        violation = Violation(self.field[:128], self.rule[:64], self.description[:256])
        parts = (violation.field, violation.rule, violation.description)
        return UNREADABLE if any(map(has_control_characters, parts)) else violation


@dataclass(frozen=True, slots=True)
class Batch:
    """Hold consecutive rows: what each tells, or why it can't be read."""

    first_row: int
    rows: list[UserRecord | Unreadable]

    @property
    def next_row(self) -> int:
        """Return the number of the row behind the last one."""
        return self.first_row + len(self.rows)

    def check(self) -> None:
        """See that the batch keeps the bounds.

        Raises:
            InvalidFields: every broken rule at once.
        """
        fields = Fields()
        fields.require(1 <= self.first_row < 2**53, Violation("batch.first_row", "RANGE", "must be at least 1"))
        fields.require(
            1 <= len(self.rows) <= BATCH_ROWS, Violation("batch.rows", "COUNT", f"must be 1 to {BATCH_ROWS}")
        )
        fields.check()


_NOTHING = Taken(username=False, email=False, user_id=False)


@dataclass(slots=True)
class Seen:
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
class Rows:
    """Hold the rows of a batch by number: what they are, or what is wrong with them."""

    users: dict[int, WholeUser]
    duplicates: dict[int, list[Violation]]
    refused: dict[int, list[Violation]]

    def from_row(self, first: int) -> Rows:
        """Return the rows from one on."""
        return Rows(
            {row: user for row, user in self.users.items() if row >= first},
            {row: violations for row, violations in self.duplicates.items() if row >= first},
            {row: violations for row, violations in self.refused.items() if row >= first},
        )

    def without_groups_but(self, groups: set[str]) -> Rows:
        """Refuse the rows that name other groups."""
        unknown = {row: [UNKNOWN_GROUP] for row, user in self.users.items() if not groups.issuperset(user.groups)}
        return Rows(self._users_but(unknown), self.duplicates, self.refused | unknown)

    def without(self, taken: dict[int, Taken]) -> Rows:
        """Make the rows of which something is taken duplicates."""
        duplicates = {row: list(_violations(each)) for row, each in taken.items() if each != _NOTHING}
        return Rows(self._users_but(duplicates), self.duplicates | duplicates, self.refused)

    def _users_but(self, rows: Container[int]) -> dict[int, WholeUser]:
        return {row: user for row, user in self.users.items() if row not in rows}

    @property
    def groups(self) -> list[str]:
        """Return the groups that accounts are to be in."""
        return sorted({group for user in self.users.values() for group in user.groups})

    @property
    def problems(self) -> list[tuple[int, Violation]]:
        """Return what is wrong with rows, in their order."""
        return [
            (row, violation)
            for row, violations in sorted((self.duplicates | self.refused).items())
            for violation in violations
        ]


async def sort(rules: RecordRules, batch: Batch, seen: Seen, *, now: datetime) -> Rows:
    """Sort rows by the rules, and by what earlier rows have; in a thread, since a batch takes a while."""

    def parse() -> Rows:
        rows = Rows({}, {}, {})
        for number, row in enumerate(batch.rows, start=batch.first_row):
            if isinstance(row, Unreadable):
                rows.refused[number] = [row.violation]
                continue
            try:
                user = rules.parse(row, now)
            except InvalidFields as error:
                rows.refused[number] = list(error.violations)
                continue
            if (taken := seen.take(user)) != _NOTHING:
                rows.duplicates[number] = list(_violations(taken))
            else:
                rows.users[number] = user
        return rows

    return await asyncio.to_thread(parse)


def _violations(taken: Taken) -> Iterator[Violation]:
    if taken.username:
        yield USERNAME_EXISTS
    if taken.email:
        yield EMAIL_EXISTS
    if taken.user_id:
        yield USER_ID_EXISTS
