"""The steps of a sign-in and the table that chooses among them. No state, no clock, no database."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from authsvc.config import MfaMode, MfaType
from authsvc.domain import UserStatus


class Step(enum.StrEnum):
    """Name what a sign-in waits for: the values of the proto enum `SignInStep` without their prefix."""

    DONE = "DONE"
    CONFIRM_SIGN_UP = "CONFIRM_SIGN_UP"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105  # the name of a step
    CONFIRM_SIGN_IN_WITH_NEW_PASSWORD = "CONFIRM_SIGN_IN_WITH_NEW_PASSWORD"  # noqa: S105  # the name of a step
    CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION"
    CONTINUE_SIGN_IN_WITH_TOTP_SETUP = "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    CONTINUE_SIGN_IN_WITH_MFA_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"
    CONFIRM_SIGN_IN_WITH_TOTP_CODE = "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    CONFIRM_SIGN_IN_WITH_SMS_CODE = "CONFIRM_SIGN_IN_WITH_SMS_CODE"
    CONFIRM_SIGN_IN_WITH_EMAIL_CODE = "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"
    CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE = "CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE"


class AnswerKind(enum.StrEnum):
    """Name the kinds of answer: the fields of `ConfirmSignInRequest.answer`."""

    TOTP_CODE = "totp_code"
    SMS_CODE = "sms_code"
    EMAIL_CODE = "email_code"
    RECOVERY_CODE = "recovery_code"
    NEW_PASSWORD = "new_password"  # noqa: S105  # the name of a field
    MFA_TYPE = "mfa_type"
    CUSTOM_ANSWER = "custom_answer"


class Proof(enum.StrEnum):
    """Name what was proved in a sign-in; the values are stored."""

    PASSWORD = "pwd"  # noqa: S105  # the name of a factor
    TOTP = "otp"
    SMS = "sms"
    EMAIL = "email"
    RECOVERY_CODE = "recovery"
    CUSTOM_CHALLENGE = "custom"
    # The hook asked nothing.
    NO_CUSTOM_CHALLENGE = "no-custom"


SECOND_FACTORS = frozenset({Proof.TOTP, Proof.SMS, Proof.EMAIL, Proof.RECOVERY_CODE})
CHALLENGED = frozenset({Proof.CUSTOM_CHALLENGE, Proof.NO_CUSTOM_CHALLENGE})

# What each step can be answered with; the steps that another RPC answers have no challenge session.
ANSWERS: dict[Step, frozenset[AnswerKind]] = {
    Step.DONE: frozenset(),
    Step.CONFIRM_SIGN_UP: frozenset(),
    Step.RESET_PASSWORD: frozenset(),
    Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD: frozenset({AnswerKind.NEW_PASSWORD}),
    Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION: frozenset({AnswerKind.MFA_TYPE}),
    Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP: frozenset({AnswerKind.TOTP_CODE}),
    Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION: frozenset({AnswerKind.MFA_TYPE, AnswerKind.RECOVERY_CODE}),
    Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE: frozenset({AnswerKind.TOTP_CODE, AnswerKind.RECOVERY_CODE}),
    Step.CONFIRM_SIGN_IN_WITH_SMS_CODE: frozenset({AnswerKind.SMS_CODE, AnswerKind.RECOVERY_CODE}),
    Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE: frozenset({AnswerKind.EMAIL_CODE, AnswerKind.RECOVERY_CODE}),
    Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE: frozenset({AnswerKind.CUSTOM_ANSWER}),
}
ANSWERED_ELSEWHERE = frozenset(step for step, answers in ANSWERS.items() if not answers)
# Steps in which the user first has to set something up: their sessions live longer.
SETUP_STEPS = frozenset({Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP, Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION})
# Steps for which a code is sent, and over what.
SENDING_STEPS = {
    Step.CONFIRM_SIGN_IN_WITH_SMS_CODE: MfaType.SMS,
    Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE: MfaType.EMAIL,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Hold everything that the next step depends on, as it is now.

    `askable` are the second factors that count beside the password, `settable` those that this sign-in can set up (see
    `core.factors`), `has_enrolled` whether there are any, counting or not. `chosen` is the answer to a selection step,
    `preferred` the user's standing choice. `proved` is what was proved in this sign-in.
    """

    status: UserStatus
    mfa: MfaMode
    askable: frozenset[MfaType]
    settable: frozenset[MfaType]
    has_enrolled: bool
    preferred: MfaType | None
    chosen: MfaType | None
    proved: frozenset[Proof]
    has_challenge_hook: bool

    @property
    def needs_second_factor(self) -> bool:
        """Tell whether a second factor is yet to be proved, or set up."""
        is_asked = bool(self.askable) or self.has_enrolled or self.mfa is MfaMode.REQUIRED
        return self.mfa is not MfaMode.OFF and is_asked and not self.proved & SECOND_FACTORS

    def asks_for(self, kind: MfaType) -> bool:
        """Tell whether this second factor, which is enrolled, is asked for now."""
        return self.needs_second_factor and self._choice(self.askable, self.preferred) is kind

    def sets_up(self, kind: MfaType) -> bool:
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
    def _lacks_factor(self) -> bool:
        return self.needs_second_factor and not self.askable and not self.has_enrolled

    def _choice(self, kinds: frozenset[MfaType], preferred: MfaType | None) -> MfaType | None:
        wanted = self.chosen if self.chosen in kinds else preferred
        if wanted in kinds:
            return wanted
        return next(iter(kinds)) if len(kinds) == 1 else None


