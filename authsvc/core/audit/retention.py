"""The age of the audit trail: months are made ahead, and removed whole once they are too old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from authsvc.core.audit.chain import event_digest, pruned_parts
from authsvc.crypto.sealing import KeyRing
from authsvc.store import audit
from authsvc.store.audit import Chain
from authsvc.store.db import Database, Executor

# Enough for replicas that stand still over a month's end.
MONTHS_AHEAD = 2

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRetention:
    """Make and remove months; any number of replicas may, at once."""

    database: Database
    ring: KeyRing
    retention: timedelta

    async def make_months(self, now: datetime) -> int:
        """Make this month and those ahead unless they are there; return how many."""
        months = [_month(now, ahead) for ahead in range(MONTHS_AHEAD + 1)]
        return sum([await audit.make_month(self.database, moment=month) for month in months])

    async def prune(self, now: datetime) -> int:
        """Remove whole months whose last event is older than the retention; return how many.

        Where each chain begins from then on is noted under a keyed seal, so that nobody else can shorten it. Chains
        whose part to be removed does not end as it was recorded stay as they are: that is for `authsvc audit verify`.
        """
        month = _month(now - self.retention)
        oldest = await audit.find_oldest(self.database)
        if oldest is None or oldest >= month:
            return 0
        async with self.database.transaction() as transaction:
            if not await audit.try_prune_lock(transaction):
                return 0
            ends = [
                (chain, last, await self._end_of(transaction, chain, last))
                for chain in await audit.lock_chains(transaction, before=month)
                if (last := chain.last_event) is not None
            ]
            if broken := [chain.chain for chain, _, digest in ends if digest is None]:
                _log.error("audit_not_pruned", chains=broken, remedy="authsvc audit verify")
                return 0
            for chain, last, end in ends:
                digest = end or b""
                seal = self.ring.digest(*pruned_parts(chain.chain, last, digest))
                await audit.note_pruned(transaction, chain=chain.chain, sequence=last, digest=digest, seal=seal)
            return await audit.drop_before(transaction, month=month)

    async def _end_of(self, executor: Executor, chain: Chain, last: int) -> bytes | None:
        """Return the digest of a chain's last event to be removed; None if it is not what was recorded there."""
        # The event before vouches for the last one, the one after shows that none is left out.
        stretch = await audit.find_events(executor, chain=chain.chain, first=last - 1, last=last + 1)
        previous = {event.sequence: event.digest for event in stretch} | {chain.pruned_sequence: chain.pruned_digest}
        expected = {last - 1, last, last + 1} - {chain.pruned_sequence, chain.sequence + 1}
        if sorted(event.sequence for event in stretch) != sorted(expected) or last > chain.sequence:
            return None
        for event in stretch:
            before = previous.get(event.sequence - 1)
            if before is not None and event_digest(self.ring, before, event) != event.digest:
                return None
        return previous[last]


def _month(moment: datetime, ahead: int = 0) -> datetime:
    """Return the begin of a moment's month, or of one that many months later."""
    utc = moment.astimezone(UTC)
    months = utc.year * 12 + utc.month - 1 + ahead
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)
