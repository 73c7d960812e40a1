"""Refresh tokens: each is good for one refresh, and shows a thief when it is used again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind, AuditResult
from authsvc.core.fields import parse_handle
from authsvc.core.messages import kinds
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import end_of
from authsvc.core.sessions.sessions import Sessions, Tokens
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import User
from authsvc.errors import RefreshTokenReused, TokenExpired, TokenInvalid, TokenRevoked, UserDisabled
from authsvc.store import refresh_tokens, sessions, users
from authsvc.store.db import Database
from authsvc.store.refresh_tokens import RefreshToken


@dataclass(frozen=True, kw_only=True, slots=True)
class Refreshes:
    """Refresh sessions."""

    database: Database
    ring: KeyRing
    sessions: Sessions
    notices: Notices
    audit: Audit
    settings: TokensSettings
    clock: Clock

    async def refresh(self, refresh_token: str, caller: Caller) -> Tokens:
        """Rotate a refresh token.

        Raises:
            InvalidFields: what is given can be none.
            TokenInvalid: it was never issued, or its session is long gone.
            TokenExpired: its session is past its end.
            TokenRevoked: its session has ended, or its user was just proved again, which used the former tokens up.
            UserDisabled: its account is disabled.
            RefreshTokenReused: it was used before, and not just now; its session has been ended.
        """
        given, now = parse_handle(refresh_token, field="refresh_token"), self.clock.now()
        found = await refresh_tokens.find(self.database, digests=self.ring.digests(Purpose.REFRESH_TOKEN, given))
        if found is None:
            raise TokenInvalid
        async with self.database.transaction() as transaction:
            user = await users.lock(transaction, user_id=found.user_id)
            standing = await sessions.find_standing(transaction, session_id=found.session_id)
            if user is None or standing is None or standing.revoked_at is not None:
                raise TokenRevoked
            if standing.disabled_at is not None:
                raise UserDisabled
            if end_of(standing, self.settings) <= now:
                raise TokenExpired
            successor = await self.sessions.rotate(transaction, found.digest, now)
            if successor is not None:
                await sessions.touch(
                    transaction,
                    session_id=found.session_id,
                    now=now,
                    client_ip=caller.ip,
                    client_user_agent=caller.user_agent,
                )
        if successor is None:
            successor = await self._same_successor(found, user, caller=caller, now=now)
        return await self.sessions.further_tokens(user, standing, successor)

    async def _same_successor(self, used: RefreshToken, user: User, *, caller: Caller, now: datetime) -> str:
        """Return the successor that a token has had for a moment; end the session of one used again later.

        One without a successor was used up by a fresh proof (`Sessions.renew`). Its holder may be a client whose
        refresh was on its way, so that ends nothing for as long; but whoever holds it was not proved by it.
        """
        found = await refresh_tokens.find(self.database, digests=[used.digest])
        if found is None or found.used_at is None:
            raise TokenRevoked
        if now - found.used_at < self.settings.refresh_grace:
            if found.sealed_successor is None:
                raise TokenRevoked
            return self.ring.open(
                Purpose.REFRESH_SUCCESSOR, found.sealed_successor, bound_to=found.digest.hex()
            ).decode()
        async with self.database.transaction() as transaction:
            if await sessions.revoke(transaction, session_id=used.session_id, user_id=user.user_id, now=now):
                await self.notices.tell(transaction, user, kinds.RefreshTokenReused(), now=now)
                event = AuditEvent(
                    AuditKind.REFRESH_TOKEN_REUSED,
                    caller,
                    user.user_id,
                    session_id=used.session_id,
                    result=AuditResult.FAILURE,
                    reason=RefreshTokenReused.reason,
                )
                await self.audit.record(transaction, event)
        raise RefreshTokenReused
