"""Removal of what nobody needs any more, in small batches, by every replica; one more or less does no harm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import structlog

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.audit.retention import AuditRetention
from authsvc.crypto.sealing import KeyRing
from authsvc.crypto.tokens import jitter
from authsvc.errors import DomainError
from authsvc.store import signing_keys, throttle, users
from authsvc.store.db import Database
from authsvc.store.ended import Ended, purge

INTERVAL = timedelta(minutes=5)
BATCH = 1_000
# How long things stay after their end, so that what is answered about them stays exact for a while.
KEEP_ENDED = timedelta(hours=1)
# A session's refresh tokens stay known as reused for a while after its end.
KEEP_SESSIONS = timedelta(days=7)
# How long an account's wrong tries are remembered when none is added, unless they closed the factor. Those that never
# led to a lock go sooner: anybody can make them, for any name, and a guesser this slow gets fewer tries than the locks
# allow.
KEEP_FAILURES = timedelta(days=90)
KEEP_FEW_FAILURES = timedelta(days=1)
# The user of an account without any, known or ended, is told of no sign-in from a new device: it may be the first.
KEEP_DEVICES = timedelta(days=365)
KEEP_MAIL = timedelta(days=7)
# How long after its last batch an import can be taken up again.
KEEP_IMPORTS = timedelta(days=30)

_log = structlog.get_logger()


class Janitor:
    """Purge what has ended."""

    def __init__(self, *, database: Database, ring: KeyRing, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._audit = AuditRetention(database=database, ring=ring, retention=settings.audit.retention)
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """Purge now and then until cancelled."""
        while True:
            await self._clock.sleep(INTERVAL * (0.5 + jitter()))
            try:
                await self.run_once()
            except DomainError as error:
                _log.warning("purge_failed", reason=error.reason)
            except Exception as error:
                # What is left over can wait; signing in can't.
                _log.error("purge_failed", exc_info=error)

    async def run_once(self) -> dict[str, int]:
        """Purge everything that is due; return how many rows of each kind went.

        What fails keeps nothing else from its turn.

        Raises:
            DomainError: something failed; the first of it.
        """
        now = self._clock.now()
        ended = now - KEEP_ENDED
        db = self._database
        limits = self._settings.limits
        ends = {
            Ended.CHALLENGE_SESSIONS: ended,
            Ended.TOTP_DEVICES: ended,
            Ended.CODES: ended,
            Ended.RESET_SESSIONS: ended,
            Ended.KNOWN_DEVICES: now - KEEP_DEVICES,
            Ended.KNOWN_SOURCES: now,
            Ended.RATE_WINDOWS: ended,
            Ended.SESSIONS: now - KEEP_SESSIONS,
            Ended.SUCCESSORS: now - self._settings.tokens.refresh_grace,
            Ended.SIGN_IN_REPLIES: now,
            Ended.IMPORTS: now - KEEP_IMPORTS,
            Ended.OUTBOX: now - KEEP_MAIL,
        }
        purges: dict[str, Callable[[], Awaitable[int]]] = {
            what.value: partial(purge, db, what=what, before=before, limit=BATCH) for what, before in ends.items()
        }
        purges |= {
            "failures": lambda: throttle.purge_failures(
                db, updated_before=now - KEEP_FAILURES, count_below=limits.close_at, limit=BATCH
            ),
            "few_failures": lambda: throttle.purge_failures(
                db, updated_before=now - KEEP_FEW_FAILURES, count_below=limits.lock_from, limit=BATCH
            ),
            "lane_failures": lambda: throttle.purge_lane_failures(db, updated_before=now - KEEP_FAILURES, limit=BATCH),
            "users": lambda: users.purge_unconfirmed(
                db, created_before=now - self._settings.accounts.unconfirmed_purge, now=now, limit=BATCH
            ),
            "signing_keys": lambda: signing_keys.purge(db, expired_before=ended),
            "audit_months": lambda: self._audit.prune(now),
        }
        failures: list[Exception] = []
        purged: dict[str, int] = {}
        for what, batch in purges.items():
            try:
                purged[what] = await self._drain(batch)
            except Exception as error:  # raised below, when the others had their turn
                failures.append(error)
        await self._audit.make_months(now)
        if any(purged.values()):
            _log.info("purged", **{what: count for what, count in purged.items() if count})
        if failures:
            raise failures[0]
        return purged

    async def _drain(self, batch: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while True:
            count = await batch()
            total += count
            if count < BATCH:
                return total
