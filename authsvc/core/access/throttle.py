"""The one gate before every verifier, and the limits on calls by source, by account and in all."""

from __future__ import annotations

import enum
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.config import CodesSettings, LimitsSettings
from authsvc.core.access.caller import Caller
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import UsernameKey
from authsvc.errors import LimitExceeded
from authsvc.store import throttle
from authsvc.store.db import Database, Executor
from authsvc.store.throttle import Allowance, FailureBounds

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
# The shortest wait that is told, for a lock that ended between two statements.
SHORTEST_WAIT = timedelta(milliseconds=100)


_log = structlog.get_logger()


class Factor(enum.StrEnum):
    """Name what is guessed; failures are counted for each account and factor. The values are stored."""

    PASSWORD = "PASSWORD"  # noqa: S105  # the name of a factor
    TOTP = "TOTP"
    SIGN_UP_CODE = "SIGN_UP_CODE"
    RESET_CODE = "RESET_CODE"
    ATTRIBUTE_CODE = "ATTRIBUTE_CODE"
    SMS = "SMS"
    EMAIL = "EMAIL"
    RECOVERY_CODE = "RECOVERY_CODE"
    CUSTOM_CHALLENGE = "CUSTOM_CHALLENGE"


# Factors that are closed after too many failures in a row, until they are reset. Only a right code resets one sent by
# mail, so a stranger could close that for good; five tries a code and five codes an hour bound it. Second factors are
# behind the password.
CLOSABLE = frozenset({Factor.PASSWORD, Factor.TOTP, Factor.SMS, Factor.EMAIL, Factor.RECOVERY_CODE})


class Action(enum.StrEnum):
    """Name what is limited by source and in all. The values are stored."""

    SIGN_UP = "SIGN_UP"
    SIGN_IN = "SIGN_IN"
    RESEND = "RESEND"
    RESET = "RESET"


class Throttle:
    """Spend limits in Postgres, each in one statement that is committed before the work it guards."""

    def __init__(
        self, database: Database, ring: KeyRing, limits: LimitsSettings, codes: CodesSettings, clock: Clock
    ) -> None:
        self._database = database
        self._ring = ring
        self._limits = limits
        self._sends_per_hour = codes.sends_per_hour
        self._sign_in_sends_per_hour = codes.sign_in_sends_per_hour
        self._sends_to_address = codes.sends_to_address_per_hour
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
        # The source first: what is refused to one source must not use up what is there for all.
        if caller.source:
            await self._spend(Allowance(action, f"source:{caller.source}", per_source, window))
        await self._spend(Allowance(action, "*", in_all, window))

    async def spend_send(self, kind: str, username_key: UsernameKey) -> None:
        """Count a code sent to an account, existing or not.

        Raises:
            LimitExceeded: the account had its codes of this hour.
        """
        allowed = self._sign_in_sends_per_hour if kind in (Factor.SMS, Factor.EMAIL) else self._sends_per_hour
        await self._spend(Allowance(f"SEND_{kind}", f"account:{username_key}", allowed, HOUR))

    async def spend_address(self, key: str | None) -> bool:
        """Count a code to an address or phone number not verified yet; False if it had its codes of this hour.

        That is no error: the caller must not learn what others sent there, and is answered as if the mail went out.
        """
        subject = self._ring.digest(Purpose.ADDRESS, key or "").hex()
        allowance = Allowance("SEND_TO", f"address:{subject}", self._sends_to_address, HOUR)
        allowed = await throttle.spend_call(self._database, allowance=allowance, now=self._clock.now())
        if not allowed and key is not None:
            _log.warning("mail_withheld", reason="the address had its codes of this hour")
        return allowed

    async def spend_try(self, factor: Factor, username_key: UsernameKey) -> None:
        """Count a failure in advance; who succeeds has it forgotten by `forget`.

        Raises:
            LimitExceeded: the factor is locked, until `retry_after`; or closed until it is reset, without one.
        """
        limits = self._limits
        close_at = limits.close_at if factor in CLOSABLE else None
        if await throttle.spend_failure(
            self._database,
            username_key=username_key,
            factor=factor,
            now=self._clock.now(),
            bounds=FailureBounds(limits.lock_from, limits.lock_max, close_at),
        ):
            return
        lock = await throttle.find_lock(self._database, username_key=username_key, factor=factor)
        if lock is not None and close_at is not None and lock.count >= close_at:
            raise LimitExceeded(metadata={"closed": "true"})
        wait = lock.locked_until - self._clock.now() if lock is not None else SHORTEST_WAIT
        raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))

    async def forget(self, executor: Executor, username_key: UsernameKey, *factors: Factor) -> None:
        """Forget the failures of factors that were proved or reset, in the transaction that says so.

        That transaction counts nothing afterwards: tries at the account wait for it, with the connections for counting.
        """
        await throttle.reset_failures(executor, username_key=username_key, factors=list(factors))

    async def refund(self, executor: Executor, username_key: UsernameKey, factor: Factor) -> None:
        """Take one try back that proved right and yet proves nothing alone, in the transaction that says so."""
        await throttle.refund_failure(executor, username_key=username_key, factor=factor, now=self._clock.now())

    async def forget_sends(self, executor: Executor, username_key: UsernameKey, *kinds: str) -> None:
        """Forget the codes that were sent to an account, with its name, in the transaction that erases it."""
        actions = [f"SEND_{kind}" for kind in kinds]
        await throttle.delete_windows(executor, actions=actions, subject=f"account:{username_key}")

    async def _spend(self, allowance: Allowance) -> None:
        if not await throttle.spend_call(self._database, allowance=allowance, now=self._clock.now()):
            end = await throttle.find_window_end(self._database, allowance=allowance)
            wait = end - self._clock.now() if end is not None else SHORTEST_WAIT
            raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))
