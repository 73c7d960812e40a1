"""The one gate before every verifier, and the limits on calls by source, by account and in all."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import UsernameKey
from authsvc.errors import LimitExceeded
from authsvc.store import throttle
from authsvc.store.db import Database, Executor
from authsvc.store.throttle import Allowance, FailureBounds

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
# The shortest wait that is told, for a lock that ended between two statements.
SHORTEST_WAIT = timedelta(milliseconds=100)
# Stored.
_TRY_AT = "TRY_AT"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Guarded:
    """Name what is guessed; its failures are counted for each account. `key` is stored.

    What is closable is closed after too many failures in a row, until it is reset. Only a right code resets one sent by
    mail, so a stranger could close that for good; five tries a code and five codes an hour bound it. Second factors are
    behind the password.
    """

    key: str
    is_closable: bool


@dataclass(frozen=True, slots=True)
class Sends:
    """Name a kind of code that is sent to accounts, and how many go to one in an hour. `key` is stored."""

    key: str
    per_hour: int


class Action(enum.StrEnum):
    """Name what is limited by source and in all. The values are stored."""

    SIGN_UP = "SIGN_UP"
    SIGN_IN = "SIGN_IN"
    RESEND = "RESEND"
    RESET = "RESET"


class Throttle:
    """Spend limits in Postgres, each in one statement that is committed before the work it guards."""

    def __init__(self, *, database: Database, ring: KeyRing, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._ring = ring
        self._limits = limits = settings.limits
        self._sends_to_address = settings.codes.sends_to_address_per_hour
        self._wrong_at_address = settings.codes.wrong_at_address_per_day
        self._clock = clock
        self._calls = {
            Action.SIGN_UP: (limits.sign_up_per_source, limits.sign_up_global, HOUR),
            Action.SIGN_IN: (limits.sign_in_per_source, limits.sign_in_global, MINUTE),
            Action.RESEND: (limits.resend_per_source, limits.resend_global, HOUR),
            Action.RESET: (limits.reset_per_source, limits.reset_global, HOUR),
        }

    async def spend_call(self, action: Action, caller: Caller) -> None:
        """Count a call against its source and against all calls.

        Raises:
            LimitExceeded: either is used up; `retry_after` is the end of its window.
        """
        per_source, in_all, window = self._calls[action]
        if caller.is_unnamed:
            # It speaks for many, and which of them it does not say.
            per_source *= self._limits.unnamed_client_factor
        # The source first: what is refused to one source must not use up what is there for all.
        if caller.source:
            await self._spend(
                Allowance(action=action, subject=f"source:{caller.source}", allowed=per_source, window=window)
            )
        await self._spend(Allowance(action=action, subject="*", allowed=in_all, window=window))

    async def spend_send(self, sends: Sends, username_key: UsernameKey) -> None:
        """Count a code sent to an account, existing or not.

        Raises:
            LimitExceeded: the account had its codes of this hour.
        """
        await self._spend(
            Allowance(action=f"SEND_{sends.key}", subject=_account(username_key), allowed=sends.per_hour, window=HOUR)
        )

    async def spend_address(self, key: str | None) -> bool:
        """Count a code to an address or phone number not verified yet; False if it had its codes of this hour.

        That is no error: the caller must not learn what others sent there, and is answered as if the mail went out.
        """
        subject = self.address_digest(key or "").hex()
        allowance = Allowance(
            action="SEND_TO", subject=f"address:{subject}", allowed=self._sends_to_address, window=HOUR
        )
        allowed = await throttle.spend_call(self._database, allowance=allowance, now=self._clock.now())
        if not allowed and key is not None:
            _log.warning("mail_withheld", reason="the address had its codes of this hour")
        return allowed

    def address_digest(self, key: str) -> bytes:
        """Return what an address or phone number is counted by."""
        return self._ring.digest(Purpose.ADDRESS, key)

    async def spend_try_at(self, address: bytes) -> bool:
        """Count a try at a code for an address not verified yet; False if it had its wrong ones of this day.

        That is no error: whoever tries must not learn that others did, for other accounts. No code is right from then
        on; who gives the right one before has them forgotten.
        """
        allowance = Allowance(
            action=_TRY_AT, subject=f"address:{address.hex()}", allowed=self._wrong_at_address, window=DAY
        )
        return await throttle.spend_call(self._database, allowance=allowance, now=self._clock.now())

    async def forget_tries_at(self, executor: Executor, address: bytes) -> None:
        """Forget the tries at an address whose code was given, in the transaction that says so; see `forget`."""
        await throttle.delete_windows(executor, actions=[_TRY_AT], subject=f"address:{address.hex()}")

    async def spend_try(self, guarded: Guarded, username_key: UsernameKey) -> None:
        """Count a failure in advance; who succeeds has it forgotten by `forget`.

        Raises:
            LimitExceeded: it is locked, until `retry_after`; or closed until it is reset, without one.
        """
        limits = self._limits
        close_at = limits.close_at if guarded.is_closable else None
        if await throttle.spend_failure(
            self._database,
            username_key=username_key,
            factor=guarded.key,
            now=self._clock.now(),
            bounds=FailureBounds(limits.lock_from, limits.lock_max, close_at),
        ):
            return
        lock = await throttle.find_lock(self._database, username_key=username_key, factor=guarded.key)
        if lock is not None and close_at is not None and lock.count >= close_at:
            raise LimitExceeded(metadata={"closed": "true"})
        wait = lock.locked_until - self._clock.now() if lock is not None else SHORTEST_WAIT
        raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))

    async def forget(self, executor: Executor, username_key: UsernameKey, *guarded: Guarded) -> None:
        """Forget the failures at what was proved or reset, in the transaction that says so.

        That transaction counts nothing afterwards: tries at the account wait for it, with the connections for counting.
        """
        factors = [each.key for each in guarded]
        await throttle.reset_failures(executor, username_key=username_key, factors=factors)

    async def forget_all(self, executor: Executor, username_key: UsernameKey) -> None:
        """Forget all failures at an account, or at a name that somebody else has from now on; see `forget`."""
        await throttle.reset_all_failures(executor, username_key=username_key)

    async def refund(self, executor: Executor, username_key: UsernameKey, guarded: Guarded) -> None:
        """Take one try back that proved right and yet proves nothing alone, in the transaction that says so."""
        await throttle.refund_failure(executor, username_key=username_key, factor=guarded.key, now=self._clock.now())

    async def forget_sends(self, executor: Executor, username_key: UsernameKey, keys: Iterable[str]) -> None:
        """Forget the codes that were sent to an account, with its name, in the transaction that erases it."""
        actions = [f"SEND_{key}" for key in keys]
        await throttle.delete_windows(executor, actions=actions, subject=_account(username_key))

    async def _spend(self, allowance: Allowance) -> None:
        if not await throttle.spend_call(self._database, allowance=allowance, now=self._clock.now()):
            end = await throttle.find_window_end(self._database, allowance=allowance)
            wait = end - self._clock.now() if end is not None else SHORTEST_WAIT
            raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))


def _account(username_key: UsernameKey) -> str:
    return f"account:{username_key}"
