"""What a call of a sign-in came to: where the sign-in stands, and what is still to be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from authsvc.core.factors.factor import TotpSetup
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.sessions.sessions import Grant, Tokens
from authsvc.domain import FactorKind, Step, User


@dataclass(frozen=True, slots=True)
class SignInOutcome:
    """Hold where a sign-in stands: with each step what it needs, `tokens` with DONE.

    `device_token` is new, for a device that has none yet.
    """

    step: Step
    session: str = ""
    code_delivery: CodeDelivery | None = None
    totp_setup: TotpSetup | None = None
    allowed_mfa_types: tuple[FactorKind, ...] = ()
    missing_attributes: tuple[str, ...] = ()
    public_parameters: Mapping[str, str] = field(default_factory=dict)
    tokens: Tokens | None = None
    device_token: str = ""

    def __repr__(self) -> str:
        return f"SignInOutcome({self.step})"


@dataclass(frozen=True, slots=True)
class Advance:
    """Hold what a transaction stored; what calls out, or takes long, comes after its commit.

    `digest` is that of the challenge session that waits for the hook's question, if one does.
    """

    user: User
    outcome: SignInOutcome
    new: Grant | None = None
    unasked: bytes | None = None
