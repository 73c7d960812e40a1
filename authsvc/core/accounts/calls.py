"""Calls on accounts: by users who are signed in, under the lock of the account's row, and by those who are not.

Either is recorded with what it does, as the last thing of its transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.access.changes import Change
from authsvc.core.access.throttle import Action, Admission, Throttle
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind, Tried
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.domain import User, UserId, UsernameKey
from authsvc.errors import TokenRevoked
from authsvc.store import users
from authsvc.store.db import Database, Executor


@dataclass(slots=True, kw_only=True)
class OwnChange(Change):
    """Hold a change of one's own account: the bearer as it stands under the lock, too."""

    bearer: Bearer


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedIn:
    """Open changes of one's own account: the twin of what `operators.Changes` is to operators."""

    database: Database
    bearers: Bearers
    audit: Audit
    clock: Clock

    async def find(self, bearer: Bearer) -> User:
        """Return the account as it is now.

        Raises:
            TokenRevoked: it has just been erased.
        """
        user = await users.find_by_id(self.database, user_id=bearer.standing.user_id)
        if user is None:
            raise TokenRevoked
        return user

    def require_recent(self, bearer: Bearer) -> None:
        """Let a sensitive call pass only soon after the user proved themselves; `change` is told that it is one.

        Raises:
            ReauthenticationRequired: see `Bearers.require_recent`.
        """
        self.bearers.require_recent(bearer)

    def require_current(self, bearer: Bearer) -> None:
        """Let what finishes a sensitive call pass, long after it too, but with no token from before the latest proof.

        Raises:
            ReauthenticationRequired: it is one.
        """
        self.bearers.require_current(bearer)

    @asynccontextmanager
    async def tries(self, bearer: Bearer, kind: AuditKind, **details: str) -> AsyncIterator[Tried]:
        """Record a refusal that ends what is tried inside; goes around `change`, not into it."""
        standing = bearer.standing
        async with self.audit.failures(
            kind, bearer.caller, user_id=standing.user_id, session_id=standing.session_id
        ) as tried:
            tried.details.update(details)
            yield tried

    @asynccontextmanager
    async def change(
        self,
        bearer: Bearer,
        kind: AuditKind | None,
        details: Mapping[str, str] | None = None,
        *,
        is_sensitive: bool = False,
    ) -> AsyncIterator[OwnChange]:
        """Hold the account's row, and record what is done inside as the last thing of the transaction.

        `kind` None: there is nothing to record yet. `is_sensitive`: the token is looked at again, since the user may
        have been proved anew while the call waited for the lock.

        Raises:
            TokenRevoked: the session has ended since the call began, or the account is disabled or gone.
            ReauthenticationRequired: the change is sensitive, and the token from before the latest proof.
        """
        async with self.database.transaction() as transaction:
            user, held = await self.bearers.hold(transaction, bearer)
            if is_sensitive:
                self.bearers.require_current(held)
            now = self.clock.now()
            change = OwnChange(executor=transaction, user=user, now=now, details=dict(details or {}), bearer=held)
            yield change
            if kind is not None:
                await self.audit.record(transaction, *change.events(kind, partial(event_of, bearer)))


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Unauthenticated:
    """Count calls and open what they do: the twin of what `SignedIn` is to users who are signed in."""

    database: Database
    throttle: Throttle
    audit: Audit
    clock: Clock

    async def count(self, action: Action, caller: Caller) -> None:
        """Count a call, before anything that it says is looked at.

        Raises:
            LimitExceeded: too many from this source or in all.
        """
        await self.throttle.spend_call(action, caller)

    async def admit(self, action: Action, caller: Caller) -> Admission:
        """Count a call in the same place, whose lane is yet to be found.

        Raises:
            LimitExceeded: too many from this source.
        """
        return await self.throttle.admit(action, caller)

    def tries(self, kind: AuditKind, caller: Caller, username_key: UsernameKey) -> AbstractAsyncContextManager[Tried]:
        """Record a refusal that ends what is tried inside; goes around `undertake`, not into it."""
        return self.audit.failures(kind, caller, username_key=username_key)

    @asynccontextmanager
    async def undertake(self, kind: AuditKind, caller: Caller) -> AsyncIterator[Undertaking]:
        """Record what is done inside as the last thing of its transaction."""
        now = self.clock.now()
        async with self.database.transaction() as transaction:
            undertaking = Undertaking(transaction, now)
            yield undertaking
            if not undertaking.is_void:
                await self.audit.record(transaction, AuditEvent(kind, caller, undertaking.user_id))
