"""What each kind of factor does: asking, comparing, using up. What each kind is stands in `kinds`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import Opening, consume
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import CUSTOM_CHALLENGE, Spec
from authsvc.core.messages.codes import CodeDelivery
from authsvc.domain import DeviceId, FactorKind, Lane, User, UserId, UsernameKey
from authsvc.errors import SessionExpired
from authsvc.store.challenges import Challenge
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """Hold what a user needs to set an authenticator up; shown once."""

    device_id: DeviceId
    shared_secret: str
    setup_uri: str

    def __repr__(self) -> str:
        return f"TotpSetup({self.device_id})"


@dataclass(frozen=True, slots=True)
class Opened:
    """Hold what a factor made for a step: what the session keeps, and what the user is told.

    `is_unasked`: the question is still to be asked for, after the commit.
    """

    device_id: DeviceId | None = None
    code_digest: bytes | None = None
    sealed_state: bytes | None = None
    code_delivery: CodeDelivery | None = None
    totp_setup: TotpSetup | None = None
    public_parameters: Mapping[str, str] = field(default_factory=dict)
    is_unasked: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """Hold what a right answer came to, used up: the account as it is now, what it proved, chose, or leads to.

    `did` is what else it did, for the audit trail. `is_waived`: the operator's hook asked nothing. `opened` is the next
    question of a factor that asks more than one.
    """

    user: User
    proved: FactorKind | None = None
    chosen: FactorKind | None = None
    is_waived: bool = False
    opened: Callable[[Opening], Opened] | None = None
    did: tuple[AuditKind, ...] = ()


# Uses a right answer up, in a transaction that holds the account's row; raises if another call was first.
Accept = Callable[[Executor, User, datetime], Awaitable[Accepted]]


class Factor(ABC):
    """Ask for one kind of factor, and compare its answers; who calls has counted the try (see `access.gate`)."""

    spec: Spec

    async def reserve(  # noqa: B027  # most kinds send nothing
        self, username_key: UsernameKey, lane: Lane, caller: Caller
    ) -> None:
        """Count what its step is about to send.

        Raises:
            LimitExceeded: the account had its codes of this hour in this lane, or from this source.
        """

    async def open(self, executor: Executor, user: User, opening: Opening) -> Opened:
        """Make what its step needs, in the transaction that stores the step."""
        return Opened()

    def require_cooled_down(self, challenge: Challenge) -> None:
        """Refuse a further code too soon after the former one.

        Raises:
            SessionExpired: the step sends no code.
            LimitExceeded: it is too soon, until `retry_after`.
        """
        raise SessionExpired

    async def resend(self, executor: Executor, user: User, challenge: Challenge) -> CodeDelivery:
        """Send another code for its step, in a transaction that holds the account's row.

        Raises:
            SessionExpired: the step sends no code, or has ended.
            LimitExceeded: it is too soon.
        """
        raise SessionExpired

    @abstractmethod
    def parse(self, challenge: Challenge, text: str) -> str:
        """Return an answer as it is compared; nothing is counted yet.

        Raises:
            InvalidFields: it can't be one.
            SessionExpired: there is no question yet.
        """

    @abstractmethod
    async def match(self, challenge: Challenge, answer: str, caller: Caller) -> Accept:
        """Compare an answer, outside any transaction.

        Raises:
            CodeMismatch: it is wrong.
            CodeExpired: another one was sent since.
            SessionExpired: the session can't be answered any more.
        """


class StepUpFactor(Factor):
    """A factor by which a signed-in user can be proved again; so are its answers to steps of sign-ins compared."""

    def parse(self, challenge: Challenge, text: str) -> str:
        """Return an answer as it is compared."""
        return self.parse_own(text)

    async def match(self, challenge: Challenge, answer: str, caller: Caller) -> Accept:
        """Compare an answer as one of a signed-in user; it uses the session up too."""
        accept_own = await self.match_own(challenge.user_id, answer, challenge.lane)

        async def accept(executor: Executor, user: User, now: datetime) -> Accepted:
            accepted = await accept_own(executor, user, now)
            await consume(executor, challenge, now)
            return accepted

        return accept

    @abstractmethod
    def parse_own(self, text: str) -> str:
        """Return an answer as it is compared.

        Raises:
            InvalidFields: it can't be one.
        """

    @abstractmethod
    async def require_enrolled(self, user_id: UserId) -> None:
        """See that there is something to prove; nothing is counted yet.

        Raises:
            MfaNotEnrolled: there is not.
        """

    @abstractmethod
    async def match_own(self, user_id: UserId, answer: str, lane: Lane) -> Accept:
        """Compare an answer of a signed-in user, outside any transaction; the lane is where the try was counted.

        Raises:
            CodeMismatch: it is wrong.
        """


class Factors:
    """Hold what asks for and compares the factors, by kind."""

    def __init__(self, *, factors: Iterable[Factor]) -> None:
        self._by_kind = {factor.spec.kind: factor for factor in factors}

    def find(self, kind: FactorKind | None) -> Factor | None:
        """Return what asks for a kind; None if there is nothing, as without a hook for custom challenges."""
        return None if kind is None else self._by_kind.get(kind)

    @property
    def has_challenge_hook(self) -> bool:
        """Tell whether sign-ins end with a challenge of the operator's own."""
        return CUSTOM_CHALLENGE.kind in self._by_kind

    def step_up(self, kind: FactorKind) -> StepUpFactor | None:
        """Return what proves a signed-in user again by a kind; None if that one can't."""
        factor = self._by_kind.get(kind)
        return factor if isinstance(factor, StepUpFactor) else None
