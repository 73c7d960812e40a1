"""The audit trail: what is recorded, with and in which transaction."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from authsvc.core.access.caller import Caller
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.crypto.sealing import KeyRing
from authsvc.domain import Event, SessionId, UserId
from authsvc.errors import CodeMismatch, DatabaseUnavailable, DomainError, LimitExceeded
from authsvc.store import audit as store
from authsvc.store.db import Database
from tests.clock import FakeClock
from tests.store.rows import insert_user

CALLER = Caller(source="192.0.2.7", ip="192.0.2.7", user_agent="a browser", request_id="request-1")


@pytest.fixture
def audit(database: Database, ring: KeyRing, clock: FakeClock) -> Audit:
    """Open the audit trail of this test's database."""
    return Audit(database=database, ring=ring, clock=clock)


@pytest.fixture
async def user_id(database: Database, clock: FakeClock) -> UUID:
    """Make an account."""
    return await insert_user(database, now=clock.now())


async def events_of(database: Database, user_id: UUID | None) -> list[Event]:
    """Return the events of a user, or nobody's, latest first."""
    columns = ", ".join(Event.__slots__)
    rows = await database.fetch(
        f"select {columns} from audit_events where user_id is not distinct from $1 order by sequence desc",  # noqa: S608  # names of columns
        user_id,
    )
    return [Event(**row) for row in rows]


async def test_event_says_who_did_what_from_where(
    audit: Audit, database: Database, clock: FakeClock, user_id: UUID
) -> None:
    """An event holds kind, result, user and name, actor, session, request id, address, agent, time and details."""
    session_id = uuid4()
    event = AuditEvent(
        AuditKind.SIGN_IN, CALLER, UserId(user_id), session_id=SessionId(session_id), details={"amr": "pwd otp"}
    )
    await audit.record(database, event)
    (kept,) = await events_of(database, user_id)
    assert (kept.kind, kept.result, kept.reason, kept.actor) == ("SIGN_IN", "SUCCESS", "", "user")
    assert (kept.username, kept.client_ip, kept.client_user_agent) == ("Ada", "192.0.2.7", "a browser")
    assert (kept.session_id, kept.request_id, kept.created_at) == (session_id, "request-1", clock.now())
    assert kept.details == {"amr": "pwd otp"}


async def test_event_goes_with_what_it_tells_of(audit: Audit, database: Database, user_id: UUID) -> None:
    """A transaction that is rolled back leaves no event, and the next event takes its place on the chain."""

    async def fail() -> None:
        async with database.transaction() as transaction:
            await audit.record(transaction, AuditEvent(AuditKind.SIGN_OUT, CALLER, UserId(user_id)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await events_of(database, user_id) == []
    await audit.record(database, AuditEvent(AuditKind.SIGN_IN, CALLER, UserId(user_id)))
    assert [event.sequence for event in await events_of(database, user_id)] == [1]


async def test_refusal_is_recorded_with_what_the_flow_learned(audit: Audit, database: Database, user_id: UUID) -> None:
    """A refusal inside the flow is recorded with its reason, and goes on to the caller."""

    async def flow() -> None:
        async with audit.failures(AuditKind.SIGN_IN, CALLER) as tried:
            tried.user_id = UserId(user_id)
            tried.details["factor"] = "TOTP"
            raise CodeMismatch

    with pytest.raises(CodeMismatch):
        await flow()
    (kept,) = await events_of(database, user_id)
    assert (kept.kind, kept.result, kept.reason) == ("SIGN_IN", "FAILURE", "CODE_MISMATCH")
    assert kept.details == {"factor": "TOTP"}


@pytest.mark.parametrize("error", [LimitExceeded, ZeroDivisionError])
async def test_what_was_not_evaluated_is_not_recorded(audit: Audit, database: Database, error: type[Exception]) -> None:
    """Tries beyond a limit, and faults, leave no event."""
    with pytest.raises(error):
        async with audit.failures(AuditKind.SIGN_IN, CALLER):
            raise error
    assert await events_of(database, None) == []


async def test_unseen_try_is_no_try(audit: Audit, database: Database) -> None:
    """A refusal that can't be recorded fails for that reason: it is not told."""
    await database.execute("alter table audit_events rename to elsewhere")
    with pytest.raises(DomainError) as raised:
        async with audit.failures(AuditKind.SIGN_IN, CALLER):
            raise CodeMismatch
    assert raised.type is DatabaseUnavailable


async def test_deletion_takes_all_personal_data_along(audit: Audit, database: Database, user_id: UUID) -> None:
    """After a recorded deletion no event of the user has a name, an address or an agent; what happened stays."""
    await audit.record(database, AuditEvent(AuditKind.SIGN_IN, CALLER, UserId(user_id)))
    async with database.transaction() as transaction:
        await transaction.execute("delete from users where user_id = $1", user_id)
        await audit.record(transaction, AuditEvent(AuditKind.DELETE_USER, CALLER, UserId(user_id)))
    with pytest.raises(CodeMismatch):
        async with audit.failures(AuditKind.SIGN_IN, CALLER, user_id=UserId(user_id)):
            raise CodeMismatch
    kept = await events_of(database, user_id)
    assert [event.kind for event in kept] == ["SIGN_IN", "DELETE_USER", "SIGN_IN"]
    for event in kept:
        personal = (event.username, event.client_ip, event.client_user_agent, event.personal_salt)
        assert personal == (None, None, None, None)


async def test_order_on_a_chain_is_that_of_time(
    audit: Audit, database: Database, clock: FakeClock, user_id: UUID
) -> None:
    """An event of a replica whose clock is behind is not older than the one before it."""
    await audit.record(database, AuditEvent(AuditKind.SIGN_IN, CALLER, UserId(user_id)))
    first = clock.now()
    clock.advance(timedelta(hours=-1))
    await audit.record(database, AuditEvent(AuditKind.SIGN_OUT, CALLER, UserId(user_id)))
    assert [event.created_at for event in await events_of(database, user_id)] == [first, first]


async def test_chains_end_where_their_events_end(audit: Audit, database: Database, user_id: UUID) -> None:
    """A chain's row has sequence, digest and time of its last event."""
    for kind in (AuditKind.SIGN_IN, AuditKind.SIGN_OUT):
        await audit.record(database, AuditEvent(kind, CALLER, UserId(user_id)))
    last, _ = await events_of(database, user_id)
    chain = await store.find_chain(database, chain=last.chain)
    assert chain is not None
    assert (chain.sequence, chain.digest, chain.last_at) == (2, last.digest, last.created_at)
