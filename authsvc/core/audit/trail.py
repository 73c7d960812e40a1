"""The audit trail: what happened, in the transaction that does it, on chains that show tampering."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import structlog

from authsvc.clock import Clock
from authsvc.core.access.caller import Caller
from authsvc.core.audit.chain import chain_of, end_parts, event_digest, is_sealed, personal_digest
from authsvc.crypto.sealing import KeyRing
from authsvc.crypto.tokens import new_handle, new_id
from authsvc.domain import Event, SessionId, UserId, UsernameKey
from authsvc.errors import Conflict, DomainError, Reason
from authsvc.store import audit, users
from authsvc.store.db import RETRY_CONFLICT, Database, Executor

# In the place of the digest before an event that was recorded at an end which somebody else had set. No digest is like
# it, so that the event never verifies.
FORGED_END = b"forged end"

_log = structlog.get_logger()


class AuditKind(enum.StrEnum):
    """Name what happened. The values are stored and told to callers: append only."""

    SIGN_UP = "SIGN_UP"
    SEND_SIGN_UP_CODE = "SEND_SIGN_UP_CODE"
    CONFIRM_SIGN_UP = "CONFIRM_SIGN_UP"
    SIGN_IN = "SIGN_IN"
    CONTINUE_SIGN_IN = "CONTINUE_SIGN_IN"
    SEND_SIGN_IN_CODE = "SEND_SIGN_IN_CODE"
    REAUTHENTICATE = "REAUTHENTICATE"
    SIGN_OUT = "SIGN_OUT"
    REVOKE_SESSION = "REVOKE_SESSION"
    REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED"  # noqa: S105  # the name of an event
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105  # the name of an event
    CONFIRM_RESET_PASSWORD = "CONFIRM_RESET_PASSWORD"  # noqa: S105  # the name of an event
    UPDATE_PASSWORD = "UPDATE_PASSWORD"  # noqa: S105  # the name of an event
    ADD_TOTP_DEVICE = "ADD_TOTP_DEVICE"
    REMOVE_TOTP_DEVICE = "REMOVE_TOTP_DEVICE"
    UPDATE_MFA_PREFERENCE = "UPDATE_MFA_PREFERENCE"
    GENERATE_RECOVERY_CODES = "GENERATE_RECOVERY_CODES"
    USE_RECOVERY_CODE = "USE_RECOVERY_CODE"
    UPDATE_USER_ATTRIBUTES = "UPDATE_USER_ATTRIBUTES"
    DELETE_USER_ATTRIBUTES = "DELETE_USER_ATTRIBUTES"
    SEND_USER_ATTRIBUTE_CODE = "SEND_USER_ATTRIBUTE_CODE"
    CONFIRM_USER_ATTRIBUTE = "CONFIRM_USER_ATTRIBUTE"
    DELETE_USER = "DELETE_USER"
    ADMIN_CREATE_USER = "ADMIN_CREATE_USER"
    ADMIN_UPDATE_USER_ATTRIBUTES = "ADMIN_UPDATE_USER_ATTRIBUTES"
    ADMIN_SET_USER_PASSWORD = "ADMIN_SET_USER_PASSWORD"  # noqa: S105  # the name of an event
    ADMIN_RESET_USER_PASSWORD = "ADMIN_RESET_USER_PASSWORD"  # noqa: S105  # the name of an event
    ADMIN_CONFIRM_SIGN_UP = "ADMIN_CONFIRM_SIGN_UP"
    ADMIN_DISABLE_USER = "ADMIN_DISABLE_USER"
    ADMIN_ENABLE_USER = "ADMIN_ENABLE_USER"
    ADMIN_DELETE_USER = "ADMIN_DELETE_USER"
    ADMIN_SIGN_OUT_USER = "ADMIN_SIGN_OUT_USER"
    ADMIN_RESET_USER_MFA = "ADMIN_RESET_USER_MFA"
    ADMIN_UNLOCK_USER = "ADMIN_UNLOCK_USER"
    ADMIN_CREATE_GROUP = "ADMIN_CREATE_GROUP"
    ADMIN_DELETE_GROUP = "ADMIN_DELETE_GROUP"
    ADMIN_ADD_USER_TO_GROUP = "ADMIN_ADD_USER_TO_GROUP"
    ADMIN_REMOVE_USER_FROM_GROUP = "ADMIN_REMOVE_USER_FROM_GROUP"
    ADMIN_IMPORT_USERS = "ADMIN_IMPORT_USERS"
    ADMIN_EXPORT_USERS = "ADMIN_EXPORT_USERS"
    ADMIN_RETRY_MAIL = "ADMIN_RETRY_MAIL"
    ADMIN_CREATE_KEY = "ADMIN_CREATE_KEY"
    ADMIN_REVOKE_KEY = "ADMIN_REVOKE_KEY"
    ADMIN_REFUSED = "ADMIN_REFUSED"
    ROTATE_SIGNING_KEY = "ROTATE_SIGNING_KEY"
    ADMIN_RESEND_INVITATION = "ADMIN_RESEND_INVITATION"


class AuditResult(enum.StrEnum):
    """Name how it ended; the values are stored."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"


