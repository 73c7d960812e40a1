"""An audit trail to be tampered with: what a test records, and what verifying finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.audit.verify import ChainReport, Mark, verify
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import SessionId, UserId
from authsvc.store.audit import CHAINS
from authsvc.store.db import Database
from tests.clock import FakeClock
from tests.store.rows import insert_user

CALLER = Caller(source="192.0.2.7", ip="192.0.2.7", user_agent="a browser", request_id="request-1")


@dataclass
class Trail:
    """Hold a user whose events are on one chain."""

    database: Database
    ring: KeyRing
    clock: FakeClock
    user_id: UUID = field(default_factory=uuid4)

    @property
    def audit(self) -> Audit:
        """Return what records."""
        return Audit(database=self.database, ring=self.ring, clock=self.clock)

    async def begin(self, username: str = "ada") -> None:
        """Make the user."""
        self.user_id = await insert_user(self.database, username, now=self.clock.now())

    async def record(self, *kinds: AuditKind, caller: Caller = CALLER) -> None:
        """Record events of the user, each on its own."""
        for kind in kinds:
            async with self.database.transaction() as transaction:
                event = AuditEvent(
                    kind, caller, UserId(self.user_id), session_id=SessionId(uuid4()), details={"amr": "pwd"}
                )
                await self.audit.record(transaction, event)

    async def chain(self) -> int:
        """Return the chain of the user's events."""
        return int(await self.database.fetchval("select chain from audit_events where user_id = $1", self.user_id))

    async def reports(self, checkpoint: Mapping[int, Mark] | None = None) -> list[ChainReport]:
        """Verify all chains."""
        found = [report async for report in verify(self.database, self.ring, checkpoint)]
        assert [report.chain for report in found] == list(range(CHAINS))
        return found

    async def faults(self, checkpoint: Mapping[int, Mark] | None = None) -> list[str]:
        """Return all faults as `KIND first-last`."""
        return [
            f"{fault.kind} {fault.first}-{fault.last}"
            for report in await self.reports(checkpoint)
            for fault in report.faults
        ]

    async def checkpoint(self) -> dict[int, Mark]:
        """Return where all chains end."""
        return {report.chain: report.end for report in await self.reports()}
