"""The one gate before every verifier, and the limits on calls by source, by account and in all."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.config import LimitsSettings, Settings
from authsvc.core.access.caller import Caller
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import STRANGERS, Lane, UsernameKey
from authsvc.errors import LimitExceeded
from authsvc.store import throttle
from authsvc.store.db import Database, Executor
from authsvc.store.throttle import Allowance, Budget, FailureBounds, FailureKey

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
# The shortest wait that is told, for a lock that ended between two statements.
SHORTEST_WAIT = timedelta(milliseconds=100)
# So many times the codes of one source go to an account for the widest network around it.
SENDS_OF_NETWORK = 2
# What a counter can hold.
MOST = 2**31 - 1
# Stored.
_TRY_AT = "TRY_AT"

# The subject of what is there for all.
_ALL = "*"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Guarded:
    """Name what is guessed; its failures are counted for each account and lane. `key` is stored, and has no space.

    What is closable is closed after too many failures in a row, until it is reset. Only a right code resets one sent by
    mail, so a stranger could close that for good; five tries a code and five codes an hour bound it. Second factors are
    behind the password.
    """

    key: str
    is_closable: bool


@dataclass(frozen=True, slots=True)
class Sends:
    """Name a kind of code that is sent to accounts, and how many go to one in an hour. `key` is stored.

    Each known lane, and each source of strangers, has so many; strangers together have `strangers_per_hour`.
    """

    key: str
    per_hour: int
    strangers_per_hour: int


class Action(enum.StrEnum):
    """Name what is limited by source and in all: asking and answering apart. The values are stored, and in metrics."""

    SIGN_UP = "SIGN_UP"
    SIGN_UP_CONFIRM = "SIGN_UP_CONFIRM"
    SIGN_IN = "SIGN_IN"
    SIGN_IN_CONFIRM = "SIGN_IN_CONFIRM"
    RESEND = "RESEND"
    RESET = "RESET"
    RESET_CONFIRM = "RESET_CONFIRM"


class Scope(enum.StrEnum):
    """Name what a limit is on; for metrics."""

    SOURCE = "source"
    NETWORK = "network"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Hold how many calls of an action one source may make in a window, and all together."""

    per_source: int
    in_all: int
    window: timedelta

    @classmethod
    def of(cls, limits: LimitsSettings) -> dict[Action, CallLimits]:
        """Return those of every action."""
        windows = {Action.SIGN_IN: MINUTE, Action.SIGN_IN_CONFIRM: MINUTE}
        return {
            action: cls(
                getattr(limits, f"{action.lower()}_per_source"),
                getattr(limits, f"{action.lower()}_global"),
                windows.get(action, HOUR),
            )
            for action in Action
        }


@dataclass(frozen=True, slots=True)
class Admission:
    """Hold whether a call found room among all; if there was none, when there will be."""

    retry_after: timedelta | None = None

    def require(self, lane: Lane) -> None:
        """Let those pass who are known to the account: above what is there for all, strangers are refused first.

        Raises:
            LimitExceeded: there was no room, and the lane is that of strangers.
        """
        if self.retry_after is not None and lane == STRANGERS:
            raise LimitExceeded(retry_after=self.retry_after)


