"""Lanes: where guesses at an account come from, as far as they are counted apart.

A device that shows the token it was given, a network from which a sign-in was finished lately, a session; all others
are strangers. What strangers do wrong locks and closes strangers alone. Each lane has the same limits of its own, and
an account has so many lanes at most, so that guesses in all stay bounded (NIST SP 800-63B-4 §3.2.2, OWASP's device
cookies).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.clock import Clock
from authsvc.config import LimitsSettings
from authsvc.core.access.caller import Caller
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.domain import STRANGERS, Lane, LaneKind, SessionId, User, UsernameKey
from authsvc.store import lanes
from authsvc.store.db import Database, Executor
from authsvc.store.sessions import Visit

# How long passwords from where one was recovered are counted apart, for the sign-in that comes next.
RECOVERED_TTL = timedelta(hours=1)


def lane_of_session(session_id: SessionId) -> Lane:
    """Return the lane of calls with a live session."""
    return Lane(f"session:{session_id.hex}")


def lane_of_proofs(lane: Lane) -> Lane:
    """Return the lane in which what comes after a right password is counted.

    Where a password was recovered nothing but the mailbox was proved: else each recovery would bring more guesses at
    the second factor.
    """
    return STRANGERS if lane.startswith(_prefix(LaneKind.RECOVERED)) else lane


@dataclass(frozen=True, kw_only=True, slots=True)
class Lanes:
    """Tell lanes apart, and make places known."""

    database: Database
    ring: KeyRing
    limits: LimitsSettings
    clock: Clock

    async def find(self, username_key: UsernameKey, caller: Caller) -> Lane:
        """Return the lane of a call about an account, existing or not.

        A token that is not this account's, or has ended, is no error: who shows one is a stranger.
        """
        digests = [
            *(self.ring.digests(Purpose.DEVICE, username_key, caller.device_token) if caller.device_token else []),
            *(self.ring.digests(Purpose.SOURCE, username_key, caller.network) if caller.network else []),
        ]
        known = await lanes.find(self.database, digests=digests, now=self.clock.now())
        return STRANGERS if known is None else Lane(f"{_prefix(known.kind)}{known.digest.hex()}")

    def visit(self, user: User, caller: Caller, lane: Lane, *, now: datetime) -> tuple[Visit, str]:
        """Return what a finished sign-in makes known, and its device's new token; empty if the one shown counts."""
        prefix = _prefix(LaneKind.DEVICE)
        is_shown = lane.startswith(prefix)
        token = "" if is_shown else new_handle()
        return Visit(
            device=bytes.fromhex(lane.removeprefix(prefix))
            if is_shown
            else self.ring.digest(Purpose.DEVICE, user.username_key, token),
            is_shown=is_shown,
            device_expires_at=now + self.limits.known_device_ttl,
            source=self._source(user, caller),
            source_expires_at=now + self.limits.known_source_ttl,
            most_devices=self.limits.known_devices,
            most_sources=self.limits.known_sources,
        ), token

    async def remember_recovered(self, executor: Executor, user: User, caller: Caller, *, now: datetime) -> None:
        """Make the network known from which a password was recovered, for a while and for passwords alone.

        Strangers who go on guessing must not lock out whoever has just chosen a new password.
        """
        source = self._source(user, caller)
        if source is not None:
            await lanes.remember_recovered(
                executor,
                digest=source,
                user_id=user.user_id,
                now=now,
                expires_at=now + RECOVERED_TTL,
                most=self.limits.known_sources,
            )

    def _source(self, user: User, caller: Caller) -> bytes | None:
        return self.ring.digest(Purpose.SOURCE, user.username_key, caller.network) if caller.network else None


def _prefix(kind: LaneKind) -> str:
    return f"{kind.lower()}:"
