"""The sessions of a user: their list, and the end of one or of all that the user has begun."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.fields import parse_uuid
from authsvc.core.pages import Page, Pager, PageRequest
from authsvc.core.sessions.bearers import Bearer, end_of, event_of
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import Session, SessionId, UserId
from authsvc.store import challenges, sessions, users
from authsvc.store.db import Database, Executor

_LAST = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=(1 << 128) - 1))


async def end_all(executor: Executor, user_id: UserId, now: datetime, *, keep: SessionId | None = None) -> None:
    """End all sessions but one to `keep`, and half-done sign-ins, in a transaction that holds the user's row."""
    await sessions.revoke_of_user(executor, user_id=user_id, now=now, keep=keep)
    await challenges.delete_of_user(executor, user_id=user_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class UserSessions:
    """List and end the sessions of users."""

    database: Database
    ring: KeyRing
    audit: Audit
    settings: TokensSettings
    clock: Clock

    async def list_live(self, user_id: UserId, request: PageRequest) -> Page[Session]:
        """List a user's live sessions, latest first.

        Raises:
            InvalidFields: the request is out of bounds, or its token is not one of this user's sessions.
        """
        pager = Pager(ring=self.ring, request=request, of=str(user_id))
        position, now, idle = pager.position(2), self.clock.now(), self.settings.session_idle
        found = await sessions.list_live(
            self.database,
            user_id=user_id,
            now=now,
            used_after=now - idle if idle else None,
            before=(datetime.fromisoformat(position[0]), UUID(position[1])) if position else _LAST,
            limit=pager.limit,
        )
        found = [replace(each, expires_at=end_of(each, self.settings)) for each in found]
        return pager.page(found, lambda last: (last.created_at.isoformat(), last.session_id))

    async def sign_out(self, bearer: Bearer, *, everywhere: bool) -> None:
        """End the bearer's session or, `everywhere`, all sessions and half-done sign-ins of the user."""
        now = self.clock.now()
        user_id = bearer.standing.user_id
        async with self.database.transaction() as transaction:
            # A sign-in that finishes at this moment, and what the session began, come before or after as a whole.
            await users.lock(transaction, user_id=user_id)
            if everywhere:
                await end_all(transaction, user_id, now)
            else:
                await sessions.revoke(transaction, session_id=bearer.standing.session_id, user_id=user_id, now=now)
            scope = "GLOBAL" if everywhere else "SESSION"
            await self.audit.record(transaction, event_of(bearer, AuditKind.SIGN_OUT, scope=scope))

    async def revoke(self, bearer: Bearer, session_id: str) -> None:
        """End one session of the bearer's user; no error if there is none to end.

        Raises:
            InvalidFields: the id is none.
        """
        user_id, ended = bearer.standing.user_id, SessionId(parse_uuid(session_id, field="session_id"))
        async with self.database.transaction() as transaction:
            # What the session began comes before as a whole, or finds it ended.
            await users.lock(transaction, user_id=user_id)
            if await sessions.revoke(transaction, session_id=ended, user_id=user_id, now=self.clock.now()):
                event = event_of(bearer, AuditKind.REVOKE_SESSION, revoked_session_id=str(ended))
                await self.audit.record(transaction, event)
