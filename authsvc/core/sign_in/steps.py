"""The steps of a sign-in: what answers each, and the table that chooses among them. No state, clock or database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from authsvc.config import MfaMode
from authsvc.core.factors.kinds import ENROLLABLE, SECOND, SPECS, STAND_INS, TRAILING, Spec
from authsvc.core.factors.proved import Proved
from authsvc.domain import FactorKind, Step, UserStatus
from authsvc.store.challenges import Challenge

# The answers that are no factor's: fields of `ConfirmSignInRequest.answer`.
MFA_TYPE = "mfa_type"
NEW_PASSWORD = "new_password"  # noqa: S105  # the name of a field

_SELECTIONS = (Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION, Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION)


def _answers_to(step: Step) -> frozenset[str]:
    if step is Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD:
        return frozenset({NEW_PASSWORD})
    answers = {spec.answer for spec in SPECS.values() if step in (spec.asked, spec.set_up)}
    asked = {spec.asked for spec in SECOND if spec.asked}
    if step in _SELECTIONS:
        answers.add(MFA_TYPE)
    if step in asked or step is Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION:
        answers.update(spec.answer for spec in STAND_INS)
    return frozenset(answers)


# What each step can be answered with; the steps that another RPC answers have no challenge session.
ANSWERS: dict[Step, frozenset[str]] = {step: _answers_to(step) for step in Step}
ANSWERED_ELSEWHERE = frozenset(step for step, answers in ANSWERS.items() if not answers)
# Steps in which the user first has to set something up: their sessions live longer.
SETUP_STEPS = frozenset(
    {
        Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION,
        *(spec.set_up for spec in ENROLLABLE if spec.set_up and spec.set_up is not spec.asked),
    }
)


def step_of(challenge: Challenge) -> Step:
    """Return the step that the challenge session of a sign-in waits at."""
    return Step(challenge.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Hold everything that the next step depends on, as it is now.

    `askable` are the second factors that count beside the password, `settable` those that this sign-in can set up (see
    `core.factors.rules`), `has_enrolled` whether there are any, counting or not. `chosen` is the answer to a selection
    step, `preferred` the user's standing choice. `proved` is what was proved in this sign-in.
    """

    status: UserStatus
    mfa: MfaMode
    askable: frozenset[FactorKind]
    settable: frozenset[FactorKind]
    has_enrolled: bool
    preferred: FactorKind | None
    chosen: FactorKind | None
    proved: Proved
    has_challenge_hook: bool

    @property
    def needs_second_factor(self) -> bool:
        """Tell whether a second factor is yet to be proved, or set up."""
        is_asked = bool(self.askable) or self.has_enrolled or self.mfa is MfaMode.REQUIRED
        return self.mfa is not MfaMode.OFF and is_asked and not self.proved.has_second_factor

    def asks_for(self, kind: FactorKind) -> bool:
        """Tell whether this second factor, which is enrolled, is asked for now."""
        return self.needs_second_factor and self._choice(self.askable, self.preferred) is kind

    def sets_up(self, kind: FactorKind) -> bool:
        """Tell whether this second factor is set up now."""
        return self._lacks_factor and self._choice(self.settable, None) is kind

    @property
    def selects(self) -> bool:
        """Tell whether the user has to choose among enrolled factors."""
        return self.needs_second_factor and len(self.askable) > 1 and not self._choice(self.askable, self.preferred)

    @property
    def selects_set_up(self) -> bool:
        """Tell whether the user has to choose what to set up."""
        return self._lacks_factor and len(self.settable) > 1 and not self._choice(self.settable, None)

    @property
    def lacks_distinct_factor(self) -> bool:
        """Tell whether all that is enrolled is the medium over which the password was recovered."""
        return self.needs_second_factor and not self.askable and self.has_enrolled

    @property
    def is_challenged(self) -> bool:
        """Tell whether the operator's hook is asked now: last of all, and once."""
        return not self.needs_second_factor and self.has_challenge_hook and not self.proved.has_passed_hook

    @property
    def _lacks_factor(self) -> bool:
        return self.needs_second_factor and not self.askable and not self.has_enrolled

    def _choice(self, kinds: frozenset[FactorKind], preferred: FactorKind | None) -> FactorKind | None:
        wanted = self.chosen if self.chosen in kinds else preferred
        if wanted in kinds:
            return wanted
        return next(iter(kinds)) if len(kinds) == 1 else None


_Row: TypeAlias = tuple[Callable[[Progress], bool], Step]


def _asking(spec: Spec) -> tuple[_Row, ...]:
    return ((lambda now: now.asks_for(spec.kind), spec.asked),) if spec.asked else ()


def _setting_up(spec: Spec) -> tuple[_Row, ...]:
    return ((lambda now: now.sets_up(spec.kind), spec.set_up),) if spec.set_up else ()


# The first row that holds is the next step.
TABLE: tuple[_Row, ...] = (
    (lambda now: now.status is UserStatus.UNCONFIRMED, Step.CONFIRM_SIGN_UP),
    (lambda now: now.status is UserStatus.RESET_REQUIRED, Step.RESET_PASSWORD),
    (lambda now: now.status is UserStatus.FORCE_CHANGE_PASSWORD, Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD),
    *(row for spec in ENROLLABLE for row in _asking(spec)),
    (lambda now: now.selects, Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION),
    # A password recovered over another medium is the way out.
    (lambda now: now.lacks_distinct_factor, Step.RESET_PASSWORD),
    *(row for spec in ENROLLABLE for row in _setting_up(spec)),
    (lambda now: now.selects_set_up, Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION),
    *((lambda now: now.is_challenged, spec.asked) for spec in TRAILING if spec.asked),
    (lambda now: not now.needs_second_factor, Step.DONE),
)


def next_step(progress: Progress) -> Step | None:
    """Choose the next step of a sign-in whose password proved right: the first row of the table that holds.

    None: a second factor is required, and there is none that this account could set up.
    """
    return next((step for holds, step in TABLE if holds(progress)), None)
