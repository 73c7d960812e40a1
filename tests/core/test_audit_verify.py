"""Verifying the audit trail: whatever is done to it with SQL alone is found."""

from __future__ import annotations

import asyncio

import pytest

from authsvc.core.access.caller import Caller
from authsvc.core.audit import verify as audit_verify
from authsvc.core.audit.trail import AuditEvent, AuditKind
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.domain import UserId
from authsvc.store.audit import CHAINS
from authsvc.store.db import Database
from tests.clock import FakeClock
from tests.core.trail import CALLER, Trail

FIVE = [AuditKind.SIGN_UP, AuditKind.SIGN_IN, AuditKind.UPDATE_PASSWORD, AuditKind.SIGN_OUT, AuditKind.SIGN_IN]
# Each changes the third event, or its user's events, in one way.
ALTERATIONS = {
    "created_at": "created_at = created_at - interval '1 day'",
    "kind": "kind = 'SIGN_OUT'",
    "result": "result = 'FAILURE'",
    "reason": "reason = 'NOT_AUTHORIZED'",
    "user_id": "user_id = '00000000-0000-4000-8000-000000000000'",
    "user_id null": "user_id = null",
    "actor": "actor = 'system'",
    "session_id": "session_id = null",
    "request_id": "request_id = 'another'",
    "details": "details = '{}'",
    "username": "username = 'Eve'",
    "client_ip": "client_ip = '198.51.100.1'",
    "client_user_agent": "client_user_agent = 'another browser'",
    "personal_salt": "personal_salt = 'salt'",
    "personal_digest": "personal_digest = sha256('x')",
    "digest": "digest = sha256('x')",
}


@pytest.fixture
async def trail(database: Database, ring: KeyRing, clock: FakeClock) -> Trail:
    """Record five events of one user."""
    trail = Trail(database, ring, clock)
    await trail.begin()
    await trail.record(*FIVE)
    return trail


async def test_untouched_trail_has_no_faults(trail: Trail) -> None:
    """Chains with and without events verify, and all events are counted."""
    reports = await trail.reports()
    assert [fault for report in reports for fault in report.faults] == []
    assert sum(report.events for report in reports) == 5


