"""Export of accounts: pages by id, each account as it stands at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import UUID

from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.totp import secret_binding
from authsvc.core.fields import parse_uuid
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.core.operators.user_records import TotpRecord, UserRecord
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.store.db import Database
from authsvc.store.users import lists
from authsvc.store.users.rows import WholeUser

PAGE = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Exports:
    """Export accounts."""

    database: Database
    ring: KeyRing
    changes: Changes

    async def pages(
        self, after_user_id: str, operator: Operator, *, include_secrets: bool
    ) -> AsyncIterator[list[UserRecord]]:
        """Yield all accounts from behind an id on; that it was asked for is recorded before anything is told.

        No connection is held between pages: a reader may be slow.

        Raises:
            InvalidFields: it is no id.
        """
        after: UUID | None = parse_uuid(after_user_id, field="after_user_id") if after_user_id else None
        details = {"include_secrets": str(include_secrets).lower(), "after_user_id": str(after) if after else ""}
        async with self.changes.apart(operator, AuditKind.ADMIN_EXPORT_USERS, **details):
            pass
        while page := await lists.list_whole(self.database, after=after, limit=PAGE, with_secrets=include_secrets):
            after = page[-1].user.user_id
            yield await asyncio.to_thread(lambda whole: [self._record(each) for each in whole], page)
            if len(page) < PAGE:
                return

    def _record(self, whole: WholeUser) -> UserRecord:
        user, password = whole.user, whole.password
        return UserRecord(
            username=user.username,
            user_id=str(user.user_id),
            status=user.status,
            disabled=user.disabled_at is not None,
            attributes=user.claims,
            email_verified=user.email_verified_at is not None,
            phone_number_verified=user.phone_verified_at is not None,
            created_at=user.created_at,
            updated_at=user.updated_at,
            factors=whole.factors,
            preferred_mfa=whole.preferred or "",
            groups=whole.groups,
            password_hash=password.hash or "",
            password_expires_at=password.expires_at,
            password_recovered_by=password.recovered_by or "",
            totp_devices=tuple(self._devices(whole)),
        )

    def _devices(self, whole: WholeUser) -> Iterator[TotpRecord]:
        for device in whole.devices:
            binding = secret_binding(device.device_id, whole.user.user_id)
            secret = self.ring.open(Purpose.TOTP_SECRET, device.sealed_secret, bound_to=binding).decode()
            yield TotpRecord(secret, device.friendly_name, device.verified_at)
