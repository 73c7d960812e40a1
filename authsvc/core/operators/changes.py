"""What operators do, recorded in the transaction that does it; to an account under the lock of its row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.access.changes import Change
from authsvc.core.accounts.lookup import UserRef, lock
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.operators.identity import Operator
from authsvc.domain import UserId
from authsvc.store.db import Database, Executor


@dataclass(slots=True)
class Act:
    """Hold what is done in that is no change of an account: its transaction and its time.

    What is learned inside goes into `details`; the id of an account that is made there, into `user_id`.
    """

    executor: Executor
    now: datetime
    details: dict[str, str]
    user_id: UserId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Open changes: the twin of what `accounts.SignedIn` is to users."""

    database: Database
    audit: Audit
    clock: Clock

    @asynccontextmanager
    async def of(self, ref: UserRef, operator: Operator, kind: AuditKind, **details: str) -> AsyncIterator[Change]:
        """Hold the account's row, and record what is done inside as the last thing of the transaction.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self.database.transaction() as transaction:
            user = await lock(transaction, ref)
            change = Change(executor=transaction, user=user, now=self.clock.now(), details=details)
            yield change
            events = change.events(kind, lambda each, **told: operator.event(each, user.user_id, **told))
            await self.audit.record(transaction, *events)

    @asynccontextmanager
    async def apart(self, operator: Operator, kind: AuditKind, **details: str) -> AsyncIterator[Act]:
        """Record what is done inside as the last thing of the transaction: to no account, or to one that is made."""
        async with self.database.transaction() as transaction:
            act = Act(transaction, self.clock.now(), details)
            yield act
            await self.audit.record(transaction, operator.event(kind, act.user_id, **act.details))
