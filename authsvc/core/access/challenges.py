"""Challenge sessions: what waits for an answer, by its handle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import ChallengesSettings
from authsvc.core.access.changes import Change
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.errors import SessionExpired, UserDisabled
from authsvc.store import challenges, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor

# Half-done sign-ins and set-ups of one account that are kept, beside a new one; the oldest end.
KEPT = 99


@dataclass(frozen=True, slots=True)
class Opening:
    """Hold the challenge session that a step is about to be stored as: its digest, its begin and its end."""

    step: str
    digest: bytes
    now: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ChallengeSessions:
    """Open, find and hold challenge sessions."""

    database: Database
    ring: KeyRing
    limits: ChallengesSettings
    clock: Clock

    def open(self, step: str, now: datetime, *, is_set_up: bool) -> tuple[str, Opening]:
        """Return a new handle, and what is stored of it; those in which users set something up live longer."""
        session = new_handle()
        life = self.limits.setup_ttl if is_set_up else self.limits.ttl
        return session, Opening(
            step=step, digest=self.ring.digest(Purpose.CHALLENGE, session), now=now, expires_at=now + life
        )

    async def find(self, session: str) -> Challenge:
        """Return a session that can still be answered.

        Raises:
            SessionExpired: it is unknown, expired, used or dead.
        """
        challenge = await challenges.find_live(
            self.database,
            digests=self.ring.digests(Purpose.CHALLENGE, session),
            now=self.clock.now(),
            max_wrong=self.limits.max_wrong,
        )
        if challenge is None:
            raise SessionExpired
        return challenge

    @asynccontextmanager
    async def hold(self, challenge: Challenge) -> AsyncIterator[Change]:
        """Hold the row of the account that a session is about, in a transaction.

        Raises:
            SessionExpired: the account is gone.
            UserDisabled: it was disabled meanwhile.
        """
        async with self.database.transaction() as transaction:
            user = await users.lock(transaction, user_id=challenge.user_id)
            if user is None:
                raise SessionExpired
            if user.disabled_at is not None:
                raise UserDisabled
            yield Change(transaction, user, self.clock.now())


async def consume(
    executor: Executor, challenge: Challenge, now: datetime, *, code_digests: list[bytes] | None = None
) -> None:
    """Use a session up, if need be only with one of these codes as its code.

    Raises:
        SessionExpired: another call did, or its code was replaced.
    """
    if not await challenges.consume(executor, digest=challenge.digest, now=now, code_digests=code_digests):
        raise SessionExpired
