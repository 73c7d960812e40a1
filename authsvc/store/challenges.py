"""Challenge sessions: steps of a sign-in, and verifications of a new authenticator, that wait for an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from authsvc.domain import STRANGERS, DeviceId, Lane, UserId, UsernameKey
from authsvc.store.db import Executor, find_one, wrote_one


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Hold one challenge session and whom it is about.

    `lane` is where its answers are counted. `code_digest`, `superseded` and `code_sent_at` are there with steps that
    sent a code, `sealed_state` with a custom challenge.
    """

    digest: bytes
    user_id: UserId
    username_key: UsernameKey
    step: str
    proved: list[str]
    lane: Lane = STRANGERS
    totp_device_id: DeviceId | None = None
    code_digest: bytes | None = None
    superseded: list[bytes] = field(default_factory=list)
    code_sent_at: datetime | None = None
    sealed_state: bytes | None = None
    expires_at: datetime


INSERT = """
with gone as (
    delete from challenge_sessions
     where digest in (
         select digest
           from challenge_sessions
          where user_id = $2
          order by created_at desc, digest
         offset $11
     )
)
insert into challenge_sessions (
    digest, user_id, step, proved, totp_device_id, code_digest, code_sent_at, sealed_state, created_at, expires_at, lane
)
values ($1, $2, $3, $4, $5, $6, case when $6::bytea is not null then $8::timestamptz end, $7, $8, $9, $10)
"""


async def insert(executor: Executor, *, challenge: Challenge, now: datetime, kept: int) -> None:
    """Store a new challenge session, beside so many of the account that are kept; a code of it has just been sent."""
    await executor.execute(
        INSERT,
        challenge.digest,
        challenge.user_id,
        challenge.step,
        challenge.proved,
        challenge.totp_device_id,
        challenge.code_digest,
        challenge.sealed_state,
        now,
        challenge.expires_at,
        challenge.lane,
        kept,
    )


FIND_LIVE = """
select c.digest, c.user_id, u.username_key, c.step, c.proved, c.lane, c.totp_device_id, c.code_digest,
       c.superseded, c.code_sent_at, c.sealed_state, c.expires_at
  from challenge_sessions c
  join users u on u.user_id = c.user_id
 where c.digest = any($1::bytea[])
   and c.expires_at > $2
   and c.wrong < $3
"""


async def find_live(executor: Executor, *, digests: list[bytes], now: datetime, max_wrong: int) -> Challenge | None:
    """Find a session that can still be answered."""
    return await find_one(executor, Challenge, FIND_LIVE, digests, now, max_wrong)


SPEND_ANSWER = """
update challenge_sessions
   set wrong = wrong + 1
 where digest = $1
   and expires_at > $2
   and wrong < $3
"""


async def spend_answer(executor: Executor, *, digest: bytes, now: datetime, max_wrong: int) -> bool:
    """Count an answer as wrong in advance; False if the session can't be answered any more."""
    return await wrote_one(executor, SPEND_ANSWER, digest, now, max_wrong)


CONSUME = """
delete from challenge_sessions
 where digest = $1
   and expires_at > $2
   and ($3::bytea[] is null or code_digest = any($3))
"""


async def consume(executor: Executor, *, digest: bytes, now: datetime, code_digests: list[bytes] | None = None) -> bool:
    """Use a session up, and its code with it if the digests of one are given; False if another call was first.

    Another call may also have replaced the code.
    """
    return await wrote_one(executor, CONSUME, digest, now, code_digests)


# Ten replaced codes are remembered, to be answered as expired.
REPLACE_CODE = """
update challenge_sessions
   set code_digest = $2,
       superseded = (code_digest || superseded)[:10],
       code_sent_at = $3
 where digest = $1
   and expires_at > $3
   and code_sent_at <= $4
"""


async def replace_code(
    executor: Executor, *, digest: bytes, code_digest: bytes, now: datetime, sent_before: datetime
) -> bool:
    """Give a session a new code; False if it has ended, or was given one after `sent_before`."""
    return await wrote_one(executor, REPLACE_CODE, digest, code_digest, now, sent_before)


SET_STATE = """
update challenge_sessions
   set sealed_state = $2
 where digest = $1
   and expires_at > $3
   and sealed_state is null
"""


async def set_state(executor: Executor, *, digest: bytes, sealed_state: bytes, now: datetime) -> bool:
    """Give a session that was waiting for it what its custom challenge remembers; False if it has ended."""
    return await wrote_one(executor, SET_STATE, digest, sealed_state, now)


DELETE_OF_USER = "delete from challenge_sessions where user_id = $1"


async def delete_of_user(executor: Executor, *, user_id: UserId) -> None:
    """End all half-done sign-ins and set-ups of an account."""
    await executor.execute(DELETE_OF_USER, user_id)
