"""Which kinds of factor users have enabled, disabled and prefer; where nothing was chosen, the default of a kind holds.

What the default of a kind is, is no business of the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authsvc.domain import FactorKind, FactorState, Medium, UserId
from authsvc.store.db import Executor

# For a statement with accounts as `u`: what `state_of` makes the state of one of.
STATE = """(select count(*)::int from totp_devices d where d.user_id = u.user_id and d.verified_at is not null)
           as authenticators,
       (select p.recovered_by from passwords p where p.user_id = u.user_id) as recovered_by"""
CHOICES = """(select jsonb_object_agg(f.kind, f.enabled) from factor_preferences f where f.user_id = u.user_id)
           as factors,
       (select f.kind from factor_preferences f where f.user_id = u.user_id and f.preferred) as preferred"""


def kind_of(text: str | None) -> FactorKind | None:
    """Return the kind of a stored name; None for one that a later release stored, which this one can't ask for."""
    return FactorKind.__members__.get(text or "")


def choices_of(row: Any) -> dict[FactorKind, bool]:
    """Return what was chosen about each kind, of a row with `CHOICES`."""
    named = ((kind_of(name), enabled) for name, enabled in (row["factors"] or {}).items())
    return {kind: enabled for kind, enabled in named if kind is not None}


def state_of(row: Any) -> FactorState:
    """Return the state of a row with `STATE` and `CHOICES`."""
    choices = choices_of(row)
    recovered_by = row["recovered_by"]
    return FactorState(
        authenticators=row["authenticators"],
        recovered_by=None if recovered_by is None else Medium(recovered_by),
        enabled=frozenset(kind for kind, enabled in choices.items() if enabled),
        disabled=frozenset(kind for kind, enabled in choices.items() if not enabled),
        preferred=kind_of(row["preferred"]),
    )


FIND = f"""
select {STATE},
       {CHOICES}
  from (select $1::uuid as user_id) u
"""  # noqa: S608  # of this file's own lists of columns


async def find(executor: Executor, *, user_id: UserId) -> FactorState:
    """Find what the rules of second factors ask of an account; of one that does not exist, that it has none."""
    return state_of(await executor.fetchrow(FIND, user_id))


# Before another one is: at most one is preferred at any moment.
UNPREFER = """
update factor_preferences
   set preferred = false
 where user_id = $1
   and preferred
   and kind is distinct from $2
"""

PUT = """
insert into factor_preferences (user_id, kind, enabled, preferred)
select $1, r.kind, r.enabled, r.kind is not distinct from $4
  from unnest($2::text[], $3::boolean[]) as r (kind, enabled)
on conflict (user_id, kind) do update
   set enabled = excluded.enabled,
       preferred = excluded.preferred
"""


async def put(
    executor: Executor, *, user_id: UserId, choices: Mapping[FactorKind, bool], preferred: FactorKind | None
) -> None:
    """Store what was chosen about some kinds, of the others what was chosen stays; and which kind is preferred, if any.

    That is one of `choices`, or was preferred before. In a transaction that holds the user's row, as all of these.
    """
    await executor.execute(UNPREFER, user_id, preferred)
    await executor.execute(PUT, user_id, list(choices), list(choices.values()), preferred)


ENABLE = """
insert into factor_preferences (user_id, kind, enabled)
values ($1, $2, true)
on conflict (user_id, kind) do update
   set enabled = true
 where not factor_preferences.enabled
"""


async def enable(executor: Executor, *, user_id: UserId, kind: FactorKind) -> None:
    """Make a kind a second factor, whatever was chosen before."""
    await executor.execute(ENABLE, user_id, kind)


REMOVE = "delete from factor_preferences where user_id = $1 and kind = $2"


async def remove(executor: Executor, *, user_id: UserId, kind: FactorKind) -> None:
    """Forget what was chosen about a kind: what it was about is gone."""
    await executor.execute(REMOVE, user_id, kind)


RESET = "delete from factor_preferences where user_id = $1"


async def reset(executor: Executor, *, user_id: UserId) -> None:
    """Forget what was chosen about all kinds."""
    await executor.execute(RESET, user_id)
