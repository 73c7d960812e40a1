"""The audit trail: events on chains, by months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from authsvc.domain import Event, UserId
from authsvc.store.db import Executor, affected, find_one, values_of, wrote_one

# As many as the migration makes.
CHAINS = 16
# Before the first event of any chain.
BEGIN = (0, datetime(1970, 1, 1, tzinfo=UTC))
# Held by one janitor of all replicas while it prunes.
PRUNE_LOCK = 4_829_163_507_241_118_033


@dataclass(frozen=True, slots=True)
class WalkedEvent(Event):
    """Hold one event, and whether its user exists at that moment."""

    user_exists: bool


@dataclass(frozen=True, slots=True)
class Head:
    """Hold where a chain ends, under its lock, and the name of the user whose event comes next."""

    sequence: int
    digest: bytes
    last_at: datetime
    seal: bytes | None
    username: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Hold a chain's row, and the last sequence among its events at the same moment, None for none."""

    chain: int
    sequence: int
    digest: bytes
    last_at: datetime
    seal: bytes | None
    pruned_sequence: int
    pruned_digest: bytes
    pruned_seal: bytes | None
    last_event: int | None


_COLUMNS = """e.chain, e.sequence, e.created_at, e.kind, e.result, e.reason, e.user_id, e.actor, e.session_id,
       e.request_id, e.details, e.username, e.client_ip, e.client_user_agent, e.personal_salt, e.personal_digest,
       e.key_id, e.digest"""
_SELECT = f"""
select {_COLUMNS}
  from audit_events e
"""  # noqa: S608  # of this file's own list of columns

LOCK_HEAD = """
select c.sequence, c.digest, c.last_at, c.seal, u.username
  from audit_chains c
  left join users u on u.user_id = $2
 where c.chain = $1
   for update of c
"""


async def lock_head(executor: Executor, *, chain: int, user_id: UserId | None) -> Head:
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
    return await wrote_one(executor, APPEND, *values_of(event), seal)


ERASE_OF_USER = """
update audit_events
   set username = null, client_ip = null, client_user_agent = null, personal_salt = null
 where user_id = $1
"""


async def erase_of_user(executor: Executor, *, user_id: UserId) -> int:
    """Erase the personal data of a user's events, in a transaction that holds the user's chain."""
    return affected(await executor.execute(ERASE_OF_USER, user_id))


LIST_OF_USER = f"""{_SELECT} where e.user_id = $1
   and e.created_at >= $2
   and e.sequence < $3
 order by e.sequence desc
 limit $4
"""


async def list_of_user(executor: Executor, *, user_id: UserId, since: datetime, before: int, limit: int) -> list[Event]:
    """List the events of a user whose sequence is below `before`, latest first."""
    return [Event(**row) for row in await executor.fetch(LIST_OF_USER, user_id, since, before, limit)]


LIST_ALL = f"""{_SELECT} where e.created_at >= $1
   and e.created_at <= $2
   and (e.created_at, e.chain, e.sequence) < ($2, $3, $4)
 order by e.created_at desc, e.chain desc, e.sequence desc
 limit $5
"""


async def list_all(
    executor: Executor, *, since: datetime, before: tuple[datetime, int, int], limit: int
) -> list[Event]:
    """List the events of all users that come before `before` in time, chain and sequence, latest first."""
    return [Event(**row) for row in await executor.fetch(LIST_ALL, since, *before, limit)]


FIND_CHAIN = """
select c.chain, c.sequence, c.digest, c.last_at, c.seal, c.pruned_sequence, c.pruned_digest, c.pruned_seal,
       (select max(e.sequence) from audit_events e where e.chain = c.chain) as last_event
  from audit_chains c
 where c.chain = $1
"""


async def find_chain(executor: Executor, *, chain: int) -> Chain | None:
    """Find a chain as it ends at this moment."""
    return await find_one(executor, Chain, FIND_CHAIN, chain)


