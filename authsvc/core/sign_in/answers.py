"""Answers to the steps of a sign-in: each is counted and compared first, and used up in a transaction afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import consume
from authsvc.core.access.gate import Gate
from authsvc.core.accounts.new_passwords import NewPasswords
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.factor import Accept, Accepted, Factors
from authsvc.core.factors.kinds import SPECS
from authsvc.core.factors.rules import FactorRules
from authsvc.core.fields import refused
from authsvc.core.sign_in.steps import ANSWERS, MFA_TYPE, NEW_PASSWORD, step_of
from authsvc.domain import FactorKind, Step, User
from authsvc.errors import SessionExpired
from authsvc.store.challenges import Challenge
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class FactorAnswer:
    """Hold what proves a factor, as sent."""

    kind: FactorKind
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        """Return the field that it came in."""
        return SPECS[self.kind].answer


@dataclass(frozen=True, slots=True)
class Choice:
    """Hold which factor is chosen; None: one that is not known."""

    kind: FactorKind | None
    name: str = MFA_TYPE


@dataclass(frozen=True, slots=True)
class NewPasswordAnswer:
    """Hold a first password of the user's own and the attributes that were missing, as sent."""

    password: str = field(repr=False)
    attributes: Mapping[str, str] = field(repr=False)
    name: str = NEW_PASSWORD


Answer: TypeAlias = FactorAnswer | Choice | NewPasswordAnswer


def check_answer(answer: Answer | None) -> Answer:
    """Return an answer that is there; whether it is one to its step is seen later.

    Raises:
        InvalidFields: there is none, or it is empty or too long, or a choice that is not known.
    """
    match answer:
        case None:
            raise refused("answer", "REQUIRED", "must be given, of the kind that the step asks for")
        case Choice(kind=None):
            raise refused(MFA_TYPE, "UNKNOWN", "must be a known kind of second factor")
        case FactorAnswer(text="") | NewPasswordAnswer(password=""):
            raise refused(answer.name, "REQUIRED", "must not be empty")
        case FactorAnswer(kind, text) if (most := SPECS[kind].most_bytes) and len(text.encode()) > most:
            raise refused(answer.name, "LENGTH", f"must have at most {most} bytes")
    return answer


def require_fitting(challenge: Challenge, answer: Answer) -> None:
    """Refuse an answer of a kind that the step does not wait for.

    Raises:
        InvalidFields: it is of another kind; says which the step takes.
    """
    wanted = ANSWERS[step_of(challenge)]
    if answer.name not in wanted:
        named = " or ".join(sorted(wanted))
        raise refused("answer", "KIND", f"must be {named}: that is what the session waits for")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """Verify answers."""

    gate: Gate
    factors: Factors
    rules: FactorRules
    new_passwords: NewPasswords

    async def verify(self, challenge: Challenge, answer: Answer, caller: Caller) -> Accept:
        """Count and compare an answer, outside any transaction; return what uses it up.

        Raises:
            InvalidFields: it can't be right; nothing was counted.
            InvalidPassword: the new password breaks the policy; nothing was counted.
            CodeMismatch: it is wrong; the session can be answered again.
            CodeExpired: another code was sent since.
            SessionExpired: the session is dead.
            HookUnavailable, NotAuthorized: see `Custom.match`; the session has ended.
            LimitExceeded: too many wrong answers for this account.
            Overloaded: too many hashes wait.
        """
        match answer:
            case FactorAnswer(kind, text):
                factor = self.factors.find(kind)
                if factor is None:
                    # A hook that was configured when the step was stored.
                    raise SessionExpired
                return await self.gate.verify_answer(challenge, factor, text, caller=caller)
            case Choice():
                return self._choice(challenge, answer)
            case NewPasswordAnswer():
                return await self._new_password(challenge, answer)

    def _choice(self, challenge: Challenge, choice: Choice) -> Accept:
        is_set_up = challenge.step == Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION

        async def accept(executor: Executor, user: User, now: datetime) -> Accepted:
            standing = await self.rules.find(executor, user)
            if is_set_up:
                standing.require_none_in_use()
            if choice.kind not in (standing.settable if is_set_up else standing.askable):
                raise refused(MFA_TYPE, "CHOICE", "must be one of allowed_mfa_types")
            await consume(executor, challenge, now)
            return Accepted(user, chosen=choice.kind)

        return accept

    async def _new_password(self, challenge: Challenge, answer: NewPasswordAnswer) -> Accept:
        change = await self.new_passwords.verify(challenge, answer.password, answer.attributes)

        async def accept(executor: Executor, user: User, now: datetime) -> Accepted:
            await consume(executor, challenge, now)
            changed = await self.new_passwords.accept(executor, user, change, now=now)
            return Accepted(changed, did=(AuditKind.UPDATE_PASSWORD,))

        return accept
