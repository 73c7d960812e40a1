"""Verify the audit trail: walk every chain from its first event, or its last removed one, to its end."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field

from authsvc.core.audit.chain import event_digest, is_pruning_sealed, is_sealed, personal_digest, personal_of
from authsvc.crypto.sealing import KeyRing
from authsvc.store import audit
from authsvc.store.audit import CHAINS, Chain, WalkedEvent
from authsvc.store.db import Database

BATCH = 2_000
# Told of one chain; a chain that is broken everywhere need not be told in full.
MOST_FAULTS = 100


class FaultKind(enum.StrEnum):
    """Name what is wrong with a chain."""

    ALTERED = "ALTERED"
    REMOVED = "REMOVED"
    INSERTED = "INSERTED"
    CUT_OFF = "CUT_OFF"
    ERASED = "ERASED"
    END_FORGED = "END_FORGED"
    PRUNING_FORGED = "PRUNING_FORGED"
    NOT_CHECKPOINT = "NOT_CHECKPOINT"
    KEY_MISSING = "KEY_MISSING"


FAULTS: Mapping[FaultKind, str] = {
    FaultKind.ALTERED: "an event was altered, moved here from another place, or recorded at a forged end",
    FaultKind.REMOVED: "events were removed",
    FaultKind.INSERTED: "an event was inserted that nobody recorded",
    FaultKind.CUT_OFF: "the newest events were removed",
    FaultKind.ERASED: "personal data was removed from an event of a user who exists",
    FaultKind.END_FORGED: "the note where the chain ends was altered",
    FaultKind.PRUNING_FORGED: "the note of events removed for their age was altered",
    FaultKind.NOT_CHECKPOINT: "the chain does not hold what it held at the checkpoint",
    FaultKind.KEY_MISSING: "the master key that an event was recorded under is not here",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Hold one fault: at which event of the chain, or from which to which."""

    kind: FaultKind
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Hold where a chain ended once: a checkpoint, kept apart from the database."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class ChainReport:
    """Hold what came of one chain; `end` is its checkpoint for the next time."""

    chain: int
    events: int
    end: Mark
    faults: tuple[Fault, ...]
    is_complete: bool = True


@dataclass(slots=True)
class _Walk:
    """Hold how far a chain is walked."""

    chain: Chain
    sequence: int
    digest: bytes | None
    events: int = 0
    faults: list[Fault] = field(default_factory=list)
    mark_digest: bytes | None = None

    def find(self, kind: FaultKind, first: int, last: int | None = None) -> None:
        self.faults.append(Fault(kind, first, first if last is None else last))


async def verify(
    database: Database, ring: KeyRing, checkpoint: Mapping[int, Mark] | None = None
) -> AsyncGenerator[ChainReport, None]:
    """Walk all chains, a batch of events in memory at a time, and yield what came of each.

    Recording and pruning go on meanwhile: a chain is verified as far as it went when its walk began.
    """
    for number in range(CHAINS):
        while True:
            chain = await audit.find_chain(database, chain=number)
            if chain is None:
                yield ChainReport(chain=number, events=0, end=Mark(0, b""), faults=(Fault(FaultKind.REMOVED, 1, 1),))
                break
            report = await _verify_chain(database, ring, chain, mark=(checkpoint or {}).get(number))
            if report.faults:
                # Pruned during the walk: what is missing may be what went honestly.
                later = await audit.find_chain(database, chain=number)
                if later is not None and later.pruned_sequence != chain.pruned_sequence:
                    continue
            yield report
            break


async def _verify_chain(database: Database, ring: KeyRing, chain: Chain, *, mark: Mark | None) -> ChainReport:
    walk = _Walk(chain, chain.pruned_sequence, chain.pruned_digest)
    if mark is not None and mark.sequence == chain.pruned_sequence:
        walk.mark_digest = chain.pruned_digest
    if not is_sealed(ring, chain.chain, chain):
        walk.find(FaultKind.END_FORGED, chain.sequence)
    if not is_pruning_sealed(ring, chain):
        walk.find(FaultKind.PRUNING_FORGED, chain.pruned_sequence)
    async for event in _events(database, chain):
        if len(walk.faults) >= MOST_FAULTS:
            break
        _verify_event(ring, walk, event)
        if mark is not None and event.sequence == mark.sequence:
            walk.mark_digest = event.digest
    is_complete = len(walk.faults) < MOST_FAULTS
    if is_complete:
        if walk.sequence < chain.sequence:
            walk.find(FaultKind.CUT_OFF, walk.sequence + 1, chain.sequence)
        elif walk.digest is not None and walk.digest != chain.digest:
            walk.find(FaultKind.END_FORGED, chain.sequence)
        if chain.last_event is not None and chain.last_event > chain.sequence:
            walk.find(FaultKind.INSERTED, chain.sequence + 1, chain.last_event)
        if mark is not None:
            _verify_mark(walk, mark)
    return ChainReport(
        chain=chain.chain,
        events=walk.events,
        end=Mark(chain.sequence, chain.digest),
        faults=tuple(walk.faults),
        is_complete=is_complete,
    )


async def _events(database: Database, chain: Chain) -> AsyncIterator[WalkedEvent]:
    after = audit.BEGIN
    while True:
        batch = await audit.walk(database, chain=chain.chain, after=after, until=chain.sequence, limit=BATCH)
        for event in batch:
            yield event
        if len(batch) < BATCH:
            return
        after = (batch[-1].sequence, batch[-1].created_at)


def _verify_event(ring: KeyRing, walk: _Walk, event: WalkedEvent) -> None:
    walk.events += 1
    if event.sequence <= walk.sequence:
        walk.find(FaultKind.INSERTED, event.sequence)
        return
    previous = walk.digest
    if event.sequence > walk.sequence + 1:
        walk.find(FaultKind.REMOVED, walk.sequence + 1, event.sequence - 1)
        # What it was chained to is gone.
        previous = None
    walk.sequence, walk.digest = event.sequence, event.digest
    if previous is not None:
        expected = event_digest(ring, previous, event)
        if expected is None:
            walk.find(FaultKind.KEY_MISSING, event.sequence)
            return
        if expected != event.digest:
            walk.find(FaultKind.ALTERED, event.sequence)
            return
    _verify_personal(ring, walk, event)


def _verify_personal(ring: KeyRing, walk: _Walk, event: WalkedEvent) -> None:
    if None in (personal := personal_of(event)):
        is_whole = set(personal) == {None}
        # Nobody's events have no user to be deleted.
        if not is_whole or event.user_exists or event.user_id is None:
            walk.find(FaultKind.ERASED, event.sequence)
    elif personal_digest(ring, event) != event.personal_digest:
        walk.find(FaultKind.ALTERED, event.sequence)


def _verify_mark(walk: _Walk, mark: Mark) -> None:
    """See that what once was the end of the chain is on it, unless it was removed for its age since."""
    if mark.sequence == 0 or mark.sequence < walk.chain.pruned_sequence:
        return
    if mark.sequence > walk.chain.sequence:
        walk.find(FaultKind.CUT_OFF, walk.chain.sequence + 1, mark.sequence)
    elif walk.mark_digest != mark.digest:
        walk.find(FaultKind.NOT_CHECKPOINT, mark.sequence)