# Refusals of something that was tried. Limits and dead sessions refuse before anything is evaluated.
RECORDED = frozenset(
    {
        Reason.CODE_MISMATCH,
        Reason.CODE_EXPIRED,
        Reason.CODE_ALREADY_USED,
        Reason.NOT_AUTHORIZED,
        Reason.USER_NOT_FOUND,
        Reason.USER_DISABLED,
        Reason.MFA_NOT_ENROLLED,
        Reason.HOOK_UNAVAILABLE,
        Reason.REFRESH_TOKEN_REUSED,
        Reason.PERMISSION_DENIED,
    }
)
# After them nothing personal of the user is left in the trail.
DELETIONS = frozenset({AuditKind.DELETE_USER, AuditKind.ADMIN_DELETE_USER})


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Hold what happened to whom, and on whose behalf.

    `user_id` is None if there is no such user. `actor` is `user`, `operator:NAME` or `system`. `details` are without
    personal data and without secrets: it is all that stays of a user who is deleted.
    """

    kind: AuditKind
    caller: Caller
    user_id: UserId | None = None
    actor: str = "user"
    session_id: SessionId | None = None
    result: AuditResult = AuditResult.SUCCESS
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Tried:
    """Gather what a flow learns of who tries what; a failure is recorded with it.

    `username_key` is for flows that are told a name: its user is looked up if the flow has not.
    """

    username_key: UsernameKey | None = None
    user_id: UserId | None = None
    session_id: SessionId | None = None
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Record what happens."""

    database: Database
    ring: KeyRing
    clock: Clock

    async def record(self, executor: Executor, *events: AuditEvent) -> None:
        """Add events to their chains, as the last thing that a transaction does; all of them in one call.

        The lock of a chain is held from here to the commit. A deletion is recorded after the account's row is deleted:
        the personal data of all of the user's events goes with it.
        """
        # In one order, so that two that record on several chains don't wait for each other.
        for chain, event in sorted(((_chain_of(event), event) for event in events), key=lambda each: each[0]):
            await self._append(executor, chain, event)
            if event.kind in DELETIONS and event.result is AuditResult.SUCCESS and event.user_id is not None:
                await audit.erase_of_user(executor, user_id=event.user_id)

    @asynccontextmanager
    async def failures(
        self,
        kind: AuditKind,
        caller: Caller,
        *,
        username_key: UsernameKey | None = None,
        user_id: UserId | None = None,
        session_id: SessionId | None = None,
    ) -> AsyncIterator[Tried]:
        """Record a refusal that ends the flow inside, committed on its own; the flow tells what it learns.

        Goes around transactions, not into one: with its rollback the record would go too. If a refusal can't be
        recorded the call fails for that reason instead: nothing is tried unseen.
        """
        tried = Tried(username_key, user_id, session_id)
        try:
            yield tried
        except DomainError as error:
            if error.reason in RECORDED:
                event = AuditEvent(kind, caller, result=AuditResult.FAILURE, reason=error.reason)
                await self._record_failure(tried, event)
            raise

    async def _record_failure(self, tried: Tried, event: AuditEvent) -> None:
        user_id = tried.user_id
        if user_id is None and tried.username_key:
            user_id = await users.find_id(self.database, username_key=tried.username_key)
        event = replace(event, user_id=user_id, session_id=tried.session_id, details=tried.details)
        # A name that nobody has is on one chain too, so that many tries at it wait as at one that somebody has.
        chain = _chain_of(event) if user_id or not tried.username_key else chain_of(tried.username_key.encode())
        async with self.database.transaction() as transaction:
            await self._append(transaction, chain, event)

    async def _append(self, executor: Executor, chain: int, event: AuditEvent) -> None:
        head = await audit.lock_head(executor, chain=chain, user_id=event.user_id)
        caller = event.caller
        undigested = Event(
            chain=chain,
            sequence=head.sequence + 1,
            # Whole months are removed by age: on a chain, age must follow order, also where replicas' clocks differ.
            created_at=max(self.clock.now(), head.last_at),
            kind=event.kind,
            result=event.result,
            reason=event.reason,
            user_id=event.user_id,
            actor=event.actor,
            session_id=event.session_id,
            request_id=caller.request_id,
            details=dict(event.details),
            username=head.username or "",
            client_ip=caller.ip,
            client_user_agent=caller.user_agent,
            personal_salt=new_handle(),
            personal_digest=b"",
            key_id=self.ring.keys[0].key_id,
            digest=b"",
        )
        personal = personal_digest(self.ring, undigested)
        assert personal is not None  # noqa: S101  # the ring has its own first key
        undigested = replace(undigested, personal_digest=personal)
        previous = head.digest
        if not is_sealed(self.ring, chain, head):
            # To go on as if nothing were would seal what somebody else set, and nobody would see what is missing.
            _log.error("audit_end_forged", chain=chain, sequence=head.sequence, remedy="authsvc audit verify")
            previous = FORGED_END
        digest = event_digest(self.ring, previous, undigested)
        assert digest is not None  # noqa: S101  # the ring has its own first key
        whole = replace(undigested, digest=digest)
        if not await audit.append(executor, event=whole, seal=self.ring.digest(*end_parts(chain, whole))):
            raise Conflict(retry_after=RETRY_CONFLICT)


def _chain_of(event: AuditEvent) -> int:
    # Nobody's events are spread, so that they don't all wait for each other.
    return chain_of((event.user_id or new_id()).bytes)
