"""Reading the audit trail: a user's own events, and those of all for operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from authsvc.clock import Clock
from authsvc.core.accounts.lookup import UserRef
from authsvc.core.pages import PAGE_SIZE, page_token, position_of
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import Event, UserId
from authsvc.errors import UserNotFound
from authsvc.store import audit, users
from authsvc.store.db import Database

# How far back users see their own.
RECENT = timedelta(days=90)
_BEGIN_OF_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_LAST = (1 << 63) - 1
_LAST_CHAIN = (1 << 15) - 1


@dataclass(frozen=True, slots=True)
class EventPage:
    """Hold some events, latest first, and the token of the next page, empty on the last."""

    events: list[Event]
    next_page_token: str


class AuditEvents:
    """List events in pages that stay right while events are added."""

    def __init__(self, database: Database, ring: KeyRing, clock: Clock) -> None:
        self._database = database
        self._ring = ring
        self._clock = clock

    async def list_own(self, user_id: UserId, *, page_size: int, token: str) -> EventPage:
        """List a user's events of the last 90 days, 50 by default.

        Raises:
            InvalidFields: the page token is not one of this list.
        """
        return await self._list_of_user(user_id, self._clock.now() - RECENT, page_size, token)

    async def list_matching(self, ref: UserRef | None, *, page_size: int, token: str) -> EventPage:
        """List all events of a user, who may be deleted where the id is given; or of everybody; 50 by default.

        Raises:
            UserNotFound: there is no user of that name.
            InvalidFields: the page token is not one of this list.
        """
        if ref is None:
            return await self._list_all(page_size, token)
        user_id = ref.user_id
        if user_id is None and ref.username_key is not None:
            user_id = await users.find_id(self._database, username_key=ref.username_key)
        if user_id is None:
            raise UserNotFound
        return await self._list_of_user(user_id, _BEGIN_OF_TIME, page_size, token)

    async def _list_all(self, page_size: int, token: str) -> EventPage:
        bound_to = "events of all"
        position = position_of(self._ring, token, bound_to=bound_to).split(" ") if token else []
        before = (
            (datetime.fromisoformat(position[0]), int(position[1]), int(position[2]))
            if position
            else (_END_OF_TIME, _LAST_CHAIN, _LAST)
        )
        size = page_size or PAGE_SIZE
        found = await audit.list_all(self._database, since=_BEGIN_OF_TIME, before=before, limit=size + 1)
        last = found[:size][-1] if len(found) > size else None
        if last is None:
            return EventPage(found, "")
        next_position = f"{last.created_at.isoformat()} {last.chain} {last.sequence}"
        return EventPage(found[:size], page_token(self._ring, next_position, bound_to=bound_to))

    async def _list_of_user(self, user_id: UserId, since: datetime, page_size: int, token: str) -> EventPage:
        bound_to = f"events of {user_id}"
        position = position_of(self._ring, token, bound_to=bound_to)
        size = page_size or PAGE_SIZE
        # All of a user's events are on one chain, so that its order is theirs.
        before = int(position) if position else _LAST
        found = await audit.list_of_user(self._database, user_id=user_id, since=since, before=before, limit=size + 1)
        if len(found) <= size:
            return EventPage(found, "")
        return EventPage(found[:size], page_token(self._ring, str(found[size - 1].sequence), bound_to=bound_to))
