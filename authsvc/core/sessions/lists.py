"""Lists of a user's live sessions."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from authsvc.clock import Clock
from authsvc.core.pages import Page, Pager, PageRequest
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import Session, UserId
from authsvc.store import sessions
from authsvc.store.db import Database

_LAST = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=(1 << 128) - 1))


class SessionList:
    """List sessions."""

    def __init__(self, *, database: Database, ring: KeyRing, clock: Clock) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock

    async def list_live(self, user_id: UserId, request: PageRequest) -> Page[Session]:
        """List a user's live sessions, latest first.

        Raises:
            InvalidFields: the request is out of bounds, or its token is not one of this user's sessions.
        """
        pager = Pager(ring=self._ring, request=request, of=str(user_id))
        position = pager.position(2)
        found = await sessions.list_live(
            self._database,
            user_id=user_id,
            now=self._clock.now(),
            before=(datetime.fromisoformat(position[0]), UUID(position[1])) if position else _LAST,
            limit=pager.limit,
        )
        return pager.page(found, lambda last: (last.created_at.isoformat(), last.session_id))
