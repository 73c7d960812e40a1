"""Bearers of access tokens: whom a token stands for, asked of the database every time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import AuditEvent, AuditKind
from authsvc.core.sessions.signing_keys import SigningKeys, VerifiedToken
from authsvc.domain import Session, User
from authsvc.errors import ReauthenticationRequired, TokenExpired, TokenInvalid, TokenRevoked
from authsvc.store import sessions, users
from authsvc.store.db import Database, Executor
from authsvc.store.sessions import Standing


@dataclass(frozen=True, slots=True)
class Bearer:
    """Hold whom an access token stands for right now, what it says itself, and on whose behalf the call is made."""

    standing: Standing
    token: VerifiedToken
    caller: Caller

    @property
    def is_current(self) -> bool:
        """Tell whether the token was issued after the user was last proved in its session.

        Counted, not timed: a token's `auth_time` is whole seconds, and one of the same second may be from before.
        """
        return self.token.generation == self.standing.generation


def end_of(session: Session | Standing, settings: TokensSettings) -> datetime:
    """Return when a session ends as it stands: sooner than it may, if it is given no new tokens for long."""
    idle = settings.session_idle
    return min(session.expires_at, session.last_used_at + idle) if idle else session.expires_at


def event_of(bearer: Bearer, kind: AuditKind, **details: str) -> AuditEvent:
    """Return what a signed-in user did, for the audit trail."""
    standing = bearer.standing
    return AuditEvent(kind, bearer.caller, standing.user_id, session_id=standing.session_id, details=details)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bearers:
    """Tell whom access tokens stand for."""

    database: Database
    signing_keys: SigningKeys
    settings: TokensSettings
    clock: Clock

    async def authenticate(self, access_token: str | None, caller: Caller) -> Bearer:
        """Return whom an access token stands for right now.

        Raises:
            TokenInvalid: there is none, or it is not one of ours.
            TokenExpired: it is past its end.
            TokenRevoked: its session has ended, or its account is disabled or gone.
        """
        if not access_token:
            raise TokenInvalid
        token = await self.signing_keys.verify_access_token(access_token)
        now = self.clock.now()
        if token.expires_at <= now:
            raise TokenExpired
        standing = await sessions.find_standing(self.database, session_id=token.session_id)
        if standing is None or standing.revoked_at is not None or standing.disabled_at is not None:
            raise TokenRevoked
        if end_of(standing, self.settings) <= now:
            raise TokenExpired
        return Bearer(standing, token, caller)

    async def fetch(self, access_token: str | None, caller: Caller) -> Bearer | None:
        """Return whom an access token stands for right now, or None for a bad or absent one."""
        try:
            return await self.authenticate(access_token, caller)
        except (TokenInvalid, TokenExpired, TokenRevoked):
            return None

    async def hold(self, executor: Executor, bearer: Bearer) -> tuple[User, Bearer]:
        """Lock the row of the bearer's user; return both as they are now, for the session may have been ended since.

        Raises:
            TokenRevoked: it has ended, or the account is disabled or gone.
        """
        user = await users.lock(executor, user_id=bearer.standing.user_id)
        standing = await sessions.find_standing(executor, session_id=bearer.standing.session_id)
        if user is None or user.disabled_at is not None or standing is None or standing.revoked_at is not None:
            raise TokenRevoked
        return user, replace(bearer, standing=standing)

    def require_recent(self, bearer: Bearer) -> None:
        """Let a sensitive call pass only soon after the user proved themselves, with a token that was issued for that.

        What the session has become since is no matter: whoever has stolen a token must not wait for its owner's proof.

        Raises:
            ReauthenticationRequired: that was too long ago, or the user was proved again after the token was issued.
        """
        self.require_current(bearer)
        if self.clock.now() - bearer.token.auth_time > self.settings.reauthentication_window:
            raise ReauthenticationRequired

    def require_current(self, bearer: Bearer) -> None:
        """Refuse a token that was issued before the user was last proved in its session.

        Raises:
            ReauthenticationRequired: it was.
        """
        if not bearer.is_current:
            raise ReauthenticationRequired
