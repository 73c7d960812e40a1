"""The outbox in the hands of operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.core.audit.trail import AuditKind
from authsvc.core.fields import Fields, parse_choice, parse_uuid
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.core.pages import Page, Pager, PageRequest, check_page
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import MailEntry, MailId, MailState
from authsvc.errors import MailNotFound
from authsvc.store import mail_list
from authsvc.store.db import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class MailQueue:
    """List mail, and have it tried again."""

    database: Database
    ring: KeyRing
    changes: Changes

    async def list_latest(self, state: str, request: PageRequest) -> Page[MailEntry]:
        """Return a page of the mails in a state, or of all if it is empty, latest first.

        Raises:
            InvalidFields: every broken rule at once, or the token is not one of this list.
        """
        fields = Fields()
        known = fields.take(parse_choice, state, MailState, field="state")
        fields.take(check_page, request)
        fields.check()
        wanted = known.valid
        pager = Pager(ring=self.ring, request=request, of=f"mail {wanted}")
        position = pager.position(2)
        before = (datetime.fromisoformat(position[0]), UUID(position[1])) if position else None
        found = await mail_list.list_latest(self.database, state=wanted, before=before, limit=pager.limit)
        return pager.page(found, lambda last: (last.created_at.isoformat(), last.mail_id))

    async def retry(self, mail_id: str, operator: Operator) -> None:
        """Have a waiting mail tried at once.

        Raises:
            InvalidFields: it is no id.
            MailNotFound: there is no such mail, it has its end, or its time has passed.
        """
        parsed = MailId(parse_uuid(mail_id, field="mail_id"))
        async with self.changes.apart(operator, AuditKind.ADMIN_RETRY_MAIL, mail_id=str(parsed)) as act:
            if not await mail_list.hurry(act.executor, mail_id=parsed, now=act.now):
                raise MailNotFound