WALK = f"""
select {_COLUMNS},
       u.user_id is not null as user_exists
  from audit_events e
  left join users u on u.user_id = e.user_id
 where e.chain = $1
   and (e.sequence, e.created_at) > ($2, $3)
   and e.sequence <= $4
 order by e.sequence, e.created_at
 limit $5
"""  # noqa: S608  # of this file's own list of columns


async def walk(
    executor: Executor, *, chain: int, after: tuple[int, datetime], until: int, limit: int
) -> list[WalkedEvent]:
    """List events of a chain in order, those with the sequence `until` included."""
    return [WalkedEvent(**row) for row in await executor.fetch(WALK, chain, *after, until, limit)]


MAKE_MONTH = "select audit_make_month($1)"


async def make_month(executor: Executor, *, moment: datetime) -> bool:
    """Make the partition of a moment's month; False if it is there."""
    return bool(await executor.fetchval(MAKE_MONTH, moment))


FIND_OLDEST = "select min(created_at) from audit_events"


async def find_oldest(executor: Executor) -> datetime | None:
    """Find the time of the oldest event."""
    oldest: datetime | None = await executor.fetchval(FIND_OLDEST)
    return oldest


TRY_PRUNE_LOCK = "select pg_try_advisory_xact_lock($1)"


async def try_prune_lock(executor: Executor) -> bool:
    """Become the only one who prunes until the transaction ends; False if somebody is."""
    return bool(await executor.fetchval(TRY_PRUNE_LOCK, PRUNE_LOCK))


LOCK_CHAINS = "select chain from audit_chains order by chain for update"

# A statement of its own: it sees what the wait for the locks was for.
LIST_CHAINS = """
select c.chain, c.sequence, c.digest, c.last_at, c.seal, c.pruned_sequence, c.pruned_digest, c.pruned_seal,
       (select max(e.sequence) from audit_events e where e.chain = c.chain and e.created_at < $1) as last_event
  from audit_chains c
 order by c.chain
"""


async def lock_chains(executor: Executor, *, before: datetime) -> list[Chain]:
    """Hold all chains until the transaction ends; `last_event` is the last of before a time."""
    await executor.execute(LOCK_CHAINS)
    return [Chain(**row) for row in await executor.fetch(LIST_CHAINS, before)]


FIND_EVENTS = f"""{_SELECT} where e.chain = $1
   and e.sequence between $2 and $3
 order by e.sequence, e.created_at
"""


async def find_events(executor: Executor, *, chain: int, first: int, last: int) -> list[Event]:
    """List the events of a stretch of a chain in order."""
    return [Event(**row) for row in await executor.fetch(FIND_EVENTS, chain, first, last)]


NOTE_PRUNED = "update audit_chains set pruned_sequence = $2, pruned_digest = $3, pruned_seal = $4 where chain = $1"


async def note_pruned(executor: Executor, *, chain: int, sequence: int, digest: bytes, seal: bytes) -> None:
    """Note the last event of a locked chain that is removed for its age."""
    await executor.execute(NOTE_PRUNED, chain, sequence, digest, seal)


REPLACE_SEALS = """
update audit_chains
   set seal = $4, pruned_seal = $5
 where chain = $1
   and seal is not distinct from $2
   and pruned_seal is not distinct from $3
   and (seal, pruned_seal) is distinct from ($4, $5)
"""


async def replace_seals(executor: Executor, *, chain: Chain, seal: bytes | None, pruned_seal: bytes | None) -> bool:
    """Replace the seals of a chain's row; False if they are these, or were replaced by another call."""
    return await wrote_one(executor, REPLACE_SEALS, chain.chain, chain.seal, chain.pruned_seal, seal, pruned_seal)


DROP_BEFORE = "select audit_drop_before($1)"


async def drop_before(executor: Executor, *, month: datetime) -> int:
    """Remove all events of before a month, in a transaction that holds all chains; return how many months went."""
    return int(await executor.fetchval(DROP_BEFORE, month))
