"""The gate: nothing else verifies a password or spends an answer.

What a guess costs is fixed here: a place in the hash queue comes before the count, the count, committed, before
anything is looked up, and no connection is held while a hash runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import ChallengesSettings
from authsvc.core.access.caller import Caller
from authsvc.core.access.lanes import lane_of_session
from authsvc.core.access.throttle import Guarded, Throttle
from authsvc.core.accounts.password_policy import Password
from authsvc.core.factors.factor import Accept, Factor, StepUpFactor
from authsvc.core.factors.kinds import PASSWORD
from authsvc.core.messages.kinds import AccountLocked
from authsvc.core.messages.notices import Notices
from authsvc.crypto.password_hash import HashPlace, PasswordHasher
from authsvc.domain import Lane, User, UsernameKey
from authsvc.errors import CodeMismatch, Conflict, InvalidPassword, NotAuthorized, SessionExpired, Violation
from authsvc.store import challenges, passwords, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.passwords import Credential
from authsvc.store.sessions import Standing


@dataclass(frozen=True, slots=True)
class VerifiedPassword:
    """Hold what became of a password: whom it was verified for, whether it is right, and when that was seen.

    `credential` is None for a name that nobody has. `rehashed` is its hash by today's settings, if the stored one is
    by others.
    """

    credential: Credential | None
    is_right: bool
    at: datetime
    clock: Clock
    rehashed: str | None = field(default=None, repr=False)

    async def holds(self, executor: Executor, user: User) -> bool:
        """Tell, in a transaction that holds the account's row, whether its hash is still the one that was verified.

        The end of a temporary password is read again: it may have come, or been brought forward, meanwhile. A hash by
        former settings is replaced on this occasion.
        """
        verified = self.credential.hash if self.credential else None
        if verified is None:
            return False
        if not await passwords.has_hash(executor, user_id=user.user_id, hash_=verified, now=self.clock.now()):
            return False
        if self.rehashed is not None:
            await passwords.rehash(executor, user_id=user.user_id, verified=verified, hash_=self.rehashed)
        return True

    async def require_held(self, executor: Executor, user: User) -> None:
        """See the same.

        Raises:
            Conflict: the password was changed meanwhile.
        """
        if not await self.holds(executor, user):
            raise Conflict(retry_after=RETRY_CONFLICT)


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordGuess:
    """Stand for one counted try at a password, with a place in the hash queue."""

    place: HashPlace
    username_key: UsernameKey
    database: Database
    hasher: PasswordHasher
    clock: Clock

    async def verify(
        self, password: Password, *, rehashes: bool = True, of: UsernameKey | None = None
    ) -> VerifiedPassword:
        """Verify a password; a name that nobody has, or that has no password, costs the same hash and is never right.

        Without `rehashes` a hash by former settings is left: a new password follows. `of` is another name than that of
        the try.
        """
        credential = await passwords.find(self.database, username_key=of or self.username_key)
        stored = credential.hash if credential else None
        is_right = await self.place.verify(stored, password.normal, typed=password.typed)
        now = self.clock.now()
        if credential is None or stored is None or not is_right or _has_ended(credential, now):
            return VerifiedPassword(credential, is_right=False, at=now, clock=self.clock)
        is_old = rehashes and self.hasher.needs_rehash(stored)
        rehashed = await self.place.hash(password.normal) if is_old else None
        return VerifiedPassword(credential, is_right=True, at=now, clock=self.clock, rehashed=rehashed)

    async def require(self, password: Password, *, rehashes: bool = True) -> VerifiedPassword:
        """Verify a password that must be right.

        Raises:
            NotAuthorized: it is not.
        """
        verified = await self.verify(password, rehashes=rehashes)
        if not verified.is_right:
            raise NotAuthorized
        return verified

    async def hash(self, password: Password) -> str:
        """Hash a new password in the same place."""
        return await self.place.hash(password.normal)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Count guesses and compare them."""

    database: Database
    throttle: Throttle
    notices: Notices
    hasher: PasswordHasher
    limits: ChallengesSettings
    clock: Clock

    @asynccontextmanager
    async def guess_password(
        self, username_key: UsernameKey, lane: Lane, *, counted_as: UsernameKey | None = None
    ) -> AsyncIterator[PasswordGuess]:
        """Take a place in the hash queue, and count a try at the password of a name.

        It is counted by `counted_as`, what was typed, where that is another name of the account.

        Raises:
            Overloaded: too many hashes wait; nothing was counted.
            LimitExceeded: too many wrong passwords for this account.
        """
        async with self.hasher.place() as place:
            count = await self.throttle.spend_try(PASSWORD.guarded, counted_as or username_key, lane)
            async with self._tells(PASSWORD.guarded, username_key, count=count):
                yield PasswordGuess(
                    place=place, username_key=username_key, database=self.database, hasher=self.hasher, clock=self.clock
                )

    async def hash_unlike_present(self, username_key: UsernameKey, password: Password, violation: Violation) -> str:
        """Hash a new password of an account whose user has just proved the present one.

        Raises:
            InvalidPassword: it is the present one.
            Overloaded: too many hashes wait.
        """
        async with self.hasher.place() as place:
            credential = await passwords.find(self.database, username_key=username_key)
            if credential is not None and await place.verify(credential.hash, password.normal):
                raise InvalidPassword(violations=(violation,))
            return await place.hash(password.normal)

    async def verify_answer(self, challenge: Challenge, factor: Factor, text: str, *, caller: Caller) -> Accept:
        """Count and compare an answer to a challenge session; return what uses it up.

        Raises:
            InvalidFields: it can't be one; nothing was counted.
            CodeMismatch, CodeExpired: see `Factor.match`.
            SessionExpired: the session can't be answered any more.
            LimitExceeded: too many wrong answers for this account.
        """
        answer = factor.parse(challenge, text)
        # The account's lock first: while it holds, the session's few answers are not used up either.
        guarded, name = factor.spec.guarded, challenge.username_key
        count = await self.throttle.spend_try(guarded, name, challenge.lane)
        if not await challenges.spend_answer(
            self.database, digest=challenge.digest, now=self.clock.now(), max_wrong=self.limits.max_wrong
        ):
            raise SessionExpired
        async with self._tells(guarded, name, count=count):
            return await factor.match(challenge, answer, caller)

    async def verify_own(self, standing: Standing, factor: StepUpFactor, answer: str) -> Accept:
        """Count and compare what a signed-in user answers, as `parse_own` returned it; return what uses it up.

        Raises:
            MfaNotEnrolled: there is nothing to prove; nothing was counted.
            CodeMismatch: it is wrong.
            LimitExceeded: too many wrong answers for this account.
        """
        await factor.require_enrolled(standing.user_id)
        lane = lane_of_session(standing.session_id)
        guarded, name = factor.spec.guarded, standing.username_key
        count = await self.throttle.spend_try(guarded, name, lane)
        async with self._tells(guarded, name, count=count):
            return await factor.match_own(standing.user_id, answer, lane)

    @asynccontextmanager
    async def _tells(self, guarded: Guarded, username_key: UsernameKey, *, count: int) -> AsyncIterator[None]:
        """Tell the owner of a wrong try that locks a lane for long, or closes it: each is told once in a row of them.

        A name that nobody has costs the same statements.
        """
        try:
            yield
        except (NotAuthorized, CodeMismatch):
            if self.throttle.is_grave(guarded, count):
                async with self.database.transaction() as transaction:
                    user = await users.find(transaction, username_key=username_key)
                    await self.notices.tell_name(transaction, user, AccountLocked(), now=self.clock.now())
            raise


def _has_ended(credential: Credential, now: datetime) -> bool:
    return credential.expires_at is not None and credential.expires_at <= now
