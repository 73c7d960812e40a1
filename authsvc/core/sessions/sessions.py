"""Sessions of signed-in users: their tokens, what those stand for, and their end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind, AuditResult
from authsvc.core.messages.notices import MailKind, Notices
from authsvc.core.pages import PAGE_SIZE, page_token, position_of
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.core.sessions.tokens import Tokens, TokenSigner
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle, new_id
from authsvc.domain import Session, SessionId, User, UserId
from authsvc.errors import (
    ReauthenticationRequired,
    RefreshTokenReused,
    TokenExpired,
    TokenInvalid,
    TokenRevoked,
    UserDisabled,
)
from authsvc.store import challenges, groups, refresh_tokens, sessions, users
from authsvc.store.db import Database, Executor
from authsvc.store.sessions import Standing

_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_LAST_ID = UUID(int=(1 << 128) - 1)


@dataclass(frozen=True, slots=True)
class NewSession:
    """Hold a session as it was just stored; `tokens_of` makes its tokens after the commit."""

    session_id: SessionId
    origin_jti: UUID
    amr: list[str]
    auth_time: datetime
    refresh_token: str
    groups: list[str]

    def __repr__(self) -> str:
        return f"NewSession({self.session_id})"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Hold whom an access token stands for right now, when that token ends, and on whose behalf the call is made."""

    standing: Standing
    token_expires_at: datetime
    caller: Caller


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Hold some of a user's sessions and the token of the next page, empty on the last."""

    sessions: list[Session]
    next_page_token: str


def event_of(bearer: Bearer, kind: AuditKind, **details: str) -> AuditEvent:
    """Return what a signed-in user did, for the audit trail."""
    standing = bearer.standing
    return AuditEvent(kind, bearer.caller, standing.user_id, session_id=standing.session_id, details=details)


