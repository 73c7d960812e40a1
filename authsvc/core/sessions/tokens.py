"""The tokens of a signed-in user: what they say, and their signing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.crypto.jwt import ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE
from authsvc.crypto.tokens import new_id
from authsvc.domain import SessionId, User


@dataclass(frozen=True, slots=True)
class Tokens:
    """Hold the tokens of a signed-in user."""

    access_token: str
    id_token: str
    refresh_token: str
    access_token_expires_at: datetime

    def __repr__(self) -> str:
        return "Tokens(…)"


@dataclass(frozen=True, slots=True)
class Grant:
    """Hold what the tokens of a session say of it beside its user, and the refresh token that goes with them."""

    session_id: SessionId
    origin_jti: UUID
    access_jti: UUID
    amr: list[str]
    auth_time: datetime
    ends_at: datetime
    groups: list[str]
    refresh_token: str = field(repr=False)


class TokenSigner:
    """Sign tokens with the current key."""

    def __init__(self, *, signing_keys: SigningKeys, settings: TokensSettings, clock: Clock) -> None:
        self._signing_keys = signing_keys
        self._settings = settings
        self._clock = clock

    async def sign(self, user: User, grant: Grant) -> Tokens:
        """Sign an access and an ID token that end with the session at the latest."""
        key = await self._signing_keys.current()
        issued_at = int(self._clock.now().timestamp())
        # Who verifies tokens without asking must not take them for longer than the session lives.
        expires_at = min(issued_at + int(self._settings.access_ttl.total_seconds()), int(grant.ends_at.timestamp()))
        shared = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": str(user.user_id),
            "sid": str(grant.session_id),
            "origin_jti": str(grant.origin_jti),
            "auth_time": int(grant.auth_time.timestamp()),
            "amr": grant.amr,
            "iat": issued_at,
            "exp": expires_at,
            "username": user.username,
            "groups": grant.groups,
        }
        access = key.sign({**shared, "jti": str(grant.access_jti), "token_use": "access"}, typ=ACCESS_TOKEN_TYPE)
        identity = key.sign(
            {**user.claims, **user.verified, **shared, "jti": str(new_id()), "token_use": "id"}, typ=ID_TOKEN_TYPE
        )
        return Tokens(access, identity, grant.refresh_token, datetime.fromtimestamp(expires_at, UTC))
