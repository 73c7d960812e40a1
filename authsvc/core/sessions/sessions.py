"""Sessions of signed-in users: their begin, their renewal, and the tokens that stand for them."""

from __future__ import annotations

from datetime import datetime

from authsvc.config import TokensSettings
from authsvc.core.access.caller import Caller
from authsvc.core.sessions.tokens import Grant, Tokens, TokenSigner
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle, new_id
from authsvc.domain import Session, SessionId, User
from authsvc.errors import TokenRevoked
from authsvc.store import groups, refresh_tokens, sessions
from authsvc.store.db import Database, Executor
from authsvc.store.sessions import Standing


class Sessions:
    """Start and renew sessions, and sign their tokens."""

    def __init__(self, *, database: Database, ring: KeyRing, signer: TokenSigner, settings: TokensSettings) -> None:
        self._database = database
        self._ring = ring
        self._signer = signer
        self._settings = settings

    async def start(self, executor: Executor, user: User, caller: Caller, *, amr: list[str], now: datetime) -> Grant:
        """Store a finished sign-in in the caller's transaction; `tokens_of` makes its tokens after the commit."""
        # The first access token's `jti` is the session's `origin_jti`.
        session_id, origin_jti, refresh_token = SessionId(new_id()), new_id(), new_handle()
        ends_at = now + self._settings.refresh_ttl
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
                expires_at=ends_at,
                client_ip=caller.ip,
                client_user_agent=caller.user_agent,
            ),
            refresh_digest=self._ring.digest(Purpose.REFRESH_TOKEN, refresh_token),
        )
        return Grant(
            session_id=session_id,
            origin_jti=origin_jti,
            access_jti=origin_jti,
            amr=amr,
            auth_time=now,
            ends_at=ends_at,
            groups=names,
            refresh_token=refresh_token,
        )

    async def tokens_of(self, user: User, grant: Grant) -> Tokens:
        """Sign the first tokens of a session."""
        return await self._signer.sign(user, grant)

    async def further_tokens(self, user: User, standing: Standing, refresh_token: str) -> Tokens:
        """Sign tokens of a session that has had some, as it stands."""
        grant = Grant(
            session_id=standing.session_id,
            origin_jti=standing.origin_jti,
            access_jti=new_id(),
            amr=standing.amr,
            auth_time=standing.auth_time,
            ends_at=standing.expires_at,
            # As they are now: who was taken out of a group is without it from here on.
            groups=await groups.list_names(self._database, user_id=user.user_id),
            refresh_token=refresh_token,
        )
        return await self._signer.sign(user, grant)

    async def renew(self, executor: Executor, renewed: Standing, caller: Caller) -> str:
        """Store a fresh authentication of a session in a transaction that holds the user; return its refresh token.

        The former refresh token is used up as by a refresh: one that is on its way gets the new token, and is no theft.

        Raises:
            TokenRevoked: the session has no refresh token to use up.
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
        successor = await self.rotate(executor, unused, now) if unused is not None else None
        if successor is None:
            raise TokenRevoked
        return successor

    async def rotate(self, executor: Executor, digest: bytes, now: datetime) -> str | None:
        """Use a refresh token up and return its one successor; None if another call did."""
        successor = new_handle()
        rotated = await refresh_tokens.rotate(
            executor,
            digest=digest,
            sealed_successor=self._ring.seal(Purpose.REFRESH_SUCCESSOR, successor.encode(), bound_to=digest.hex()),
            successor_digest=self._ring.digest(Purpose.REFRESH_TOKEN, successor),
            now=now,
        )
        return successor if rotated else None
