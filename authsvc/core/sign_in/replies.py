"""Replies that were lost on their way: whoever sends the very same answer again is told the same, for half a minute."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID
from weakref import WeakValueDictionary

from pydantic import TypeAdapter

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.core.fields import refused
from authsvc.core.sessions.bearers import end_of
from authsvc.core.sessions.sessions import Grant, Sessions, Tokens
from authsvc.core.sign_in.answers import Answer, Choice, NewPasswordAnswer
from authsvc.core.sign_in.outcomes import Advance, SignInOutcome
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import SessionId, User
from authsvc.store import sessions, sign_in_replies, users
from authsvc.store.db import Database, Executor
from authsvc.store.sign_in_replies import Reply

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{16,64}")


@dataclass(frozen=True, slots=True)
class Retry:
    """Name one call by all that it says and whoever makes it: its digests, under every key, the one to store first."""

    digests: tuple[bytes, ...]


def check_request_id(text: str) -> str:
    """Return a request id that is none, or can be one.

    Raises:
        InvalidFields: it can't.
    """
    if text and not _REQUEST_ID.fullmatch(text):
        raise refused("request_id", "REQUEST_ID", "must have 16 to 64 of A-Z a-z 0-9 . _ -")
    return text


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _KeptGrant:
    """Hold what tokens are made of once more, beside the session as it stands then."""

    session_id: SessionId
    access_jti: UUID
    identity_jti: UUID
    issued_at: datetime
    groups: list[str]
    refresh_token: str


@dataclass(frozen=True, slots=True, repr=False)
class _Kept:
    """Hold a reply as it is sealed."""

    outcome: SignInOutcome
    grant: _KeptGrant | None


_KEPT = TypeAdapter(_Kept)


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Keep replies and tell them again.

    A reply is stored by the transaction that uses the answer up: there is one for each answer, and no second session.
    It is told to nobody else: not for another answer, under another request id, or to another caller.
    """

    database: Database
    ring: KeyRing
    sessions: Sessions
    settings: Settings
    clock: Clock
    _locks: WeakValueDictionary[bytes, asyncio.Lock] = field(default_factory=WeakValueDictionary, init=False)

    def retry_of(self, session: str, answer: Answer, caller: Caller, *, request_id: str) -> Retry:
        """Return the name of a call."""
        parts = (session, request_id, caller.source, caller.ip, caller.user_agent, answer.name, *_said(answer))
        return Retry(tuple(self.ring.digests(Purpose.SIGN_IN_RETRY, *parts)))

    @asynccontextmanager
    async def one_at_a_time(self, retry: Retry) -> AsyncIterator[None]:
        """Hold the same call back while it is answered here: else its copies use up the tries of its own session."""
        lock = self._locks.setdefault(retry.digests[0], asyncio.Lock())
        async with lock:
            yield

    async def keep(self, executor: Executor, retry: Retry, advance: Advance, *, now: datetime) -> None:
        """Store the reply to a call, in the transaction that uses its answer up.

        What the operator's hook is asked for afterwards is not known yet: there is no reply to be told again.
        """
        if advance.unasked is not None:
            return
        digest = retry.digests[0]
        new = advance.new
        grant = None
        if new is not None:
            grant = _KeptGrant(
                session_id=new.session.session_id,
                access_jti=new.access_jti,
                identity_jti=new.identity_jti,
                issued_at=new.issued_at,
                groups=new.groups,
                refresh_token=new.refresh_token,
            )
        written = _KEPT.dump_json(_Kept(advance.outcome, grant))
        sealed = self.ring.seal(Purpose.SIGN_IN_REPLY, written, bound_to=digest.hex())
        reply = Reply(digest, advance.user.user_id, sealed)
        await sign_in_replies.insert(executor, reply=reply, expires_at=now + self.settings.challenges.reply_grace)

    async def find(self, retry: Retry) -> SignInOutcome | None:
        """Return what a call was told; None if it was not, or if that does not hold any more."""
        now = self.clock.now()
        reply = await sign_in_replies.find(self.database, digests=list(retry.digests), now=now)
        if reply is None:
            return None
        opened = self.ring.open(Purpose.SIGN_IN_REPLY, reply.sealed_reply, bound_to=reply.digest.hex())
        kept = _KEPT.validate_json(opened)
        user = await users.find_by_id(self.database, user_id=reply.user_id)
        if user is None or user.disabled_at is not None:
            return None
        if kept.grant is None:
            return kept.outcome
        tokens = await self._tokens(user, kept.grant, now)
        return replace(kept.outcome, tokens=tokens) if tokens is not None else None

    async def _tokens(self, user: User, kept: _KeptGrant, now: datetime) -> Tokens | None:
        """Sign the tokens of a finished sign-in once more, if its session still stands as it did."""
        standing = await sessions.find_standing(self.database, session_id=kept.session_id)
        if standing is None or standing.revoked_at is not None or standing.generation:
            return None
        if end_of(standing, self.sessions.settings) <= now:
            return None
        grant = Grant(
            session=standing,
            access_jti=kept.access_jti,
            identity_jti=kept.identity_jti,
            issued_at=kept.issued_at,
            groups=kept.groups,
            refresh_token=kept.refresh_token,
        )
        return await self.sessions.tokens_of(user, grant)


def _said(answer: Answer) -> tuple[str, ...]:
    match answer:
        case Choice(kind):
            return (str(kind),)
        case NewPasswordAnswer(password, attributes):
            return (password, *(part for name in sorted(attributes) for part in (name, attributes[name])))
        case _:
            return (answer.text,)
