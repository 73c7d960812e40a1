"""Calls of those who are not signed in: counted before anything else, and recorded with what they do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind, Tried
from authsvc.domain import UserId, UsernameKey
from authsvc.store.db import Database, Executor


@dataclass(slots=True)
class Undertaking:
    """Hold what a call does in: its transaction and its time.

    Whose account it is goes into `user_id` as soon as that is known. One that turns out to change nothing says so, and
    is not recorded.
    """

    executor: Executor
    now: datetime
    user_id: UserId | None = None
    is_void: bool = False


class Unauthenticated:
    """Count calls and open what they do: the twin of what `SignedIn` is to users who are signed in."""

    def __init__(self, *, database: Database, throttle: Throttle, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._throttle = throttle
        self._audit = audit
        self._clock = clock

    async def count(self, action: Action, caller: Caller) -> None:
        """Count a call, before anything that it says is looked at.

        Raises:
            LimitExceeded: too many from this source or in all.
        """
        await self._throttle.spend_call(action, caller)

    def tries(self, kind: AuditKind, caller: Caller, username_key: UsernameKey) -> AbstractAsyncContextManager[Tried]:
        """Record a refusal that ends what is tried inside; goes around `undertake`, not into it."""
        return self._audit.failures(kind, caller, username_key=username_key)

    @asynccontextmanager
    async def undertake(self, kind: AuditKind, caller: Caller) -> AsyncIterator[Undertaking]:
        """Record what is done inside as the last thing of its transaction."""
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            undertaking = Undertaking(transaction, now)
            yield undertaking
            if not undertaking.is_void:
                await self._audit.record(transaction, AuditEvent(kind, caller, undertaking.user_id))
