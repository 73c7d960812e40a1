"""The steps of a sign-in and the table that chooses among them. No state, no clock, no database."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from authsvc.config import MfaMode


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


# Steps that another RPC answers: they have no challenge session.
ANSWERED_ELSEWHERE = frozenset({Step.DONE, Step.CONFIRM_SIGN_UP, Step.RESET_PASSWORD})
# Steps in which the user first has to set something up: their sessions live longer.
SETUP_STEPS = frozenset({Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP, Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION})

# RFC 8176 values of the factors that can be proved.
PASSWORD = "pwd"  # noqa: S105  # an RFC 8176 value
ONE_TIME_PASSWORD = "otp"  # noqa: S105  # an RFC 8176 value
MULTIPLE_FACTORS = "mfa"

_BY_STATUS = {
    "UNCONFIRMED": Step.CONFIRM_SIGN_UP,
    "RESET_REQUIRED": Step.RESET_PASSWORD,
    "FORCE_CHANGE_PASSWORD": Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Hold everything that the next step depends on, as it is now.

    `proved` are the distinct factors proved in this sign-in (RFC 8176), `has_totp` whether an authenticator is active.
    """

    status: str
    mfa: MfaMode
    has_totp: bool
    proved: frozenset[str]


def next_step(progress: Progress) -> Step:
    """Choose the next step of a sign-in whose password proved right: the first rule that applies."""
    if progress.status in _BY_STATUS:
        return _BY_STATUS[progress.status]
    if progress.mfa is MfaMode.OFF or ONE_TIME_PASSWORD in progress.proved:
        return Step.DONE
    if progress.has_totp:
        return Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE
    if progress.mfa is MfaMode.REQUIRED:
        return Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP
    return Step.DONE


def amr(proved: frozenset[str]) -> list[str]:
    """Return the authentication methods for the tokens: the factors, and `mfa` for more than one (RFC 8176 §2)."""
    return sorted(proved, key=[PASSWORD, ONE_TIME_PASSWORD].index) + [MULTIPLE_FACTORS] * (len(proved) > 1)
