"""Operators: who they are by certificate or admin key, and the keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind, AuditResult
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.domain import AdminScope, UserId
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
class Identity:
    """Hold who an operator is, what a key or the settings let that one do, and by which scope a call was let in."""

    name: str
    scopes: frozenset[AdminScope]
    scope: AdminScope = AdminScope.READ

    def may(self, scope: AdminScope) -> bool:
        """Tell whether the operator may do what needs a scope."""
        return scope is AdminScope.READ or not self.scopes.isdisjoint((scope, AdminScope.ALL))


@dataclass(frozen=True, slots=True)
class Operator:
    """Hold which operator makes a call, from where, and by which scope the call was let in."""

    name: str
    caller: Caller
    scope: AdminScope

    @property
    def actor(self) -> str:
        """Return the operator as the audit trail names one."""
        return f"operator:{self.name}"

    def event(self, kind: AuditKind, user_id: UserId | None = None, /, **details: str) -> AuditEvent:
        """Return what the operator did, for the audit trail."""
        kept = {**details, "scope": self.scope}
        return AuditEvent(kind=kind, caller=self.caller, user_id=user_id, actor=self.actor, details=kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class Operators:
    """Tell operators from others; `identities` are those of certificates, by name."""

    database: Database
    ring: KeyRing
    audit: Audit
    identities: Mapping[str, frozenset[AdminScope]]
    clock: Clock
    # When an operator was last recorded to have been refused a scope; as many as there are operators and scopes.
    _recorded: dict[tuple[str, AdminScope], datetime] = field(default_factory=dict)

    async def identify(self, certificate_names: Iterable[str], key: str, request_id: str) -> Identity:
        """Return the operator whom a certificate of these names, or else a key, stands for.

        The use of a key that has ended is recorded: somebody has it who should not. Once an hour is enough, and what
        strangers try is not recorded at all: or they could fill the audit trail.

        Raises:
            PermissionDenied: neither stands for one.
        """
        for name in certificate_names:
            if name in self.identities:
                return Identity(CERTIFICATE_PREFIX + name, self.identities[name])
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
        return Identity(found.name, frozenset(map(AdminScope, found.scopes)))

    async def require(self, identity: Identity, scope: AdminScope, request_id: str) -> Identity:
        """Return an operator as one let in by a scope; that one may not is recorded once an hour.

        Raises:
            PermissionDenied: the operator may not; metadata `scope` names what is needed.
        """
        if identity.may(scope):
            return replace(identity, scope=scope)
        now = self.clock.now()
        last = self._recorded.get((identity.name, scope))
        if last is None or last <= now - LAST_USED_EXACT_TO:
            self._recorded[identity.name, scope] = now
            operator = Operator(identity.name, Caller(request_id=request_id), scope)
            event = replace(
                operator.event(AuditKind.ADMIN_REFUSED), result=AuditResult.FAILURE, reason=PermissionDenied.reason
            )
            async with self.database.transaction() as transaction:
                await self.audit.record(transaction, event)
        raise PermissionDenied(metadata={"scope": scope})

    async def _record_refusal(self, key: AdminKey, request_id: str, now: datetime, *, unless_after: datetime) -> None:
        async with self.database.transaction() as transaction:
            if await admin_keys.touch(transaction, name=key.name, now=now, unless_after=unless_after):
                event = AuditEvent(
                    kind=AuditKind.ADMIN_REFUSED,
                    caller=Caller(request_id=request_id),
                    actor=f"operator:{key.name}",
                    result=AuditResult.FAILURE,
                    reason=PermissionDenied.reason,
                )
                await self.audit.record(transaction, event)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminKeys:
    """Make, list and revoke admin keys."""

    database: Database
    ring: KeyRing
    audit: Audit
    clock: Clock

    async def create(
        self, name: str, life: timedelta, *, scopes: Collection[AdminScope] = (AdminScope.READ,)
    ) -> tuple[str, datetime] | None:
        """Return a new key, which is told only here, and when it ends; None if there was ever one of this name."""
        key = KEY_PREFIX + new_handle()
        now = self.clock.now()
        digest = self.ring.digest(Purpose.ADMIN_KEY, key)
        async with self.database.transaction() as transaction:
            if not await admin_keys.insert(
                transaction, name=name, digest=digest, scopes=sorted(scopes), now=now, expires_at=now + life
            ):
                return None
            await self._record(transaction, AuditKind.ADMIN_CREATE_KEY, key=name, scopes=" ".join(sorted(scopes)))
        return key, now + life

    async def list_all(self) -> list[AdminKey]:
        """List all keys, revoked and expired ones too, oldest first."""
        return await admin_keys.list_all(self.database)

    async def revoke(self, name: str) -> bool:
        """End a key at once and for good; False if there is none of this name."""
        async with self.database.transaction() as transaction:
            if not await admin_keys.revoke(transaction, name=name, now=self.clock.now()):
                return False
            await self._record(transaction, AuditKind.ADMIN_REVOKE_KEY, key=name)
        return True

    async def _record(self, executor: Executor, kind: AuditKind, **details: str) -> None:
        event = AuditEvent(kind, Caller(), actor="system", details=details)
        await self.audit.record(executor, event)
