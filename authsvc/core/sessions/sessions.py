"""Sessions of signed-in users: their begin, their renewal, and the tokens that stand for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.lanes import Lanes
from authsvc.core.factors.proved import methods_with
from authsvc.core.sessions.bearers import Bearer
from authsvc.core.sessions.signing_keys import GENERATION, SigningKeys
from authsvc.crypto.jwt import ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle, new_id
from authsvc.domain import STRANGERS, FactorKind, Lane, Session, SessionId, User
from authsvc.store import groups, refresh_tokens, sessions
from authsvc.store.db import Database, Executor
from authsvc.store.sessions import Standing


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
    """Hold a session that tokens are due for, and what they say or go with beside it.

    `device_token` is new, for a device that was not known; `is_elsewhere`: the sign-in came from where its user, who
    was known already, had not been.
    """

    session: Session | Standing
    access_jti: UUID
    identity_jti: UUID
    issued_at: datetime
    groups: list[str]
    refresh_token: str = field(repr=False)
    device_token: str = field(default="", repr=False)
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """Hold a session whose user was just proved again, and the refresh token that goes on from there."""

    standing: Standing
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sessions:
    """Start and renew sessions, and sign their tokens with the current key."""

    database: Database
    ring: KeyRing
    lanes: Lanes
    signing_keys: SigningKeys
    settings: TokensSettings
    clock: Clock

    async def start(
        self, executor: Executor, user: User, caller: Caller, *, lane: Lane, amr: list[str], now: datetime
    ) -> Grant:
        """Store a finished sign-in in the caller's transaction; `tokens_of` makes its tokens after the commit.

        Where it came from is known from here on; `lane` is where it was begun.
        """
        # The first access token's `jti` is the session's `origin_jti`.
        origin_jti, refresh_token = new_id(), new_handle()
        session = Session(
            session_id=SessionId(new_id()),
            user_id=user.user_id,
            origin_jti=origin_jti,
            amr=amr,
            auth_time=now,
            created_at=now,
            last_used_at=now,
            expires_at=now + self.settings.refresh_ttl,
            client_ip=caller.ip,
            client_user_agent=caller.user_agent,
        )
        digest = self.ring.digest(Purpose.REFRESH_TOKEN, refresh_token)
        visit, device_token = self.lanes.visit(user, caller, lane, now=now)
        at_most = self.settings.sessions_per_user
        started = await sessions.insert(executor, session=session, refresh_digest=digest, visit=visit, at_most=at_most)
        return Grant(
            session=session,
            access_jti=origin_jti,
            identity_jti=new_id(),
            issued_at=now,
            groups=started.groups,
            refresh_token=refresh_token,
            device_token=device_token,
            is_elsewhere=started.was_known and lane == STRANGERS,
        )

    async def further_tokens(self, user: User, standing: Standing, refresh_token: str) -> Tokens:
        """Sign tokens of a session that has had some, as it stands."""
        # As they are now: who was taken out of a group is without it from here on.
        names = await groups.list_names(self.database, user_id=user.user_id)
        grant = Grant(
            session=standing,
            access_jti=new_id(),
            identity_jti=new_id(),
            issued_at=self.clock.now(),
            groups=names,
            refresh_token=refresh_token,
        )
        return await self.tokens_of(user, grant)

    async def tokens_of(self, user: User, grant: Grant) -> Tokens:
        """Sign an access and an ID token that end with the session at the latest."""
        key = await self.signing_keys.current()
        session, issued_at = grant.session, int(grant.issued_at.timestamp())
        # Who verifies tokens without asking must not take them for longer than the session lives.
        expires_at = min(issued_at + int(self.settings.access_ttl.total_seconds()), int(session.expires_at.timestamp()))
        shared = {
            "iss": self.settings.issuer,
            "aud": self.settings.audience,
            "sub": str(user.user_id),
            "sid": str(session.session_id),
            "origin_jti": str(session.origin_jti),
            "auth_time": int(session.auth_time.timestamp()),
            "amr": session.amr,
            "iat": issued_at,
            "exp": expires_at,
            "username": user.username,
            "groups": grant.groups,
        }
        of_access = {"jti": str(grant.access_jti), "token_use": "access", GENERATION: session.generation}
        access = key.sign({**shared, **of_access}, typ=ACCESS_TOKEN_TYPE)
        of_identity = {"jti": str(grant.identity_jti), "token_use": "id"}
        identity = key.sign({**user.claims, **user.verified, **shared, **of_identity}, typ=ID_TOKEN_TYPE)
        return Tokens(
            access_token=access,
            id_token=identity,
            refresh_token=grant.refresh_token,
            access_token_expires_at=datetime.fromtimestamp(expires_at, UTC),
        )

    async def renew(self, executor: Executor, bearer: Bearer, kind: FactorKind, *, now: datetime) -> Renewed:
        """Store a fresh authentication of a bearer's session, in a transaction that holds the user and has read both.

        Tokens of before get nothing by it: access tokens are of a former generation from here on, and refresh tokens
        are used up without a successor, those included whose successor could still be asked for again.
        """
        standing, caller, refresh_token = bearer.standing, bearer.caller, new_handle()
        generation, amr = standing.generation + 1, methods_with(standing.amr, kind)
        await sessions.renew(
            executor,
            session_id=standing.session_id,
            generation=generation,
            amr=amr,
            now=now,
            client_ip=caller.ip,
            client_user_agent=caller.user_agent,
        )
        digest = self.ring.digest(Purpose.REFRESH_TOKEN, refresh_token)
        await refresh_tokens.replace_all(executor, session_id=standing.session_id, digest=digest, now=now)
        return Renewed(replace(standing, auth_time=now, amr=amr, generation=generation), refresh_token)

    async def rotate(self, executor: Executor, digest: bytes, now: datetime) -> str | None:
        """Use a refresh token up and return its one successor; None if another call did."""
        successor = new_handle()
        rotated = await refresh_tokens.rotate(
            executor,
            digest=digest,
            sealed_successor=self.ring.seal(Purpose.REFRESH_SUCCESSOR, successor.encode(), bound_to=digest.hex()),
            successor_digest=self.ring.digest(Purpose.REFRESH_TOKEN, successor),
            now=now,
        )
        return successor if rotated else None
