"""Export of accounts: pages by id, each account as it stands at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.factors.totp import secret_binding
from authsvc.core.operators.identity import Operator
from authsvc.core.operators.user_records import TotpRecord, UserRecord
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.store import exports
from authsvc.store.db import Database
from authsvc.store.exports import StoredUser

PAGE = 200
FIRST = UUID(int=0)


class Exports:
    """Export accounts."""

    def __init__(self, database: Database, ring: KeyRing, audit: Audit) -> None:
        self._database = database
        self._ring = ring
        self._audit = audit

    async def pages(
        self, after: UUID | None, operator: Operator, *, include_secrets: bool
    ) -> AsyncIterator[list[UserRecord]]:
        """Yield all accounts from behind `after` on; that it was asked for is recorded before anything is told.

        No connection is held between pages: a reader may be slow.
        """
        details = {"include_secrets": str(include_secrets).lower(), "after_user_id": str(after) if after else ""}
        event = AuditEvent(
            kind=AuditKind.ADMIN_EXPORT_USERS, caller=operator.caller, actor=operator.actor, details=details
        )
        async with self._database.transaction() as transaction:
            await self._audit.record(transaction, event)
        last = after or FIRST
        while page := await exports.list_page(self._database, after=last, limit=PAGE, with_secrets=include_secrets):
            last = page[-1].user_id
            yield await asyncio.to_thread(lambda users: [self._record(user) for user in users], page)
            if len(page) < PAGE:
                return

    def _record(self, user: StoredUser) -> UserRecord:
        email = {} if user.email is None else {"email": user.email}
        return UserRecord(
            username=user.username,
            user_id=str(user.user_id),
            status=user.status,
            disabled=user.disabled_at is not None,
            attributes={**user.attributes, **email},
            email_verified=user.email_verified_at is not None,
            phone_number_verified=user.phone_verified_at is not None,
            created_at=user.created_at,
            updated_at=user.updated_at,
            totp_mfa=user.totp_mfa,
            sms_mfa=user.sms_mfa,
            email_mfa=user.email_mfa,
            preferred_mfa=user.preferred_mfa or "",
            groups=tuple(user.groups),
            password_hash=user.hash or "",
            password_expires_at=user.password_expires_at,
            password_recovered_by=user.recovered_by or "",
            totp_devices=tuple(self._devices(user)),
        )

    def _devices(self, user: StoredUser) -> Iterator[TotpRecord]:
        columns = zip(user.device_ids, user.friendly_names, user.sealed_secrets, user.devices_verified_at, strict=True)
        for device_id, friendly_name, sealed, verified_at in columns:
            binding = secret_binding(device_id, user.user_id)
            secret = self._ring.open(Purpose.TOTP_SECRET, sealed, bound_to=binding).decode()
            yield TotpRecord(secret, friendly_name, verified_at)
