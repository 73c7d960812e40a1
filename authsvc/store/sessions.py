"""Sessions of signed-in users, and the refresh tokens that are their family."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from authsvc.domain import Session, SessionId, UserId, UsernameKey, UserStatus
from authsvc.store.db import Executor, affected, wrote_one


@dataclass(frozen=True, slots=True)
class Standing:
    """Hold what a bearer token stands for at this moment."""

    session_id: SessionId
    origin_jti: UUID
    amr: list[str]
    auth_time: datetime
    generation: int
    last_used_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    user_id: UserId
    username: str
    username_key: UsernameKey
    disabled_at: datetime | None
    status: UserStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Hold what a finished sign-in makes known: a device, and the network that it came from, if it came from one.

    Of the account's devices and networks no more than so many are kept.
    """

    device: bytes
    is_shown: bool
    device_expires_at: datetime
    source: bytes | None
    source_expires_at: datetime
    most_devices: int
    most_sources: int


@dataclass(frozen=True, slots=True)
class Started:
    """Hold what is told with a new session: the names of the user's groups, and whether anything was known before."""

    groups: list[str]
    was_known: bool


# One statement for what every sign-in ends with. It does not see the session that it inserts, so it leaves one fewer.
# Of devices those go first whose tokens were never shown again: some clients keep none.
INSERT = """
with ended as (
    update sessions
       set revoked_at = $5
     where session_id in (
         select session_id
           from sessions
          where user_id = $2
            and revoked_at is null
            and expires_at > $5
          order by last_used_at desc, session_id
         offset greatest($10::bigint - 1, 0)
     )
       and $10::bigint > 0
), session as (
    insert into sessions (session_id, user_id, origin_jti, amr, auth_time, created_at, last_used_at, expires_at,
                          client_ip, client_user_agent)
    values ($1, $2, $3, $4, $5, $5, $5, $6, $7, $8)
    returning session_id, user_id
), token as (
    insert into refresh_tokens (digest, session_id, created_at)
    select $9, session_id, $5
      from session
), device as (
    insert into known_lanes as k (digest, user_id, kind, is_shown, last_used_at, expires_at)
    select $11, user_id, 'DEVICE', $12, $5, $13
      from session
    on conflict (digest) do update
       set is_shown = k.is_shown or excluded.is_shown,
           last_used_at = excluded.last_used_at,
           expires_at = excluded.expires_at
), source as (
    insert into known_lanes as k (digest, user_id, kind, last_used_at, expires_at)
    select $14::bytea, user_id, 'SOURCE', $5, $15
      from session
     where $14::bytea <> $11
    on conflict (digest) do update
       set kind = excluded.kind,
           last_used_at = excluded.last_used_at,
           expires_at = excluded.expires_at
), forgotten as (
    delete from known_lanes
     where digest in (
         select digest
           from (
               select digest, kind, row_number() over (
                          partition by kind = 'DEVICE' order by is_shown desc, last_used_at desc
                      ) as place
                 from known_lanes
                where user_id = $2
                  and digest is distinct from $11
                  and digest is distinct from $14
           ) ranked
          where place >= case when kind = 'DEVICE' then $16::int else $17::int end
     )
)
select array(
           select g.name
             from group_members m
             join groups g on g.name = m.group_name
            where m.user_id = session.user_id
            order by g.precedence nulls last, g.name
       ) as groups,
       exists (select from known_lanes k where k.user_id = session.user_id) as was_known
  from session
"""