class Sessions:
    """Start, authenticate, refresh, list and end sessions."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        signing_keys: SigningKeys,
        notices: Notices,
        audit: Audit,
        settings: TokensSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._signing_keys = signing_keys
        self._signer = TokenSigner(signing_keys, settings, clock)
        self._notices = notices
        self._audit = audit
        self._settings = settings
        self._clock = clock

    async def start(self, executor: Executor, user: User, amr: list[str], caller: Caller, now: datetime) -> NewSession:
        """Store a finished sign-in in the caller's transaction."""
        session_id, origin_jti, refresh_token = SessionId(new_id()), new_id(), new_handle()
        names = await sessions.insert(
            executor,
            session=Session(
                session_id=session_id,
                user_id=user.user_id,
                origin_jti=origin_jti,
                amr=amr,
                auth_time=now,
                created_at=now,
                last_used_at=now,
                expires_at=now + self._settings.refresh_ttl,
                client_ip=caller.ip,
                client_user_agent=caller.user_agent,
            ),
            refresh_digest=self._ring.digest(Purpose.REFRESH_TOKEN, refresh_token),
        )
        return NewSession(session_id, origin_jti, amr, now, refresh_token, names)

    async def tokens_of(self, user: User, new: NewSession) -> Tokens:
        """Sign the first tokens of a session; the access token's `jti` is the session's `origin_jti`."""
        return await self._signer.sign(
            user=user,
            groups=new.groups,
            session_id=new.session_id,
            origin_jti=new.origin_jti,
            access_jti=new.origin_jti,
            amr=new.amr,
            auth_time=new.auth_time,
            session_ends_at=new.auth_time + self._settings.refresh_ttl,
            refresh_token=new.refresh_token,
        )

    async def authenticate(self, access_token: str | None, caller: Caller) -> Bearer:
        """Return whom an access token stands for right now; the database is asked every time.

        Raises:
            TokenInvalid: there is none, or it is not one of ours.
            TokenExpired: it is past its end.
            TokenRevoked: its session has ended, or its account is disabled or gone.
        """
        if not access_token:
            raise TokenInvalid
        token = await self._signing_keys.verify_access_token(access_token)
        now = self._clock.now()
        if token.expires_at <= now:
            raise TokenExpired
        standing = await sessions.find_standing(self._database, session_id=token.session_id)
        if standing is None or standing.revoked_at is not None or standing.disabled_at is not None:
            raise TokenRevoked
        if standing.expires_at <= now:
            raise TokenExpired
        return Bearer(standing, token.expires_at, caller)

    async def fetch(self, access_token: str | None, caller: Caller) -> Bearer | None:
        """Return whom an access token stands for right now, or None for a bad or absent one."""
        try:
            return await self.authenticate(access_token, caller)
        except (TokenInvalid, TokenExpired, TokenRevoked):
            return None

    async def hold(self, executor: Executor, bearer: Bearer) -> User:
        """Lock the row of the bearer's user, and see that the session still lives: it may have been ended since.

        Raises:
            TokenRevoked: it has ended, or the account is disabled or gone.
        """
        user = await users.lock(executor, user_id=bearer.standing.user_id)
        standing = await sessions.find_standing(executor, session_id=bearer.standing.session_id)
        if user is None or user.disabled_at is not None or standing is None or standing.revoked_at is not None:
            raise TokenRevoked
        return user

    def require_recent(self, bearer: Bearer) -> None:
        """Let a sensitive call pass only soon after the user proved themselves.

        Raises:
            ReauthenticationRequired: that was too long ago.
        """
        if self._clock.now() - bearer.standing.auth_time > self._settings.reauthentication_window:
            raise ReauthenticationRequired

    async def refresh(self, refresh_token: str, caller: Caller) -> Tokens:
        """Rotate a refresh token.

        Raises:
            TokenInvalid: it was never issued, or its session is long gone.
            TokenExpired: its session is past its end.
            TokenRevoked: its session has ended.
            UserDisabled: its account is disabled.
            RefreshTokenReused: it was used before, and not just now; its session has been ended.
        """
        now = self._clock.now()
        found = await refresh_tokens.find(
            self._database, digests=self._ring.digests(Purpose.REFRESH_TOKEN, refresh_token)
        )
        if found is None:
            raise TokenInvalid
        successor = new_handle()
        async with self._database.transaction() as transaction:
            user = await users.lock(transaction, user_id=found.user_id)
            standing = await sessions.find_standing(transaction, session_id=found.session_id)
            if user is None or standing is None or standing.revoked_at is not None:
                raise TokenRevoked
            if standing.disabled_at is not None:
                raise UserDisabled
            if standing.expires_at <= now:
                raise TokenExpired
            rotated = await self._rotate(transaction, found.digest, successor, now)
            if rotated:
                await sessions.touch(
                    transaction,
                    session_id=found.session_id,
                    now=now,
                    client_ip=caller.ip,
                    client_user_agent=caller.user_agent,
                )
        if not rotated:
            successor = await self._same_successor(found.digest, user, standing, caller, now)
        return await self.further_tokens(user, standing, successor)

    async def renew(self, executor: Executor, renewed: Standing, caller: Caller) -> str:
        """Store a fresh authentication of a session in a transaction that holds the user; return its refresh token.

        The former refresh token is used up as by a refresh: one that is on its way gets the new token, and is no theft.
        """
        now = renewed.auth_time
        await sessions.renew(
            executor,
            session_id=renewed.session_id,
            amr=renewed.amr,
            now=now,
            client_ip=caller.ip,
            client_user_agent=caller.user_agent,
        )
        unused = await refresh_tokens.find_unused(executor, session_id=renewed.session_id)
        successor = new_handle()
        if unused is None or not await self._rotate(executor, unused, successor, now):
            raise TokenRevoked
        return successor

    async def further_tokens(self, user: User, standing: Standing, refresh_token: str) -> Tokens:
        """Sign tokens of a session that has had some, as it stands."""
        return await self._signer.sign(
            user=user,
            # As they are now: who was taken out of a group is without it from here on.
            groups=await groups.list_names(self._database, user_id=user.user_id),
            session_id=standing.session_id,
            origin_jti=standing.origin_jti,
            access_jti=new_id(),
            amr=standing.amr,
            auth_time=standing.auth_time,
            session_ends_at=standing.expires_at,
            refresh_token=refresh_token,
        )

    async def sign_out(self, bearer: Bearer, *, everywhere: bool) -> None:
        """End the bearer's session or, `everywhere`, all sessions and half-done sign-ins of the user."""
        now = self._clock.now()
        user_id = bearer.standing.user_id
        async with self._database.transaction() as transaction:
            # A sign-in that finishes at this moment, and what the session began, come before or after as a whole.
            await users.lock(transaction, user_id=user_id)
            if everywhere:
                await self.end_all(transaction, user_id, now)
            else:
                await sessions.revoke(transaction, session_id=bearer.standing.session_id, user_id=user_id, now=now)
            scope = "GLOBAL" if everywhere else "SESSION"
            await self._audit.record(transaction, event_of(bearer, AuditKind.SIGN_OUT, scope=scope))

    async def end_all(
        self, executor: Executor, user_id: UserId, now: datetime, *, keep: SessionId | None = None
    ) -> None:
        """End all sessions but one to `keep`, and half-done sign-ins, in a transaction that holds the user's row."""
        await sessions.revoke_of_user(executor, user_id=user_id, now=now, keep=keep)
        await challenges.delete_of_user(executor, user_id=user_id)

    async def revoke(self, bearer: Bearer, session_id: SessionId) -> None:
        """End one session of the bearer's user; no error if there is none to end."""
        user_id = bearer.standing.user_id
        async with self._database.transaction() as transaction:
            # What the session began comes before as a whole, or finds it ended.
            await users.lock(transaction, user_id=user_id)
            if await sessions.revoke(transaction, session_id=session_id, user_id=user_id, now=self._clock.now()):
                event = event_of(bearer, AuditKind.REVOKE_SESSION, revoked_session_id=str(session_id))
                await self._audit.record(transaction, event)

    async def list_live(self, user_id: UserId, *, page_size: int, token: str) -> SessionPage:
        """List a user's live sessions, latest first, 50 by default.

        Raises:
            InvalidFields: the page token is not one of this user's sessions.
        """
        size = page_size or PAGE_SIZE
        found = await sessions.list_live(
            self._database,
            user_id=user_id,
            now=self._clock.now(),
            before=self._before(token, user_id),
            limit=size + 1,
        )
        page = found[:size]
        if len(found) <= size:
            return SessionPage(page, "")
        last = page[-1]
        position = f"{last.created_at.isoformat()} {last.session_id}"
        return SessionPage(page, page_token(self._ring, position, bound_to=str(user_id)))

    async def _rotate(self, executor: Executor, digest: bytes, successor: str, now: datetime) -> bool:
        return await refresh_tokens.rotate(
            executor,
            digest=digest,
            sealed_successor=self._ring.seal(Purpose.REFRESH_SUCCESSOR, successor.encode(), bound_to=digest.hex()),
            successor_digest=self._ring.digest(Purpose.REFRESH_TOKEN, successor),
            now=now,
        )

    async def _same_successor(
        self, digest: bytes, user: User, standing: Standing, caller: Caller, now: datetime
    ) -> str:
        found = await refresh_tokens.find(self._database, digests=[digest])
        if found is None or found.used_at is None:
            raise TokenRevoked
        if found.sealed_successor is not None and now - found.used_at < self._settings.refresh_grace:
            return self._ring.open(
                Purpose.REFRESH_SUCCESSOR, found.sealed_successor, bound_to=found.digest.hex()
            ).decode()
        async with self._database.transaction() as transaction:
            revoked = await sessions.revoke(transaction, session_id=standing.session_id, user_id=user.user_id, now=now)
            if revoked:
                await self._notices.tell(transaction, MailKind.REFRESH_TOKEN_REUSED, user, now=now)
                event = AuditEvent(
                    AuditKind.REFRESH_TOKEN_REUSED,
                    caller,
                    user.user_id,
                    session_id=standing.session_id,
                    result=AuditResult.FAILURE,
                    reason=RefreshTokenReused.reason,
                )
                await self._audit.record(transaction, event)
        raise RefreshTokenReused

    def _before(self, token: str, user_id: UserId) -> tuple[datetime, UUID]:
        position = position_of(self._ring, token, bound_to=str(user_id))
        if not position:
            return _END_OF_TIME, _LAST_ID
        created_at, session_id = position.split(" ")
        return datetime.fromisoformat(created_at), UUID(session_id)