# The first row that holds is the next step.
TABLE: tuple[tuple[Callable[[Progress], bool], Step], ...] = (
    (lambda now: now.status is UserStatus.UNCONFIRMED, Step.CONFIRM_SIGN_UP),
    (lambda now: now.status is UserStatus.RESET_REQUIRED, Step.RESET_PASSWORD),
    (lambda now: now.status is UserStatus.FORCE_CHANGE_PASSWORD, Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD),
    (lambda now: now.asks_for(MfaType.TOTP), Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE),
    (lambda now: now.asks_for(MfaType.SMS), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    (lambda now: now.asks_for(MfaType.EMAIL), Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE),
    (lambda now: now.selects, Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION),
    # A password recovered over another medium is the way out.
    (lambda now: now.lacks_distinct_factor, Step.RESET_PASSWORD),
    (lambda now: now.sets_up(MfaType.TOTP), Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP),
    (lambda now: now.sets_up(MfaType.SMS), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    (lambda now: now.sets_up(MfaType.EMAIL), Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE),
    (lambda now: now.selects_set_up, Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION),
    (
        lambda now: not now.needs_second_factor and now.has_challenge_hook and not now.proved & CHALLENGED,
        Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE,
    ),
    (lambda now: not now.needs_second_factor, Step.DONE),
)


def next_step(progress: Progress) -> Step | None:
    """Choose the next step of a sign-in whose password proved right: the first row of the table that holds.

    None: a second factor is required, and there is none that this account could set up.
    """
    return next((step for holds, step in TABLE if holds(progress)), None)


# RFC 8176 §2; it has no value for a challenge of the operator's own.
_METHODS = {
    Proof.PASSWORD: "pwd",
    Proof.TOTP: "otp",
    Proof.EMAIL: "otp",
    Proof.RECOVERY_CODE: "otp",
    Proof.SMS: "sms",
    Proof.CUSTOM_CHALLENGE: "custom",
}
MULTIPLE_FACTORS = "mfa"


def amr(proved: frozenset[Proof]) -> list[str]:
    """Return the authentication methods for the tokens: how each factor was proved, and `mfa` beside a second one."""
    methods = list(dict.fromkeys(method for proof, method in _METHODS.items() if proof in proved))
    return methods + [MULTIPLE_FACTORS] * bool(proved & SECOND_FACTORS)


def amr_with(methods: list[str], proof: Proof) -> list[str]:
    """Return the authentication methods of a session that one more proof was given in, in the same order."""
    gained = {*methods, *amr(frozenset({proof}))}
    return [method for method in (*dict.fromkeys(_METHODS.values()), MULTIPLE_FACTORS) if method in gained]
