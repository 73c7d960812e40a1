"""The outbox in the hands of operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.clock import Clock
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.operators.identity import Operator
from authsvc.core.pages import PAGE_SIZE, page_token, position_of
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import MailEntry, MailId, MailState
from authsvc.errors import MailNotFound
from authsvc.store import mail_list
from authsvc.store.db import Database


@dataclass(frozen=True, slots=True)
class MailPage:
    """Hold some mails and the token of the next page, empty on the last."""

    mails: list[MailEntry]
    next_page_token: str


class MailQueue:
    """List mail, and have it tried again."""

    def __init__(self, database: Database, ring: KeyRing, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock
        self._ring = ring

    async def list_latest(self, state: MailState | None, *, page_size: int, token: str) -> MailPage:
        """Return a page of the mails in a state, or of all, latest first, 50 by default.

        Raises:
            InvalidFields: the page token is not one of this list.
        """
        of = f"mail {state}"
        size = page_size or PAGE_SIZE
        created_at, _, mail_id = position_of(self._ring, token, bound_to=of).partition(" ")
        before = (datetime.fromisoformat(created_at), UUID(mail_id)) if mail_id else None
        found = await mail_list.list_latest(self._database, state=state, before=before, limit=size + 1)
        page = found[:size]
        if len(found) <= size:
            return MailPage(page, "")
        position = f"{page[-1].created_at.isoformat()} {page[-1].mail_id}"
        return MailPage(page, page_token(self._ring, position, bound_to=of))

    async def retry(self, mail_id: MailId, operator: Operator) -> None:
        """Have a waiting mail tried at once.

        Raises:
            MailNotFound: there is no such mail, it has its end, or its time has passed.
        """
        async with self._database.transaction() as transaction:
            if not await mail_list.hurry(transaction, mail_id=mail_id, now=self._clock.now()):
                raise MailNotFound
            event = AuditEvent(
                kind=AuditKind.ADMIN_RETRY_MAIL,
                caller=operator.caller,
                actor=operator.actor,
                details={"mail_id": str(mail_id)},
            )
            await self._audit.record(transaction, event)
