"""The table that chooses the next step of a sign-in: each row, and what holds in every combination."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, product

import pytest

from authsvc.config import MfaMode
from authsvc.core.factors.kinds import ENROLLABLE, RECOVERY_CODE, SECOND, SPECS
from authsvc.core.factors.proved import Proved
from authsvc.core.sign_in.steps import ANSWERED_ELSEWHERE, ANSWERS, SETUP_STEPS, TABLE, Progress, next_step
from authsvc.domain import FactorKind, Step, UserStatus
from authsvc.v1.auth_service_pb2 import ConfirmSignInRequest
from authsvc.v1.auth_service_pb2 import UserStatus as UserStatusProto
from authsvc.v1.sign_in_step_pb2 import SignInStep

TOTP, SMS, EMAIL = KINDS = FactorKind.TOTP, FactorKind.SMS, FactorKind.EMAIL
OFF, OPTIONAL, REQUIRED = MfaMode.OFF, MfaMode.OPTIONAL, MfaMode.REQUIRED
NONE: frozenset[FactorKind] = frozenset()
PASSWORD = Proved(frozenset({FactorKind.PASSWORD}))
WAIVED = PASSWORD.with_(None, is_waived=True)
CHALLENGED = PASSWORD.with_(FactorKind.CUSTOM_CHALLENGE)
CODE_STEPS = {
    TOTP: Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE,
    SMS: Step.CONFIRM_SIGN_IN_WITH_SMS_CODE,
    EMAIL: Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE,
}
SET_UP_STEPS = {**CODE_STEPS, TOTP: Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP}
BY_STATUS = {
    UserStatus.UNCONFIRMED: Step.CONFIRM_SIGN_UP,
    UserStatus.RESET_REQUIRED: Step.RESET_PASSWORD,
    UserStatus.FORCE_CHANGE_PASSWORD: Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD,
}


def progress(**fields: object) -> Progress:
    """Return a confirmed account's progress after its password, with some fields changed."""
    plain: dict[str, object] = {
        "status": UserStatus.CONFIRMED,
        "mfa": REQUIRED,
        "askable": NONE,
        "settable": frozenset({TOTP}),
        "has_enrolled": bool(fields.get("askable")),
        "preferred": None,
        "chosen": None,
        "proved": PASSWORD,
        "has_challenge_hook": False,
    }
    return Progress(**{**plain, **fields})  # type: ignore[arg-type]  # fields by name, for brevity


def named(kinds: frozenset[FactorKind]) -> str:
    """Return the name of a set of kinds in test ids, the same in every process."""
    return "+".join(sorted(kinds)) or "none"


def sets() -> list[frozenset[FactorKind]]:
    """Return every set of kinds."""
    return [frozenset(each) for each in chain.from_iterable(combinations(KINDS, size) for size in range(4))]


def every_progress() -> Iterator[Progress]:
    """Yield every combination of a confirmed account that can come about."""
    kinds: list[FactorKind | None] = [None, *KINDS]
    proved = [PASSWORD, WAIVED, *(PASSWORD.with_(kind) for kind in FactorKind)]
    for mfa, asked, settable, preferred, chosen, proofs, hook in product(
        MfaMode, sets(), sets(), kinds, kinds, proved, (False, True)
    ):
        for has_enrolled in {bool(asked), True}:
            yield Progress(
                status=UserStatus.CONFIRMED,
                mfa=mfa,
                askable=asked,
                settable=settable,
                has_enrolled=has_enrolled,
                preferred=preferred,
                chosen=chosen,
                proved=proofs,
                has_challenge_hook=hook,
            )