async def insert(
    executor: Executor, *, session: Session, refresh_digest: bytes, visit: Visit, at_most: int = 0
) -> Started:
    """Store a finished sign-in with its first refresh token, and where it came from.

    `groups` are what `groups.list_names` returns. Of the user's sessions those end that were used longest ago, until
    there are `at_most`; 0: there may be any number. In a transaction that holds the user's row, so that sign-ins at
    once come one after the other.
    """
    row = await executor.fetchrow(
        INSERT,
        session.session_id,
        session.user_id,
        session.origin_jti,
        session.amr,
        session.created_at,
        session.expires_at,
        session.client_ip,
        session.client_user_agent,
        refresh_digest,
        at_most,
        visit.device,
        visit.is_shown,
        visit.device_expires_at,
        visit.source,
        visit.source_expires_at,
        visit.most_devices,
        visit.most_sources,
    )
    assert row is not None  # noqa: S101  # the session was inserted
    return Started(**row)


# One index look-up each; asked at every call with a bearer token.
FIND_STANDING = """
select s.session_id, s.origin_jti, s.amr, s.auth_time, s.generation, s.last_used_at, s.expires_at, s.revoked_at,
       u.user_id, u.username, u.username_key, u.disabled_at, u.status
  from sessions s
  join users u on u.user_id = s.user_id
 where s.session_id = $1
"""


async def find_standing(executor: Executor, *, session_id: SessionId) -> Standing | None:
    """Find a session and its account as they stand now."""
    row = await executor.fetchrow(FIND_STANDING, session_id)
    return None if row is None else Standing(**(dict(row) | {"status": UserStatus(row["status"])}))


LIST_LIVE = """
select session_id, user_id, origin_jti, amr, auth_time, created_at, last_used_at, expires_at, revoked_at, client_ip,
       client_user_agent
  from sessions
 where user_id = $1
   and revoked_at is null
   and expires_at > $2
   and ($6::timestamptz is null or last_used_at > $6)
   and ($3::timestamptz is null or (created_at, session_id) < ($3, $4::uuid))
 order by created_at desc, session_id desc
 limit $5
"""


async def list_live(
    executor: Executor,
    *,
    user_id: UserId,
    now: datetime,
    before: tuple[datetime, UUID] | None,
    limit: int,
    used_after: datetime | None = None,
) -> list[Session]:
    """List live sessions that were created before `before`, and used after `used_after`, latest first."""
    rows = await executor.fetch(LIST_LIVE, user_id, now, *(before or (None, None)), limit, used_after)
    return [Session(**row) for row in rows]


REVOKE = """
update sessions
   set revoked_at = $3
 where session_id = $1
   and user_id = $2
   and revoked_at is null
"""


async def revoke(executor: Executor, *, session_id: SessionId, user_id: UserId, now: datetime) -> bool:
    """End one session of an account; False if there was nothing to end."""
    return await wrote_one(executor, REVOKE, session_id, user_id, now)


REVOKE_OF_USER = """
update sessions
   set revoked_at = $2
 where user_id = $1
   and session_id is distinct from $3
   and revoked_at is null
"""


async def revoke_of_user(executor: Executor, *, user_id: UserId, now: datetime, keep: SessionId | None = None) -> int:
    """End all sessions of an account, but for the one to `keep`."""
    return affected(await executor.execute(REVOKE_OF_USER, user_id, now, keep))


TOUCH = "update sessions set last_used_at = $2, client_ip = $3, client_user_agent = $4 where session_id = $1"


async def touch(
    executor: Executor, *, session_id: SessionId, now: datetime, client_ip: str, client_user_agent: str
) -> None:
    """Note that a session was used, and from where."""
    await executor.execute(TOUCH, session_id, now, client_ip, client_user_agent)


RENEW = """
update sessions
   set auth_time = $2, amr = $3, generation = $6, last_used_at = $2, client_ip = $4, client_user_agent = $5
 where session_id = $1
"""


async def renew(
    executor: Executor,
    *,
    session_id: SessionId,
    generation: int,
    amr: list[str],
    now: datetime,
    client_ip: str,
    client_user_agent: str,
) -> None:
    """Note that the session's user was proved again, how, and from where; it does not end later by it."""
    await executor.execute(RENEW, session_id, now, amr, client_ip, client_user_agent, generation)
