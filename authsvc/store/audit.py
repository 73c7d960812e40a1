"""The audit trail: events on chains, by months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.store.db import Executor, affected

# As many as the migration makes.
CHAINS = 16
# Held by one janitor of all replicas while it prunes.
PRUNE_LOCK = 4_829_163_507_241_118_033


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one event; the four personal columns are None once they were erased."""

    chain: int
    sequence: int
    created_at: datetime
    kind: str
    result: str
    reason: str
    user_id: UUID | None
    actor: str
    session_id: UUID | None
    request_id: str
    details: dict[str, str]
    username: str | None
    client_ip: str | None
    client_user_agent: str | None
    personal_salt: str | None
    personal_digest: bytes
    key_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Hold where a chain ends, under its lock, and the name of the user whose event comes next."""

    sequence: int
    digest: bytes
    last_at: datetime
    username: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Hold a chain's row, and the last sequence among its events at the same moment."""

    chain: int
    sequence: int
    digest: bytes
    last_at: datetime
    seal: bytes | None
    pruned_sequence: int
    pruned_digest: bytes
    pruned_seal: bytes | None
    last_event: int | None


LOCK_HEAD = """
select c.sequence, c.digest, c.last_at, u.username
  from audit_chains c
  left join users u on u.user_id = $2
 where c.chain = $1
   for update of c
"""


async def lock_head(executor: Executor, *, chain: int, user_id: UUID | None) -> Head:
    """Hold the end of a chain until the transaction ends.

    Raises:
        LookupError: somebody has removed the chain.
    """
    row = await executor.fetchrow(LOCK_HEAD, chain, user_id)
    if row is None:
        raise LookupError(f"audit chain {chain} is gone")
    return Head(**row)


# Runs after the wait for the chain, so it sees a deletion of the user that was waited for.
APPEND = """
with head as (
    update audit_chains
       set sequence = $2, digest = $18, last_at = $3, seal = $19
     where chain = $1
       and sequence = $2 - 1
 returning chain
), personal as (
    select $7::uuid is null or exists (select from users where user_id = $7::uuid) as may_be_kept
)
insert into audit_events (chain, sequence, created_at, kind, result, reason, user_id, actor, session_id, request_id,
                          details, username, client_ip, client_user_agent, personal_salt, personal_digest, key_id,
                          digest)
select $1::smallint, $2::bigint, $3::timestamptz, $4::text, $5::text, $6::text, $7::uuid, $8::text, $9::uuid, $10::text,
       $11::jsonb, case when may_be_kept then $12::text end, case when may_be_kept then $13::text end,
       case when may_be_kept then $14::text end, case when may_be_kept then $15::text end, $16::bytea, $17::text,
       $18::bytea
  from head, personal
"""


async def append(executor: Executor, *, event: Event, seal: bytes) -> bool:
    """Insert an event at the end of its locked chain; without personal data if its user does not exist any more.

    False if the chain has another end: it was not held.
    """
    tag = await executor.execute(
        APPEND,
        event.chain,
        event.sequence,
        event.created_at,
        event.kind,
        event.result,
        event.reason,
        event.user_id,
        event.actor,
        event.session_id,
        event.request_id,
        event.details,
        event.username,
        event.client_ip,
        event.client_user_agent,
        event.personal_salt,
        event.personal_digest,
        event.key_id,
        event.digest,
        seal,
    )
    return affected(tag) == 1


ERASE_OF_USER = """
update audit_events
   set username = null, client_ip = null, client_user_agent = null, personal_salt = null
 where user_id = $1
"""


async def erase_of_user(executor: Executor, *, user_id: UUID) -> int:
    """Erase the personal data of a user's events, in a transaction that holds the user's chain."""
    return affected(await executor.execute(ERASE_OF_USER, user_id))


LIST_OF_USER = """
select chain, sequence, created_at, kind, result, reason, user_id, actor, session_id, request_id, details, username,
       client_ip, client_user_agent, personal_salt, personal_digest, key_id, digest
  from audit_events
 where user_id = $1
   and created_at >= $2
   and sequence < $3
 order by sequence desc
 limit $4
"""


async def list_of_user(executor: Executor, *, user_id: UUID, since: datetime, before: int, limit: int) -> list[Event]:
    """List the events of a user whose sequence is below `before`, latest first."""
    return [Event(**row) for row in await executor.fetch(LIST_OF_USER, user_id, since, before, limit)]


LIST_ALL = """
select chain, sequence, created_at, kind, result, reason, user_id, actor, session_id, request_id, details, username,
       client_ip, client_user_agent, personal_salt, personal_digest, key_id, digest
  from audit_events
 where created_at >= $1
   and created_at <= $2
   and (created_at, chain, sequence) < ($2, $3, $4)
 order by created_at desc, chain desc, sequence desc
 limit $5
"""


async def list_all(
    executor: Executor, *, since: datetime, before: tuple[datetime, int, int], limit: int
) -> list[Event]:
    """List the events of all users that come before `before` in time, chain and sequence, latest first."""
    return [Event(**row) for row in await executor.fetch(LIST_ALL, since, *before, limit)]


LIST_CHAINS = """
select c.chain, c.sequence, c.digest, c.last_at, c.seal, c.pruned_sequence, c.pruned_digest, c.pruned_seal,
       (select max(e.sequence) from audit_events e where e.chain = c.chain) as last_event
  from audit_chains c
 order by c.chain
"""


async def list_chains(executor: Executor) -> list[Chain]:
    """List all chains as they end at this moment."""
    return [Chain(**row) for row in await executor.fetch(LIST_CHAINS)]
