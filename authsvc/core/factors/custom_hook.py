"""The custom challenge of a sign-in: the port to the operator's hook, its rules, and what is kept between rounds.

A hook is not trusted with more than it is asked: whatever it answers against the rules ends the call, and signs nobody
in.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol, Self

import structlog

from authsvc.core.access.caller import Caller
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import User, UserId
from authsvc.errors import HookUnavailable, NotAuthorized

MOST_PARAMETERS = 20
MOST_BYTES = 4096
RETRY_HOOK = timedelta(seconds=1)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parameters:
    """Hold one challenge: what is shown to the user, and what only the hook may know."""

    public: dict[str, str]
    private: dict[str, str]

    def __repr__(self) -> str:
        return f"Parameters({len(self.public)} public, {len(self.private)} private)"


@dataclass(frozen=True, slots=True)
class ChallengeState:
    """Hold the challenge that waits for an answer, and those of the same sign-in that were answered right."""

    answered: tuple[Parameters, ...]
    asked: Parameters

    def to_bytes(self) -> bytes:
        """Write the state down, to be sealed."""
        challenges = [[each.public, each.private] for each in (*self.answered, self.asked)]
        return json.dumps(challenges, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, written: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        *answered, asked = (Parameters(public, private) for public, private in json.loads(written))
        return cls(tuple(answered), asked)


@dataclass(frozen=True, slots=True)
class HookContext:
    """Hold the sign-in that a hook is called about."""

    user_id: UserId
    username: str
    attributes: dict[str, str]
    caller: Caller
    answered: tuple[Parameters, ...]

    @property
    def round(self) -> int:
        """Return the number of the challenge that is due or asked: 1 for the first."""
        return len(self.answered) + 1

    def __repr__(self) -> str:
        return f"HookContext({self.user_id}, round {self.round})"


class HookDecision(enum.StrEnum):
    """Name what a hook decides: the values of the proto enum `ChallengeDecision` without their prefix."""

    CHALLENGE = "CHALLENGE"
    PASSED = "PASSED"
    NOT_NEEDED = "NOT_NEEDED"
    DENIED = "DENIED"


@dataclass(frozen=True, slots=True)
class HookReply:
    """Hold what a hook wants a sign-in to do next; None: a decision that is not known here."""

    decision: HookDecision | None
    parameters: Parameters


class ChallengeHook(Protocol):
    """Ask the operator's hook."""

    async def create(self, context: HookContext) -> HookReply:
        """Ask what the sign-in needs next.

        Raises:
            HookUnavailable: there is no answer, in time or at all.
        """

    async def verify(self, context: HookContext, asked: Parameters, answer: str) -> bool:
        """Ask whether the answer to a challenge is right.

        Raises:
            HookUnavailable: there is no answer, in time or at all.
        """


class Verdict(enum.StrEnum):
    """Name how a custom challenge stands, if it does not ask a further question."""

    NOT_NEEDED = "NOT_NEEDED"
    PASSED = "PASSED"
    WRONG = "WRONG"


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomChallenge:
    """Ask the hook and hold it to the rules. Calls out: never to be used within a transaction."""

    hook: ChallengeHook
    ring: KeyRing
    max_rounds: int

    async def begin(self, user: User, caller: Caller) -> ChallengeState | Literal[Verdict.NOT_NEEDED]:
        """Ask for the first challenge of a sign-in.

        Raises:
            HookUnavailable: the hook is away, slow, or answers what it must not.
            NotAuthorized: the hook denies the sign-in.
        """
        reply = await self._next(_context_of(user, caller, ()))
        return reply if isinstance(reply, ChallengeState) else Verdict.NOT_NEEDED

    async def answer(
        self, user: User, state: ChallengeState, answer: str, *, caller: Caller
    ) -> ChallengeState | Literal[Verdict.PASSED, Verdict.WRONG]:
        """Have an answer verified and, if it is right, ask for the next challenge.

        Raises:
            HookUnavailable: the hook is away, slow, or answers what it must not.
            NotAuthorized: the hook denies the sign-in.
        """
        if not await self.hook.verify(_context_of(user, caller, state.answered), state.asked, answer):
            return Verdict.WRONG
        reply = await self._next(_context_of(user, caller, (*state.answered, state.asked)))
        return reply if isinstance(reply, ChallengeState) else Verdict.PASSED

    def seal(self, state: ChallengeState, digest: bytes) -> bytes:
        """Encrypt a state, bound to the challenge session with this digest."""
        return self.ring.seal(Purpose.CHALLENGE_STATE, state.to_bytes(), bound_to=digest.hex())

    def open(self, sealed: bytes, digest: bytes) -> ChallengeState:
        """Decrypt the state of a challenge session.

        Raises:
            UnsealError: damaged, or moved from another session.
        """
        return ChallengeState.from_bytes(self.ring.open(Purpose.CHALLENGE_STATE, sealed, bound_to=digest.hex()))

    async def _next(self, context: HookContext) -> ChallengeState | None:
        """Return the next challenge; None if the sign-in may go on without one."""
        reply = await self.hook.create(context)
        match reply.decision:
            case HookDecision.CHALLENGE:
                if context.round > self.max_rounds:
                    raise _refusal("a challenge beyond the most rounds")
                if fault := _fault_of(reply.parameters):
                    raise _refusal(fault)
                return ChallengeState(context.answered, reply.parameters)
            case HookDecision.PASSED:
                if not context.answered:
                    raise _refusal("PASSED without a right answer")
                return None
            case HookDecision.NOT_NEEDED:
                if context.answered:
                    raise _refusal("NOT_NEEDED after a challenge")
                return None
            case HookDecision.DENIED:
                raise NotAuthorized
            case _:
                raise _refusal("an unknown decision")


def _context_of(user: User, caller: Caller, answered: tuple[Parameters, ...]) -> HookContext:
    verified = {mark: str(is_verified).lower() for mark, is_verified in user.verified.items()}
    return HookContext(
        user_id=user.user_id,
        username=user.username,
        attributes=user.claims | verified,
        caller=caller,
        answered=answered,
    )


def _fault_of(parameters: Parameters) -> str:
    """Return what is wrong with a challenge; empty if nothing is."""
    entries = [*parameters.public.items(), *parameters.private.items()]
    if len(entries) > MOST_PARAMETERS:
        return "too many parameters"
    if sum(len(text.encode()) for entry in entries for text in entry) > MOST_BYTES:
        return "too large parameters"
    if not all(name for name, _ in entries):
        return "a parameter without a name"
    if any(_CONTROL_CHARACTERS.search(text) for entry in entries for text in entry):
        return "control characters in a parameter"
    return ""


def _refusal(fault: str) -> HookUnavailable:
    # For the operator, whose hook it is; nothing of what the hook said.
    _log.error("challenge_hook_refused", fault=fault)
    return HookUnavailable(retry_after=RETRY_HOOK)
