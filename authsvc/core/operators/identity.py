"""Operators: who they are by certificate or admin key, and the keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind, AuditResult
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.domain import UserId
from authsvc.errors import PermissionDenied
from authsvc.store import admin_keys
from authsvc.store.admin_keys import AdminKey
from authsvc.store.db import Database, Executor

# By it a key is known for what it is where it should not be: in a log, a chat, a repository.
KEY_PREFIX = "authsvc_admin_"
# Exact enough to find keys that nobody uses, and no write for each call.
LAST_USED_EXACT_TO = timedelta(hours=1)
# No name of a key has a colon: an operator by certificate can't be taken for one by key.
CERTIFICATE_PREFIX = "certificate:"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Operator:
    """Hold which operator makes a call, and from where."""

    name: str
    caller: Caller

    @property
    def actor(self) -> str:
        """Return the operator as the audit trail names one."""
        return f"operator:{self.name}"

    def event(self, kind: AuditKind, user_id: UserId | None = None, /, **details: str) -> AuditEvent:
        """Return what the operator did, for the audit trail."""
        return AuditEvent(kind=kind, caller=self.caller, user_id=user_id, actor=self.actor, details=details)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operators:
    """Tell operators from others."""

    database: Database
    ring: KeyRing
    audit: Audit
    identities: Collection[str]
    clock: Clock

    async def authorise(self, certificate_names: Iterable[str], key: str, request_id: str) -> str:
        """Return the name of the operator whom a certificate of these names, or else a key, stands for.

        The use of a key that has ended is recorded: somebody has it who should not. Once an hour is enough, and what
        strangers try is not recorded at all: or they could fill the audit trail.

        Raises:
            PermissionDenied: neither stands for one.
        """
        for name in certificate_names:
            if name in self.identities:
                return CERTIFICATE_PREFIX + name
        if not key:
            raise PermissionDenied
        now = self.clock.now()
        found = await admin_keys.find(self.database, digests=self.ring.digests(Purpose.ADMIN_KEY, key))
        if found is None:
            raise PermissionDenied
        stale = now - LAST_USED_EXACT_TO
        if found.revoked_at is not None or found.expires_at <= now:
            # The first use after the end is recorded, however fresh the last one before it.
            end = min(found.revoked_at or found.expires_at, found.expires_at)
            await self._record_refusal(found, request_id, now, unless_after=max(stale, end))
            raise PermissionDenied
        if found.last_used_at is None or found.last_used_at <= stale:
            await admin_keys.touch(self.database, name=found.name, now=now, unless_after=stale)
        return found.name

    async def _record_refusal(self, key: AdminKey, request_id: str, now: datetime, *, unless_after: datetime) -> None:
        operator = Operator(key.name, Caller(request_id=request_id))
        event = replace(
            operator.event(AuditKind.ADMIN_REFUSED), result=AuditResult.FAILURE, reason=PermissionDenied.reason
        )
        async with self.database.transaction() as transaction:
            if await admin_keys.touch(transaction, name=key.name, now=now, unless_after=unless_after):
                await self.audit.record(transaction, event)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminKeys:
    """Make, list and revoke admin keys."""

    database: Database
    ring: KeyRing
    audit: Audit
    clock: Clock

    async def create(self, name: str, life: timedelta) -> tuple[str, datetime] | None:
        """Return a new key, which is told only here, and when it ends; None if there was ever one of this name."""
        key = KEY_PREFIX + new_handle()
        now = self.clock.now()
        digest = self.ring.digest(Purpose.ADMIN_KEY, key)
        async with self.database.transaction() as transaction:
            if not await admin_keys.insert(transaction, name=name, digest=digest, now=now, expires_at=now + life):
                return None
            await self._record(transaction, AuditKind.ADMIN_CREATE_KEY, name)
        return key, now + life

    async def list_all(self) -> list[AdminKey]:
        """List all keys, revoked and expired ones too, oldest first."""
        return await admin_keys.list_all(self.database)

    async def revoke(self, name: str) -> bool:
        """End a key at once and for good; False if there is none of this name."""
        async with self.database.transaction() as transaction:
            if not await admin_keys.revoke(transaction, name=name, now=self.clock.now()):
                return False
            await self._record(transaction, AuditKind.ADMIN_REVOKE_KEY, name)
        return True

    async def _record(self, executor: Executor, kind: AuditKind, name: str) -> None:
        event = AuditEvent(kind, Caller(), actor="system", details={"key": name})
        await self.audit.record(executor, event)
