"""One change of an account by an operator: under the lock of its row, and recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.accounts.lookup import UserRef, lock
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.operators.identity import Operator
from authsvc.domain import User
from authsvc.store.db import Database, Executor


@dataclass(frozen=True, slots=True)
class Change:
    """Hold what a change is made in: its transaction, which holds the row of the account as it was, and its time."""

    executor: Executor
    user: User
    now: datetime


class Changes:
    """Open changes."""

    def __init__(self, database: Database, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    @asynccontextmanager
    async def of(
        self, ref: UserRef, kind: AuditKind, operator: Operator, details: Mapping[str, str] | None = None
    ) -> AsyncIterator[Change]:
        """Hold the account's row, and record what is done inside as the last thing of the transaction.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._database.transaction() as transaction:
            user = await lock(transaction, ref)
            yield Change(transaction, user, self._clock.now())
            event = AuditEvent(
                kind=kind,
                caller=operator.caller,
                user_id=user.user_id,
                actor=operator.actor,
                details=details or {},
            )
            await self._audit.record(transaction, event)