BOTH = frozenset({TOTP, SMS})
ROWS = [
    # What is enrolled is asked for, the one there is or the preferred one, and else the user is asked which.
    (progress(askable=frozenset({TOTP})), Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE),
    (progress(askable=frozenset({SMS})), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    (progress(askable=frozenset({EMAIL}), mfa=OPTIONAL), Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE),
    (progress(askable=BOTH), Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION),
    (progress(askable=BOTH, preferred=SMS), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    (progress(askable=BOTH, preferred=SMS, chosen=TOTP), Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE),
    (progress(askable=BOTH, chosen=SMS), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    # A preference for what is not, or no longer, asked for counts for nothing.
    (progress(askable=BOTH, preferred=EMAIL), Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION),
    (progress(askable=BOTH, chosen=EMAIL), Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION),
    # Nothing enrolled.
    (progress(mfa=OPTIONAL), Step.DONE),
    (progress(mfa=OFF, askable=BOTH), Step.DONE),
    (progress(), Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP),
    (progress(settable=frozenset({SMS})), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    (progress(settable=BOTH), Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION),
    (progress(settable=BOTH, chosen=TOTP), Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP),
    (progress(settable=BOTH, chosen=SMS), Step.CONFIRM_SIGN_IN_WITH_SMS_CODE),
    # What is preferred was never set up: the user is asked.
    (progress(settable=BOTH, preferred=SMS), Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION),
    (progress(settable=NONE), None),
    # All that is enrolled is the medium that recovered the password: nothing is set up on the strength of that.
    (progress(has_enrolled=True), Step.RESET_PASSWORD),
    (progress(has_enrolled=True, mfa=OPTIONAL), Step.RESET_PASSWORD),
    # A second factor of any kind is proved once.
    *((progress(askable=BOTH, proved=PASSWORD.with_(spec.kind)), Step.DONE) for spec in SECOND),
    # The hook comes last, and once.
    (progress(askable=BOTH, has_challenge_hook=True), Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION),
    (progress(mfa=OFF, has_challenge_hook=True), Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE),
    (progress(proved=PASSWORD.with_(TOTP), has_challenge_hook=True), Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE),
    *((progress(mfa=OFF, has_challenge_hook=True, proved=proved), Step.DONE) for proved in (WAIVED, CHALLENGED)),
    # Having answered the hook is no second factor.
    (progress(proved=CHALLENGED), Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP),
]


@pytest.mark.parametrize(("now", "step"), ROWS)
def test_rows_of_the_table(now: Progress, step: Step | None) -> None:
    """A confirmed account is led to the step that its factors and the settings ask for."""
    assert next_step(now) is step


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("mfa", MfaMode)
@pytest.mark.parametrize("asked", sets(), ids=named)
def test_the_status_of_an_account_comes_before_its_factors(
    status: UserStatus, mfa: MfaMode, asked: frozenset[FactorKind]
) -> None:
    """An account that is not confirmed has its own step, whatever else holds."""
    now = progress(status=status, mfa=mfa, askable=asked, has_challenge_hook=True)
    assert next_step(now) is BY_STATUS[status]


def test_every_status_of_the_protos_is_known() -> None:
    """Each status is confirmed or has a step of its own."""
    statuses = {name.removeprefix("USER_STATUS_") for name in UserStatusProto.DESCRIPTOR.values_by_name}
    assert statuses == {"UNSPECIFIED", *UserStatus}
    assert {UserStatus.CONFIRMED, *BY_STATUS} == set(UserStatus)


def test_nobody_is_done_without_the_factors_that_are_asked_for() -> None:
    """DONE needs a second factor wherever one is required or enrolled, and the hook's word wherever there is a hook."""
    seen = set()
    for now in every_progress():
        step = next_step(now)
        seen.add(step)
        wants_factor = now.mfa is REQUIRED or (now.mfa is OPTIONAL and now.has_enrolled)
        if step is Step.DONE:
            assert not wants_factor or now.proved.has_second_factor, now
            assert not now.has_challenge_hook or now.proved.has_passed_hook, now
        if wants_factor and not now.proved.has_second_factor:
            assert step not in (Step.DONE, Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE), now
    assert seen == {*Step, None} - BY_STATUS.keys() - {
        Step.CONFIRM_SIGN_UP,
        Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD,
    }


def test_a_code_is_asked_for_only_of_a_kind_that_counts() -> None:
    """A step that asks for a code is of a kind that may be asked or, with nothing enrolled, be set up."""
    for now in every_progress():
        step = next_step(now)
        kinds = {kind for kind in KINDS if step in (CODE_STEPS[kind], SET_UP_STEPS[kind])}
        allowed = now.askable or (now.settable if not now.has_enrolled else NONE)
        assert not kinds or kinds & allowed, now
        if step is Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP:
            assert not now.askable, now


def test_a_choice_among_what_is_offered_leads_on() -> None:
    """After either selection step every kind that was offered leads to a step of that kind."""
    for now in every_progress():
        step = next_step(now)
        if step is Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION:
            offered, steps = now.askable, CODE_STEPS
        elif step is Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION:
            offered, steps = now.settable, SET_UP_STEPS
        else:
            continue
        assert len(offered) > 1, now
        for kind in offered:
            chosen = replace(now, preferred=None, chosen=kind, has_challenge_hook=False)
            assert next_step(chosen) is steps[kind], now


def test_every_step_has_a_row_and_its_answers() -> None:
    """The table reaches each step, and a recovery code answers each that asks for an enrolled factor."""
    assert {step for _, step in TABLE} == set(Step) == ANSWERS.keys()
    assert {Step.DONE, Step.CONFIRM_SIGN_UP, Step.RESET_PASSWORD} == ANSWERED_ELSEWHERE
    recoverable = {step for step, answers in ANSWERS.items() if RECOVERY_CODE.answer in answers}
    assert recoverable == {*CODE_STEPS.values(), Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION}
    assert {spec.asked for spec in ENROLLABLE} <= recoverable
    assert not SETUP_STEPS & ANSWERED_ELSEWHERE


@pytest.mark.parametrize(
    ("proved", "methods"),
    [
        (Proved(), []),
        (PASSWORD, ["pwd"]),
        (PASSWORD.with_(TOTP), ["pwd", "otp", "mfa"]),
        (PASSWORD.with_(EMAIL), ["pwd", "email", "mfa"]),
        (PASSWORD.with_(FactorKind.RECOVERY_CODE), ["pwd", "recovery", "mfa"]),
        (PASSWORD.with_(SMS), ["pwd", "sms", "mfa"]),
        (CHALLENGED, ["pwd", "custom"]),
        (WAIVED, ["pwd"]),
        (CHALLENGED.with_(TOTP), ["pwd", "otp", "custom", "mfa"]),
    ],
)
def test_methods_name_how_factors_were_proved(proved: Proved, methods: list[str]) -> None:
    """Tokens name each factor by a method of its own, RFC 8176's if it has one, and `mfa` beside a second factor."""
    assert proved.methods == methods


def test_what_was_proved_outlives_its_challenge_session() -> None:
    """What a session keeps of the proved factors is read back as it was, under the names of former releases."""
    for proved in (Proved(), PASSWORD, WAIVED, *(PASSWORD.with_(kind) for kind in FactorKind)):
        assert Proved.of_stored(proved.stored()) == proved
    stored = {kind: Proved(frozenset({kind})).stored() for kind in FactorKind}
    assert stored == {
        FactorKind.PASSWORD: ["pwd"],
        TOTP: ["otp"],
        SMS: ["sms"],
        EMAIL: ["email"],
        FactorKind.RECOVERY_CODE: ["recovery"],
        FactorKind.CUSTOM_CHALLENGE: ["custom"],
    }
    assert WAIVED.stored() == ["no-custom", "pwd"]


def test_every_kind_of_factor_has_an_entry_of_its_own() -> None:
    """Each kind is in the registry, and no two share what tells them apart."""
    assert set(SPECS) == set(FactorKind)
    for names in ("proof", "method", "answer", "guarded"):
        assert len({getattr(spec, names) for spec in SPECS.values()}) == len(SPECS)


def test_steps_and_answers_are_those_of_the_protos() -> None:
    """Each step and each kind of answer has its name in the protos, and there are no others."""
    steps = {name.removeprefix("SIGN_IN_STEP_") for name in SignInStep.DESCRIPTOR.values_by_name}
    assert set(Step) == steps - {"UNSPECIFIED"}
    answers = ConfirmSignInRequest.DESCRIPTOR.oneofs_by_name["answer"].fields
    assert frozenset().union(*ANSWERS.values()) == {field.name for field in answers}
