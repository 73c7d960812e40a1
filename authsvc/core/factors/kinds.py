"""The registry of factors: every kind there is and what it is, in the order in which kinds are named.

Sign-in, step-up and preferences ask here. A new kind is an entry of `SPECS` and a module beside this one with what it
does (see `factor`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from authsvc.core.access.throttle import Guarded
from authsvc.domain import FactorKind, FactorState, Medium, Step, User


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Describe a kind of factor.

    `proof` is what a half-done sign-in keeps of it, stored; `method` is its authentication method in tokens, and no
    other kind's: `pwd`, `otp` and `sms` as in RFC 8176 §2, which leaves further names to who issues (§1). `answer` is
    the field of ConfirmSignIn and Reauthenticate that has its answer. `asked` is the step that asks for it, `set_up`
    the one in which a sign-in sets it up: None if users can't enrol it. `medium` carries its codes to the address that
    is the attribute `attribute`.
    """

    kind: FactorKind
    proof: str
    method: str
    answer: str
    # How long an answer may be, where its own form does not bound it.
    most_bytes: int | None = None
    is_closable: bool = True
    # Counts as a second one beside a password.
    is_second: bool = False
    asked: Step | None = None
    set_up: Step | None = None
    is_enabled_by_default: bool = True
    medium: Medium | None = None
    attribute: str = ""
    # Whether an account has what it takes to prove it, and what it takes to set it up.
    can_prove: Callable[[User, FactorState], bool] = lambda _user, _state: True
    can_set_up: Callable[[User], bool] = lambda _user: True

    @property
    def guarded(self) -> Guarded:
        """Return what wrong answers are counted by."""
        return Guarded(self.kind.value, self.is_closable)

    @property
    def is_enrolled_by_users(self) -> bool:
        """Tell whether users set it up, enable and prefer it."""
        return self.set_up is not None

    def is_enabled(self, state: FactorState) -> bool:
        """Tell whether a user who may have it wants it to be asked for."""
        return self.kind in state.enabled or (self.is_enabled_by_default and self.kind not in state.disabled)


def _sent(kind: FactorKind, *, medium: Medium, attribute: str, method: str, asked: Step) -> Spec:
    """Describe codes that are sent to an address; the first one that is given back makes the address a factor."""
    return Spec(
        kind=kind,
        proof=kind.lower(),
        method=method,
        answer=f"{kind.lower()}_code",
        is_second=True,
        asked=asked,
        set_up=asked,
        is_enabled_by_default=False,
        medium=medium,
        attribute=attribute,
        can_prove=lambda user, _state: user.address(medium) is not None and user.is_verified(medium),
        can_set_up=lambda user: user.address(medium) is not None,
    )


PASSWORD = Spec(kind=FactorKind.PASSWORD, proof="pwd", method="pwd", answer="password")
TOTP = Spec(
    kind=FactorKind.TOTP,
    proof="otp",
    method="otp",
    answer="totp_code",
    is_second=True,
    asked=Step.CONFIRM_SIGN_IN_WITH_TOTP_CODE,
    set_up=Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP,
    can_prove=lambda _user, state: state.authenticators > 0,
)
SMS = _sent(
    FactorKind.SMS, medium=Medium.SMS, attribute="phone_number", method="sms", asked=Step.CONFIRM_SIGN_IN_WITH_SMS_CODE
)
EMAIL = _sent(
    FactorKind.EMAIL, medium=Medium.EMAIL, attribute="email", method="email", asked=Step.CONFIRM_SIGN_IN_WITH_EMAIL_CODE
)
RECOVERY_CODE = Spec(
    kind=FactorKind.RECOVERY_CODE, proof="recovery", method="recovery", answer="recovery_code", is_second=True
)
CUSTOM_CHALLENGE = Spec(
    kind=FactorKind.CUSTOM_CHALLENGE,
    proof="custom",
    method="custom",
    answer="custom_answer",
    most_bytes=2048,
    is_closable=False,
    asked=Step.CONFIRM_SIGN_IN_WITH_CUSTOM_CHALLENGE,
)

SPECS: dict[FactorKind, Spec] = {
    spec.kind: spec for spec in (PASSWORD, TOTP, SMS, EMAIL, RECOVERY_CODE, CUSTOM_CHALLENGE)
}
# Those that users set up, enable and prefer.
ENROLLABLE = tuple(spec for spec in SPECS.values() if spec.is_enrolled_by_users)
# Those that count beside a password; a recovery code stands for any of them.
SECOND = tuple(spec for spec in SPECS.values() if spec.is_second)
# Those without a step of their own: each stands for whatever is asked for.
STAND_INS = tuple(spec for spec in SECOND if spec.asked is None)
# Those that are asked for after all that count.
TRAILING = tuple(spec for spec in SPECS.values() if spec.asked and not spec.is_second)
BESIDE_PASSWORD = tuple(spec for spec in SPECS.values() if spec is not PASSWORD)
# Those whose codes are sent, and what these are counted by.
SENT = tuple(spec for spec in SPECS.values() if spec.medium)
SENT_KEYS = tuple(spec.kind.value for spec in SENT)
# Passwords are recovered over these media, the first that may be.
RECOVERING = (Medium.EMAIL, Medium.SMS)
_BY_STEP = {step: spec.kind for spec in SPECS.values() for step in (spec.asked, spec.set_up) if step is not None}
_BY_ANSWER = {spec.answer: spec.kind for spec in SPECS.values()}
_BY_ATTRIBUTE = {spec.attribute: spec for spec in SPECS.values() if spec.attribute}


def in_order(kinds: Iterable[FactorKind]) -> tuple[FactorKind, ...]:
    """Return kinds in the order of the registry."""
    chosen = frozenset(kinds)
    return tuple(kind for kind in SPECS if kind in chosen)


def kind_of_step(step: Step) -> FactorKind | None:
    """Return the kind that a step asks for or sets up; None if it is of no kind."""
    return _BY_STEP.get(step)


def kind_of_answer(field: str) -> FactorKind:
    """Return the kind whose answer a field of a request has."""
    return _BY_ANSWER[field]


def sent_to(attribute: str) -> Spec:
    """Return the kind whose codes are sent to an attribute: `email` or `phone_number`."""
    return _BY_ATTRIBUTE[attribute]