async def test_trail_is_verified_in_batches(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain that is longer than a batch is walked to its end, and a fault behind the first batch is found."""
    monkeypatch.setattr(audit_verify, "BATCH", 2)
    assert sum(report.events for report in await trail.reports()) == 5
    await trail.database.execute("update audit_events set kind = 'SIGN_UP' where sequence = 5")
    assert await trail.faults() == ["ALTERED 5-5"]


@pytest.mark.parametrize("alteration", ALTERATIONS)
async def test_altered_event_is_found(trail: Trail, alteration: str) -> None:
    """A change of any one column of an event is found, and where it is."""
    await trail.database.execute(f"update audit_events set {ALTERATIONS[alteration]} where sequence = 3")  # noqa: S608  # from this file
    assert "ALTERED 3-3" in await trail.faults()


async def test_event_of_another_key_is_found(trail: Trail) -> None:
    """An event that names a master key that is not here can't be verified, and that is said."""
    await trail.database.execute("update audit_events set key_id = 'another' where sequence = 3")
    assert await trail.faults() == ["KEY_MISSING 3-3"]


@pytest.mark.parametrize("sequence", [1, 2, 4])
async def test_removed_event_is_found(trail: Trail, sequence: int) -> None:
    """An event that is gone from the begin or the middle of a chain leaves a gap."""
    await trail.database.execute("delete from audit_events where sequence = $1", sequence)
    assert await trail.faults() == [f"REMOVED {sequence}-{sequence}"]


async def test_gap_that_was_closed_is_found(trail: Trail) -> None:
    """Renumbering what comes after a removed event does not help: each event has its number in its digest."""
    await trail.database.execute("delete from audit_events where sequence = 2")
    await trail.database.execute("update audit_events set sequence = sequence - 1 where sequence > 2")
    await trail.database.execute("update audit_chains set sequence = 4 where sequence = 5")
    assert await trail.faults() == ["END_FORGED 4-4", "ALTERED 2-2", "ALTERED 3-3", "ALTERED 4-4"]


async def test_swapped_events_are_found(trail: Trail) -> None:
    """Two events that change places are both found, and so is the one after them."""
    for former, later in ((2, 100), (3, 2), (100, 3)):
        await trail.database.execute("update audit_events set sequence = $2 where sequence = $1", former, later)
    assert await trail.faults() == ["ALTERED 2-2", "ALTERED 3-3", "ALTERED 4-4"]


COPY = """
insert into audit_events
select chain, $2, {created_at}, kind, result, reason, user_id, actor, session_id, request_id, details, username,
       client_ip, client_user_agent, personal_salt, personal_digest, key_id, digest
  from audit_events
 where sequence = $1
"""


async def test_inserted_event_is_found(trail: Trail) -> None:
    """A copy of an event under its own number, at another time, is found."""
    await trail.database.execute(COPY.format(created_at="created_at + interval '1 s'"), 3, 3)
    assert await trail.faults() == ["INSERTED 3-3"]


async def test_appended_event_is_found(trail: Trail) -> None:
    """A forged event after the end is found, whether the chain's row is moved on or not."""
    await trail.database.execute(COPY.format(created_at="created_at"), 5, 6)
    assert await trail.faults() == ["INSERTED 6-6"]
    await trail.database.execute(
        "update audit_chains set sequence = 6 where chain = $1 and sequence = 5", await trail.chain()
    )
    assert await trail.faults() == ["END_FORGED 6-6", "ALTERED 6-6"]


async def test_cut_off_events_are_found(trail: Trail) -> None:
    """Without its newest events a chain does not end where its row says."""
    await trail.database.execute("delete from audit_events where sequence > 3")
    assert await trail.faults() == ["CUT_OFF 4-5"]


async def test_chain_that_is_wound_back_is_found(trail: Trail) -> None:
    """Removing the newest events and setting the chain's row to the digest before them breaks its seal."""
    await trail.database.execute("delete from audit_events where sequence > 3")
    await trail.database.execute(
        "update audit_chains c set sequence = e.sequence, digest = e.digest, last_at = e.created_at"
        "  from audit_events e where e.chain = c.chain and e.sequence = 3"
    )
    assert await trail.faults() == ["END_FORGED 3-3"]
    # What is recorded there next does not seal it over.
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    assert await trail.faults() == ["ALTERED 4-4"]


async def test_chain_that_was_restored_is_found_with_a_checkpoint(trail: Trail) -> None:
    """Rows that an attacker kept and puts back verify by themselves; a later checkpoint shows what is missing."""
    kept = await trail.database.fetch("select sequence, digest, last_at, seal, chain from audit_chains")
    await trail.record(AuditKind.DELETE_USER_ATTRIBUTES)
    checkpoint = await trail.checkpoint()
    await trail.database.execute("delete from audit_events where sequence = 6")
    for row in kept:
        await trail.database.execute(
            "update audit_chains set sequence = $1, digest = $2, last_at = $3, seal = $4 where chain = $5", *row
        )
    assert await trail.faults() == []
    assert await trail.faults(checkpoint) == ["CUT_OFF 6-6"]
    await trail.record(AuditKind.SIGN_OUT)
    assert await trail.faults(checkpoint) == ["NOT_CHECKPOINT 6-6"]


async def test_emptied_trail_is_found_with_a_checkpoint(trail: Trail) -> None:
    """Who removes everything leaves what looks like a new trail, but for the checkpoint."""
    checkpoint = await trail.checkpoint()
    await trail.database.execute("truncate audit_events")
    await trail.database.execute(
        "update audit_chains set sequence = 0, digest = '', last_at = 'epoch', seal = null where sequence > 0"
    )
    assert await trail.faults() == []
    assert await trail.faults(checkpoint) == ["CUT_OFF 1-5"]


async def test_removed_chain_is_found(trail: Trail) -> None:
    """A chain whose row is gone is a fault, and its users' calls fail instead of going unrecorded."""
    await trail.database.execute("delete from audit_chains where chain = $1", await trail.chain())
    assert await trail.faults() == ["REMOVED 1-1"]
    with pytest.raises(LookupError):
        await trail.record(AuditKind.SIGN_IN)


@pytest.mark.parametrize("column", ["digest", "last_at", "seal"])
async def test_altered_end_is_found(trail: Trail, column: str) -> None:
    """A change of what a chain's row says of its end is found."""
    value = {"digest": "sha256('x')", "last_at": "'epoch'", "seal": "null"}[column]
    await trail.database.execute(f"update audit_chains set {column} = {value} where sequence = 5")  # noqa: S608  # from this file
    assert "END_FORGED 5-5" in await trail.faults()


async def test_forged_pruning_is_found(trail: Trail) -> None:
    """Removing the oldest events and noting them as removed for their age needs a seal that only authsvc can make."""
    await trail.database.execute(
        "update audit_chains c set pruned_sequence = e.sequence, pruned_digest = e.digest"
        "  from audit_events e where e.chain = c.chain and e.sequence = 2"
    )
    await trail.database.execute("delete from audit_events where sequence <= 2")
    assert await trail.faults() == ["PRUNING_FORGED 2-2"]
    # Nor does the other seal of the same row do.
    await trail.database.execute("update audit_chains set pruned_seal = seal")
    assert await trail.faults() == ["PRUNING_FORGED 2-2"]


@pytest.mark.parametrize(
    "columns", ["client_ip = null", "username = null, client_ip = null, client_user_agent = null, personal_salt = null"]
)
async def test_erased_personal_data_of_a_living_user_is_found(trail: Trail, columns: str) -> None:
    """Only a deleted user's events may lack their personal data."""
    await trail.database.execute(f"update audit_events set {columns} where sequence = 3")  # noqa: S608  # from this file
    assert await trail.faults() == ["ERASED 3-3"]


async def test_erased_personal_data_of_nobody_is_found(trail: Trail) -> None:
    """Events of names that don't exist have no user to be deleted: their addresses stay."""
    async with trail.database.transaction() as transaction:
        await trail.audit.record(transaction, AuditEvent(AuditKind.SIGN_IN, CALLER))
    assert await trail.faults() == []
    await trail.database.execute(
        "update audit_events set username = null, client_ip = null, client_user_agent = null, personal_salt = null"
        " where user_id is null"
    )
    assert len(await trail.faults()) == 1


async def test_deleted_user_leaves_a_trail_that_verifies(trail: Trail) -> None:
    """What happened to a deleted user is still on the chain, which verifies without the personal data."""
    async with trail.database.transaction() as transaction:
        await transaction.execute("delete from users where user_id = $1", trail.user_id)
        await trail.audit.record(transaction, AuditEvent(AuditKind.DELETE_USER, CALLER, UserId(trail.user_id)))
    assert await trail.faults() == []
    left = await trail.database.fetchval("select count(*) from audit_events where client_ip is not null")
    assert (left, sum(report.events for report in await trail.reports())) == (0, 6)
    await trail.database.execute("update audit_events set kind = 'SIGN_IN' where kind = 'DELETE_USER'")
    assert await trail.faults() == ["ALTERED 6-6"]


async def test_trail_verifies_after_the_master_key_is_rotated(trail: Trail, master_key: MasterKey) -> None:
    """Events of a former master key verify while that key is among the keys, and go on under the new one."""
    new = MasterKey.generate()
    trail.ring = KeyRing(keys=(new, master_key))
    assert await trail.faults() == []
    await trail.record(AuditKind.SIGN_OUT)
    assert await trail.faults() == []
    trail.ring = KeyRing(keys=(new,))
    assert await trail.faults() == [f"KEY_MISSING {number}-{number}" for number in range(1, 6)]


async def test_forger_with_another_key_is_found(trail: Trail) -> None:
    """Who records events with a key of their own, under the id of ours, is found at each of them."""
    forged = MasterKey(trail.ring.keys[0].key_id, bytes(32))
    forger = Trail(trail.database, KeyRing(keys=(forged,)), trail.clock, trail.user_id)
    await forger.record(AuditKind.SIGN_IN)
    assert await trail.faults() == ["END_FORGED 6-6", "ALTERED 6-6"]


async def test_many_faults_are_not_all_told(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain with more faults than are told is reported as such, without being walked to its end."""
    monkeypatch.setattr(audit_verify, "MOST_FAULTS", 2)
    await trail.database.execute("update audit_events set actor = 'system'")
    (broken,) = [report for report in await trail.reports() if report.faults]
    assert (broken.is_complete, len(broken.faults)) == (False, 2)


async def test_events_of_many_users_at_once_make_valid_chains(trail: Trail) -> None:
    """Fifty transactions that record at once, some for several users, all get their places, and nothing deadlocks."""
    users = [Trail(trail.database, trail.ring, trail.clock) for _ in range(20)]
    for number, user in enumerate(users):
        await user.begin(f"user-{number}")

    async def record(number: int) -> None:
        events = [
            AuditEvent(AuditKind.ADMIN_DISABLE_USER, Caller(), UserId(users[(number + each) % len(users)].user_id))
            for each in range(1 + number % 3)
        ]
        async with trail.database.transaction() as transaction:
            await trail.audit.record(transaction, *events)

    await asyncio.gather(*(record(number) for number in range(50)))
    assert await trail.faults() == []
    reports = await trail.reports()
    assert sum(report.events for report in reports) == 5 + sum(1 + number % 3 for number in range(50))
    assert sum(report.events > 0 for report in reports) > CHAINS // 4


async def test_trail_verifies_while_events_are_added(trail: Trail) -> None:
    """Events that are recorded during the walk are no fault."""
    done = asyncio.Event()

    async def go_on() -> None:
        while not done.is_set():
            await trail.record(AuditKind.SIGN_IN)

    recording = asyncio.create_task(go_on())
    for _ in range(5):
        assert await trail.faults() == []
    done.set()
    await recording
