"""One change of an account, by its user or by an operator: under the lock of its row, and recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.core.audit.trail import AuditEvent, AuditKind
from authsvc.domain import User
from authsvc.store.db import Executor


@dataclass(slots=True)
class Change:
    """Hold what a change is made in: its transaction, which holds the row of the account as it was, and its time.

    What the change learns of itself goes into `details`; what else it did, into `also`, recorded before it. A change
    that turns out to change nothing says so, and is not recorded.
    """

    executor: Executor
    user: User
    now: datetime
    details: dict[str, str] = field(default_factory=dict)
    also: list[AuditKind] = field(default_factory=list)
    is_void: bool = False

    def events(self, kind: AuditKind, event_of: Callable[..., AuditEvent]) -> list[AuditEvent]:
        """Return what is to be recorded; `event_of` makes an event of a kind and details."""
        if self.is_void:
            return []
        return [*map(event_of, self.also), event_of(kind, **self.details)]
