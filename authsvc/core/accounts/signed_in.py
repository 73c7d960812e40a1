"""What a signed-in user changes: under the lock of the account's row, by a session that still lives, and recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from authsvc.clock import Clock
from authsvc.core.access.changes import Change
from authsvc.core.audit.trail import Audit, AuditKind, Tried
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.domain import User
from authsvc.errors import TokenRevoked
from authsvc.store import users
from authsvc.store.db import Database


class SignedIn:
    """Open changes of one's own account: the twin of what `operators.Changes` is to operators."""

    def __init__(self, *, database: Database, bearers: Bearers, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._bearers = bearers
        self._audit = audit
        self._clock = clock

    async def find(self, bearer: Bearer) -> User:
        """Return the account as it is now.

        Raises:
            TokenRevoked: it has just been erased.
        """
        user = await users.find_by_id(self._database, user_id=bearer.standing.user_id)
        if user is None:
            raise TokenRevoked
        return user

    def require_recent(self, bearer: Bearer) -> None:
        """Let a sensitive call pass only soon after the user proved themselves.

        Raises:
            ReauthenticationRequired: that was too long ago.
        """
        self._bearers.require_recent(bearer)

    @asynccontextmanager
    async def tries(self, bearer: Bearer, kind: AuditKind, **details: str) -> AsyncIterator[Tried]:
        """Record a refusal that ends what is tried inside; goes around `change`, not into it."""
        standing = bearer.standing
        async with self._audit.failures(
            kind, bearer.caller, user_id=standing.user_id, session_id=standing.session_id
        ) as tried:
            tried.details.update(details)
            yield tried

    @asynccontextmanager
    async def change(
        self, bearer: Bearer, kind: AuditKind | None, details: Mapping[str, str] | None = None
    ) -> AsyncIterator[Change]:
        """Hold the account's row, and record what is done inside as the last thing of the transaction.

        `kind` None: there is nothing to record yet.

        Raises:
            TokenRevoked: the session has ended since the call began, or the account is disabled or gone.
        """
        async with self._database.transaction() as transaction:
            user = await self._bearers.hold(transaction, bearer)
            change = Change(transaction, user, self._clock.now(), dict(details or {}))
            yield change
            if kind is not None:
                await self._audit.record(transaction, *change.events(kind, partial(event_of, bearer)))