class Throttle:
    """Spend limits in Postgres, each in one statement that is committed before the work it guards."""

    def __init__(
        self,
        *,
        database: Database,
        ring: KeyRing,
        settings: Settings,
        clock: Clock,
        on_refusal: Callable[[str, str], None],
    ) -> None:
        """Take what counts; `on_refusal` is told the action and the scope of each limit that is met."""
        self._database = database
        self._ring = ring
        self._limits = limits = settings.limits
        self._sends_to_address = settings.codes.sends_to_address_per_hour
        self._wrong_at_address = settings.codes.wrong_at_address_per_day
        self._clock = clock
        self._on_refusal = on_refusal
        self._calls = CallLimits.of(limits)
        # By how many networks there are: one source that is none; IPv4; IPv6.
        self._times = {1: (1,), 2: (1, limits.times_ipv4_24), 3: (1, limits.times_ipv6_56, limits.times_ipv6_48)}

    async def spend_call(self, action: Action, caller: Caller) -> None:
        """Count a call of one who is known to nobody yet against its source, the networks around it, and all calls.

        Raises:
            LimitExceeded: one of them is used up; `retry_after` is the end of its window.
        """
        (await self.admit(action, caller)).require(STRANGERS)

    async def admit(self, action: Action, caller: Caller) -> Admission:
        """Count a call against the same; whether it may pass where all have used theirs up is for its lane to say.

        Raises:
            LimitExceeded: its source, or a network around it, is used up.
        """
        # The narrowest first: what is refused to one source must not use up what is there for others.
        return await self._spend_call(action, (*self._of_source(action, caller), self._of_all(action)))

    async def spend_source(self, action: Action, caller: Caller) -> None:
        """Count a call against its source and the networks around it alone: what it is about may not exist.

        Raises:
            LimitExceeded: one of them is used up.
        """
        if allowances := self._of_source(action, caller):
            await self._spend_call(action, allowances)

    async def spend_all(self, action: Action, lane: Lane) -> None:
        """Count a call against all calls, once it is known to be about something that exists.

        Raises:
            LimitExceeded: these are used up, and the lane is that of strangers.
        """
        (await self._spend_call(action, (self._of_all(action),))).require(lane)

    async def spend_send(self, sends: Sends, username_key: UsernameKey) -> None:
        """Count a code sent to a signed-in user.

        Raises:
            LimitExceeded: the account had its codes of this hour.
        """
        await self._spend_send(sends, Allowance(_account(username_key), sends.per_hour))

    async def spend_send_in(self, lane: Lane, sends: Sends, username_key: UsernameKey, *, caller: Caller) -> None:
        """Count a code sent to an account, existing or not: whoever asks uses up their own.

        Raises:
            LimitExceeded: the lane, or of strangers the source, or all of them, had their codes of this hour.
        """
        account = _account(username_key)
        if lane != STRANGERS:
            await self._spend_send(sends, Allowance(f"{account} {lane}", sends.per_hour))
            return
        networks = caller.networks
        nested = {networks[-1]: sends.per_hour * SENDS_OF_NETWORK, networks[0]: sends.per_hour} if networks else {}
        of_source = [Allowance(f"{account} {network}", allowed) for network, allowed in reversed(nested.items())]
        await self._spend_send(sends, *of_source, Allowance(account, sends.strangers_per_hour))

    async def spend_address(self, key: str | None) -> bool:
        """Count a code to an address or phone number not verified yet; False if it had its codes of this hour.

        That is no error: the caller must not learn what others sent there, and is answered as if the mail went out.
        """
        subject = self.address_digest(key or "").hex()
        budget = Budget("SEND_TO", HOUR, (Allowance(f"address:{subject}", self._sends_to_address),))
        allowed = bool(await throttle.spend_call(self._database, budget=budget, now=self._clock.now()))
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
        budget = Budget(_TRY_AT, DAY, (Allowance(f"address:{address.hex()}", self._wrong_at_address),))
        return bool(await throttle.spend_call(self._database, budget=budget, now=self._clock.now()))

    async def forget_tries_at(self, executor: Executor, address: bytes) -> None:
        """Forget the tries at an address whose code was given, in the transaction that says so; see `forget`."""
        await throttle.delete_windows(executor, actions=[_TRY_AT], subject=f"address:{address.hex()}")

    async def spend_try(self, guarded: Guarded, username_key: UsernameKey, lane: Lane) -> int:
        """Count a failure in advance, and return which in a row it is; who succeeds has it forgotten by `forget`.

        Raises:
            LimitExceeded: it is locked, until `retry_after`; or closed until it is reset, without one.
        """
        limits, key = self._limits, FailureKey(username_key, guarded.key, lane)
        close_at = limits.close_at if guarded.is_closable else None
        bounds = FailureBounds(limits.lock_from, limits.lock_max, close_at)
        count = await throttle.spend_failure(self._database, key=key, now=self._clock.now(), bounds=bounds)
        if count is not None:
            return count
        lock = await throttle.find_lock(self._database, key=key)
        if lock is not None and close_at is not None and lock.count >= close_at:
            raise LimitExceeded(metadata={"closed": "true"})
        wait = lock.locked_until - self._clock.now() if lock is not None else SHORTEST_WAIT
        raise LimitExceeded(retry_after=max(wait, SHORTEST_WAIT))

    def is_grave(self, guarded: Guarded, count: int) -> bool:
        """Tell whether so many failures in a row are the first that lock for the longest time, or those that close."""
        doublings = math.ceil(math.log2(self._limits.lock_max.total_seconds()))
        return count == self._limits.lock_from + doublings or (guarded.is_closable and count == self._limits.close_at)

    async def forget(self, executor: Executor, guarded: Guarded, username_key: UsernameKey, *, lane: Lane) -> None:
        """Forget the failures of one lane at what was proved there, in the transaction that says so.

        That transaction counts nothing afterwards: tries at the account wait for it, with the connections for counting.
        """
        await throttle.reset_failures(executor, key=FailureKey(username_key, guarded.key, lane))

    async def open(self, executor: Executor, username_keys: Iterable[UsernameKey], *guarded: Guarded) -> None:
        """Forget the failures of all lanes at what is new, or was reset: nothing was guessed at it; see `forget`.

        `username_keys` are all the names by which the account's are counted.
        """
        factors = [each.key for each in guarded]
        await throttle.reset_factors(executor, username_keys=list(username_keys), factors=factors)

    async def forget_all(self, executor: Executor, username_key: UsernameKey) -> None:
        """Forget all failures at an account, or at a name that somebody else has from now on; see `forget`."""
        await throttle.reset_all_failures(executor, username_key=username_key)

    async def refund(self, executor: Executor, guarded: Guarded, username_key: UsernameKey, *, lane: Lane) -> None:
        """Take one try back that proved right and yet proves nothing alone, in the transaction that says so."""
        key = FailureKey(username_key, guarded.key, lane)
        await throttle.refund_failure(executor, key=key, now=self._clock.now())

    async def forget_sends(self, executor: Executor, username_key: UsernameKey, keys: Iterable[str]) -> None:
        """Forget the codes that were sent to an account, with its name, in the transaction that erases it."""
        actions = [f"SEND_{key}" for key in keys]
        await throttle.delete_windows(executor, actions=actions, subject=_account(username_key))

    def _of_source(self, action: Action, caller: Caller) -> tuple[Allowance, ...]:
        networks = caller.networks
        # A caller that names no client speaks for many, and which of them it does not say.
        factor = self._limits.unnamed_client_factor if caller.is_unnamed else 1
        per_source = min(self._calls[action].per_source * factor, MOST)
        return tuple(
            Allowance(f"source:{network}", min(per_source * times, MOST))
            for network, times in zip(networks, self._times.get(len(networks), ()), strict=True)
        )

    def _of_all(self, action: Action) -> Allowance:
        return Allowance(_ALL, self._calls[action].in_all)

    async def _spend_call(self, action: Action, allowances: tuple[Allowance, ...]) -> Admission:
        full = await self._spend(Budget(action, self._calls[action].window, allowances))
        if full is None:
            return Admission()
        allowance, wait = full
        is_all = allowance.subject == _ALL
        scope = Scope.ALL if is_all else Scope.SOURCE if allowance is allowances[0] else Scope.NETWORK
        self._on_refusal(action, scope)
        if not is_all:
            raise LimitExceeded(retry_after=wait)
        return Admission(wait)

    async def _spend_send(self, sends: Sends, *allowances: Allowance) -> None:
        full = await self._spend(Budget(f"SEND_{sends.key}", HOUR, allowances))
        if full is not None:
            raise LimitExceeded(retry_after=full[1])

    async def _spend(self, budget: Budget) -> tuple[Allowance, timedelta] | None:
        """Count against each allowance in turn; return the first that is used up, and how long that lasts."""
        counted = await throttle.spend_call(self._database, budget=budget, now=self._clock.now())
        if counted == len(budget.allowances):
            return None
        full = budget.allowances[counted]
        end = await throttle.find_window_end(self._database, action=budget.action, subject=full.subject)
        wait = end - self._clock.now() if end is not None else SHORTEST_WAIT
        return full, max(wait, SHORTEST_WAIT)


def _account(username_key: UsernameKey) -> str:
    return f"account:{username_key}"
