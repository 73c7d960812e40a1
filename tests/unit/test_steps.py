"""The table that chooses the next step of a sign-in, in every combination."""

from itertools import product

import pytest

from authsvc.config import MfaMode
from authsvc.core.steps import (
    ANSWERED_ELSEWHERE,
    ONE_TIME_PASSWORD,
    PASSWORD,
    SETUP_STEPS,
    AnswerKind,
    Progress,
    Step,
    amr,
    next_step,
)
from authsvc.v1.auth_service_pb2 import ConfirmSignInRequest, UserStatus
from authsvc.v1.sign_in_step_pb2 import SignInStep

PASSWORD_ALONE = frozenset({PASSWORD})
BOTH = frozenset({PASSWORD, ONE_TIME_PASSWORD})
PROVED = [PASSWORD_ALONE, BOTH]

# What a confirmed account has to do next.
CONFIRMED = {
    # mfa, has an authenticator, proved
    (MfaMode.OFF, False, PASSWORD_ALONE): Step.DONE,
    (MfaMode.OFF, True, PASSWORD_ALONE): Step.DONE,
    (MfaMode.OFF, False, BOTH): Step.DONE,
    (MfaMode.OFF, True, BOTH): Step.DONE,
    (MfaMode.OPTIONAL, False, PASSWORD_ALONE): Step.DONE,
    (MfaMode.OPTIONAL, True, PASSWORD_ALONE): Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE,
    (MfaMode.OPTIONAL, False, BOTH): Step.DONE,
    (MfaMode.OPTIONAL, True, BOTH): Step.DONE,
    (MfaMode.REQUIRED, False, PASSWORD_ALONE): Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP,
    (MfaMode.REQUIRED, True, PASSWORD_ALONE): Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE,
    (MfaMode.REQUIRED, False, BOTH): Step.DONE,
    (MfaMode.REQUIRED, True, BOTH): Step.DONE,
}
# What an account of another status has to do next, whatever else holds.
BY_STATUS = {
    "UNCONFIRMED": Step.CONFIRM_SIGN_UP,
    "RESET_REQUIRED": Step.RESET_PASSWORD,
    "FORCE_CHANGE_PASSWORD": Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD,
}


def test_the_table_is_complete() -> None:
    """Every mode, enrolment and set of factors is in the table, and every status of the protos is covered."""
    assert CONFIRMED.keys() == set(product(MfaMode, (False, True), PROVED))
    statuses = {name.removeprefix("USER_STATUS_") for name in UserStatus.DESCRIPTOR.values_by_name}
    assert statuses == {"UNSPECIFIED", "CONFIRMED", *BY_STATUS}


@pytest.mark.parametrize(("mfa", "has_totp", "proved"), CONFIRMED)
def test_step_of_a_confirmed_account(mfa: MfaMode, has_totp: bool, proved: frozenset[str]) -> None:
    """A second factor is asked for when required or enrolled, set up when required and missing, and asked for once."""
    progress = Progress(status="CONFIRMED", mfa=mfa, has_totp=has_totp, proved=proved)
    assert next_step(progress) is CONFIRMED[mfa, has_totp, proved]


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("mfa", MfaMode)
@pytest.mark.parametrize("has_totp", [False, True])
@pytest.mark.parametrize("proved", PROVED)
def test_step_of_an_account_that_is_not_confirmed(
    status: str, mfa: MfaMode, has_totp: bool, proved: frozenset[str]
) -> None:
    """The status of an account comes before its factors."""
    assert next_step(Progress(status=status, mfa=mfa, has_totp=has_totp, proved=proved)) is BY_STATUS[status]


@pytest.mark.parametrize(
    ("proved", "methods"), [(PASSWORD_ALONE, ["pwd"]), (BOTH, ["pwd", "otp", "mfa"]), (frozenset(), [])]
)
def test_methods_name_the_factors_in_their_order(proved: frozenset[str], methods: list[str]) -> None:
    """Tokens name the factors as RFC 8176 does, and `mfa` for more than one."""
    assert amr(proved) == methods


def test_steps_and_answers_are_those_of_the_protos() -> None:
    """Each step and each kind of answer has its name in the protos, and there are no others."""
    steps = {name.removeprefix("SIGN_IN_STEP_") for name in SignInStep.DESCRIPTOR.values_by_name}
    assert set(Step) == steps - {"UNSPECIFIED"}
    answers = ConfirmSignInRequest.DESCRIPTOR.oneofs_by_name["answer"].fields
    assert set(AnswerKind) == {field.name for field in answers}


def test_a_step_with_a_longer_life_is_one_that_has_a_session() -> None:
    """Set-up steps are answered in the sign-in itself."""
    assert not SETUP_STEPS & ANSWERED_ELSEWHERE
