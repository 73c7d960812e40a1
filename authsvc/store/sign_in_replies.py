"""Replies to answers in sign-ins, sealed, for as long as they may be asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.domain import UserId
from authsvc.store.db import Executor, find_one


@dataclass(frozen=True, slots=True)
class Reply:
    """Hold one reply; `digest` names the call that it is to."""

    digest: bytes
    user_id: UserId
    sealed_reply: bytes


INSERT = """
insert into sign_in_replies (digest, user_id, sealed_reply, expires_at)
values ($1, $2, $3, $4)
"""


async def insert(executor: Executor, *, reply: Reply, expires_at: datetime) -> None:
    """Store a reply, in the transaction that uses the answer up: there is one for each."""
    await executor.execute(INSERT, reply.digest, reply.user_id, reply.sealed_reply, expires_at)


FIND = """
select digest, user_id, sealed_reply
  from sign_in_replies
 where digest = any($1::bytea[])
   and expires_at > $2
"""


async def find(executor: Executor, *, digests: list[bytes], now: datetime) -> Reply | None:
    """Find the reply to a call that was sent before, by its digests."""
    return await find_one(executor, Reply, FIND, digests, now)
