"""Reading the audit trail: a user's own events, and those of all for operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from authsvc.clock import Clock
from authsvc.core.accounts.lookup import NamedUser, parse_user
from authsvc.core.fields import Fields
from authsvc.core.pages import Page, Pager, PageRequest, check_page
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


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEvents:
    """List events in pages that stay right while events are added."""

    database: Database
    ring: KeyRing
    clock: Clock

    async def list_own(self, user_id: UserId, request: PageRequest) -> Page[Event]:
        """List a user's events of the last 90 days.

        Raises:
            InvalidFields: the request is out of bounds, or its token is not one of this list.
        """
        return await self._list_of_user(user_id, self.clock.now() - RECENT, request)

    async def list_matching(self, named: NamedUser | None, request: PageRequest) -> Page[Event]:
        """List all events of a user, who may be deleted where the id is given; or of everybody.

        Raises:
            UserNotFound: there is no user of that name.
            InvalidFields: every broken rule at once, or the token is not one of this list.
        """
        if named is None:
            return await self._list_all(request)
        fields = Fields()
        parsed = fields.take(parse_user, named)
        fields.take(check_page, request)
        fields.check()
        ref = parsed.value
        user_id = ref if isinstance(ref, UUID) else await users.find_id(self.database, username_key=ref)
        if user_id is None:
            raise UserNotFound
        return await self._list_of_user(user_id, _BEGIN_OF_TIME, request)

    async def _list_all(self, request: PageRequest) -> Page[Event]:
        pager = Pager(ring=self.ring, request=request, of="events of all")
        position = pager.position(3)
        before = (
            (datetime.fromisoformat(position[0]), int(position[1]), int(position[2]))
            if position
            else (_END_OF_TIME, _LAST_CHAIN, _LAST)
        )
        found = await audit.list_all(self.database, since=_BEGIN_OF_TIME, before=before, limit=pager.limit)
        return pager.page(found, lambda last: (last.created_at.isoformat(), last.chain, last.sequence))

    async def _list_of_user(self, user_id: UserId, since: datetime, request: PageRequest) -> Page[Event]:
        pager = Pager(ring=self.ring, request=request, of=f"events of {user_id}")
        position = pager.position(1)
        # All of a user's events are on one chain, so that its order is theirs.
        before = int(position[0]) if position else _LAST
        found = await audit.list_of_user(self.database, user_id=user_id, since=since, before=before, limit=pager.limit)
        return pager.page(found, lambda last: (last.sequence,))
