"""The signing keys that this process uses, as the database has them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import cast
from uuid import UUID

from authsvc.clock import Clock
from authsvc.config import TokensSettings
from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.crypto.jwt import ACCESS_TOKEN_TYPE, Algorithm, InvalidToken, PublicKey, SigningKey, key_id_of
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import SessionId
from authsvc.errors import Internal, TokenInvalid
from authsvc.store import signing_keys
from authsvc.store.db import Database
from authsvc.store.signing_keys import SigningKeyRow

# How long this process may not know of a key that another one made; well below the lead of a rotation.
REFRESH_INTERVAL = timedelta(seconds=30)
# Unknown key ids, which anybody can send, ask the database at most this often.
UNKNOWN_KEY_INTERVAL = timedelta(seconds=1)
# Access tokens live at most this long, so a key that signed one must be published for as long.
PUBLICATION_MARGIN = timedelta(minutes=5)
# A signature costs more to check than everything else in a call; a token of 1 kB is used for many calls.
REMEMBERED_TOKENS = 4096
# The claim of access tokens that says how often their session's user had been proved again.
GENERATION = "gen"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """Hold what a well-signed access token says; whether it has ended or was revoked is another matter.

    `auth_time`, `amr` and `generation` are those of its session when it was signed: see `Sessions.renew`.
    """

    session_id: SessionId
    auth_time: datetime
    amr: tuple[str, ...]
    generation: int
    expires_at: datetime


class _UnknownKey(InvalidToken):
    """Tell that a token names a key that this process does not have."""


@dataclass(eq=False, kw_only=True)
class SigningKeys:
    """Sign with the current key, verify with every published one, rotate."""

    database: Database
    ring: KeyRing
    audit: Audit
    settings: TokensSettings
    clock: Clock

    def __post_init__(self) -> None:
        self._rows: list[SigningKeyRow] = []
        self._public: dict[str, PublicKey] = {}
        self._private: dict[str, SigningKey] = {}
        self._read_at: datetime | None = None
        self._reading = asyncio.Lock()
        # Only tokens that proved right are remembered, and only for as long as the keys stay the same.
        self._verified = lru_cache(REMEMBERED_TOKENS)(self._verify)

    async def ensure_one(self) -> None:
        """Make the first key if there is none; replicas that start at once end up with the same one."""
        await self._refresh()
        if not self._rows:
            key = SigningKey.generate(self.settings.algorithm)
            async with self.database.transaction() as transaction:
                now = self.clock.now()
                await signing_keys.insert_first(transaction, key=self._row_of(key, now, active_from=now))
            await self._refresh()

    async def rotate(self, *, immediately: bool = False) -> SigningKeyRow:
        """Publish a new key, to be used once verifiers had time to fetch it; return it.

        The others end when the last token they signed has. With `immediately`, for a leaked key, the new one is used
        and the others end as soon as each replica has read it, within 30 seconds: their tokens are refused.
        """
        now = self.clock.now()
        active_from = now if immediately else now + self.settings.signing_key_lead
        key = SigningKey.generate(self.settings.algorithm)
        async with self.database.transaction() as transaction:
            await signing_keys.rotate(
                transaction,
                key=self._row_of(key, now, active_from=active_from),
                others_expire_at=now if immediately else active_from + self.settings.access_ttl + PUBLICATION_MARGIN,
            )
            details = {"kid": key.kid, "others_end": "AT_ONCE" if immediately else "LATER"}
            event = AuditEvent(AuditKind.ROTATE_SIGNING_KEY, Caller(), actor="system", details=details)
            await self.audit.record(transaction, event)
        await self._refresh()
        return next(row for row in self._rows if row.kid == key.kid)

    async def published(self) -> list[SigningKeyRow]:
        """Return the keys that verify tokens, newest first."""
        await self._refresh(if_older_than=REFRESH_INTERVAL)
        return self._rows

    async def public_keys(self) -> list[dict[str, str]]:
        """Return the public halves of those keys, each as a JWK."""
        return [row.public_jwk for row in await self.published()]

    async def current(self) -> SigningKey:
        """Return the key to sign with: the newest that is active."""
        now = self.clock.now()
        rows = await self.published()
        if not rows:
            raise Internal
        # Where this clock is behind that of the replica which made the first key, none is active yet.
        row = next((row for row in rows if row.active_from <= now), rows[-1])
        if row.kid not in self._private:
            der = self.ring.open(Purpose.SIGNING_KEY, row.sealed_private, bound_to=row.kid)
            self._private[row.kid] = SigningKey.from_der(kid=row.kid, algorithm=cast(Algorithm, row.algorithm), der=der)
        return self._private[row.kid]

    async def verify_access_token(self, token: str) -> VerifiedToken:
        """Return what an access token of ours says; its end, and its session's, are the caller's to look at.

        Raises:
            TokenInvalid: it is not one.
        """
        await self._refresh(if_older_than=REFRESH_INTERVAL)
        try:
            try:
                return self._verified(token)
            except _UnknownKey:
                await self._refresh(if_older_than=UNKNOWN_KEY_INTERVAL)
                return self._verified(token)
        except InvalidToken as error:
            raise TokenInvalid from error

    def _row_of(self, key: SigningKey, now: datetime, *, active_from: datetime) -> SigningKeyRow:
        return SigningKeyRow(
            kid=key.kid,
            algorithm=key.algorithm,
            public_jwk=key.public_jwk(),
            sealed_private=self.ring.seal(Purpose.SIGNING_KEY, key.to_der(), bound_to=key.kid),
            created_at=now,
            active_from=active_from,
        )

    def _verify(self, token: str) -> VerifiedToken:
        key = self._public.get(key_id_of(token))
        if key is None:
            raise _UnknownKey
        claims = key.verify(token, typ=ACCESS_TOKEN_TYPE, issuer=self.settings.issuer, audience=self.settings.audience)
        return VerifiedToken(
            session_id=SessionId(UUID(claims["sid"])),
            auth_time=datetime.fromtimestamp(claims["auth_time"], UTC),
            amr=tuple(claims["amr"]),
            # A token that a server of the former release signed has none.
            generation=claims.get(GENERATION, 0),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        )

    async def _refresh(self, *, if_older_than: timedelta = timedelta.min) -> None:
        def is_older() -> bool:
            return self._read_at is None or self.clock.now() - self._read_at >= if_older_than

        if is_older():
            # One call asks for all that come meanwhile; and what was read before a key was made must not replace what
            # was read after.
            async with self._reading:
                if is_older():
                    await self._read()

    async def _read(self) -> None:
        now = self.clock.now()
        rows = await signing_keys.list_published(self.database, now=now)
        self._rows = rows
        public = {row.kid: self._public.get(row.kid) or PublicKey.from_jwk(row.public_jwk) for row in rows}
        if public.keys() != self._public.keys():
            self._verified.cache_clear()
        self._public = public
        self._private = {kid: key for kid, key in self._private.items() if kid in self._public}
        self._read_at = now
