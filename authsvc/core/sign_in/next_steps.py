"""The next step of a sign-in: chosen by how the account stands, and stored with all that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from authsvc.config import MfaType, Settings
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.accounts.new_passwords import NewPasswords
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.factors import rules as factors
from authsvc.core.factors.custom import ChallengeState, CustomChallenge
from authsvc.core.factors.rules import Kinds
from authsvc.core.factors.sent_code import SignInCodes
from authsvc.core.factors.totp import Totp, TotpSetup
from authsvc.core.messages.codes import CodeDelivery, delivery_of
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sessions.tokens import Grant, Tokens
from authsvc.core.sign_in.steps import (
    ANSWERED_ELSEWHERE,
    SECOND_FACTORS,
    SENDING_STEPS,
    SETUP_STEPS,
    Progress,
    Proof,
    Step,
    amr,
    next_step,
)
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_handle
from authsvc.domain import Medium, User
from authsvc.errors import LimitExceeded, MfaNotEnrolled
from authsvc.store import challenges, passwords
from authsvc.store.challenges import Challenge
from authsvc.store.db import Executor


@dataclass(frozen=True, slots=True)
class SignInOutcome:
    """Hold where a sign-in stands: with each step what it needs, `tokens` with DONE."""

    step: Step
    session: str = ""
    code_delivery: CodeDelivery | None = None
    totp_setup: TotpSetup | None = None
    allowed_mfa_types: tuple[MfaType, ...] = ()
    missing_attributes: tuple[str, ...] = ()
    public_parameters: dict[str, str] = field(default_factory=dict)
    tokens: Tokens | None = None

    def __repr__(self) -> str:
        return f"SignInOutcome({self.step})"


@dataclass(frozen=True, slots=True)
class Advance:
    """Hold what a transaction stored; what calls out, or takes long, comes after its commit.

    `is_asked`: a custom challenge has its question.
    """

    user: User
    outcome: SignInOutcome
    new: Grant | None = None
    is_asked: bool = False


class NextSteps:
    """Choose and store steps."""

    def __init__(
        self,
        ring: KeyRing,
        throttle: Throttle,
        sessions: Sessions,
        audit: Audit,
        totp: Totp,
        codes: SignInCodes,
        new_passwords: NewPasswords,
        settings: Settings,
        custom: CustomChallenge | None,
    ) -> None:
        self._ring = ring
        self._throttle = throttle
        self._sessions = sessions
        self._audit = audit
        self._totp = totp
        self._codes = codes
        self._new_passwords = new_passwords
        self._accounts = settings.accounts
        self._allowed = frozenset(settings.accounts.mfa_types)
        self._limits = settings.challenges
        self._custom = custom

    async def advance(
        self,
        executor: Executor,
        user: User,
        proved: frozenset[Proof],
        caller: Caller,
        now: datetime,
        *,
        chosen: MfaType | None = None,
        asked: ChallengeState | None = None,
        did: tuple[AuditKind, ...] = (),
        forget: Factor | None = None,
    ) -> Advance:
        """Store the next step, chosen by how the account stands now, at the end of a transaction that holds its row.

        `did` is what the answer did beside proving something, for the audit trail. `forget` is what was proved, should
        its failures be forgotten here: a step that sends a code counts it, and nothing is counted by who has forgotten
        failures (see `Throttle.forget`).

        Raises:
            MfaNotEnrolled: a second factor is required, and this account can't set any up.
            LimitExceeded: the step sends a code, and the account had its codes of this hour.
        """
        kinds = await factors.find_kinds(executor, user, self._allowed)
        progress = self._progress(user, kinds, proved, chosen)
        step = next_step(progress)
        if step is None:
            raise MfaNotEnrolled
        step = await self._spend_send(user, step, progress)
        if step is Step.DONE:
            if kinds.recovered_by and proved & SECOND_FACTORS:
                await passwords.settle(executor, user_id=user.user_id)
            advance = Advance(
                user, SignInOutcome(step), await self._sessions.start(executor, user, caller, amr=amr(proved), now=now)
            )
        elif step in ANSWERED_ELSEWHERE:
            advance = Advance(user, SignInOutcome(step))
        else:
            outcome = await self._store(executor, user, step, progress, asked, now)
            advance = Advance(user, outcome, is_asked=asked is not None)
        if forget is not None:
            await self._throttle.forget(executor, user.username_key, forget)
        await self._audit.record(
            executor,
            *(AuditEvent(kind, caller, user.user_id) for kind in did),
            _event_of(advance, proved, caller),
        )
        return advance

    async def _spend_send(self, user: User, step: Step, progress: Progress) -> Step:
        """Count the code that a step sends; return the step to take instead if there were too many.

        Whoever knows the password can use them up. That must not keep the owner from another factor.

        Raises:
            LimitExceeded: there is no other factor to be asked for.
        """
        medium = SENDING_STEPS.get(step)
        if medium is None:
            return step
        try:
            await self._codes.spend_send(medium, user.username_key)
        except LimitExceeded:
            if progress.chosen is not None or len(progress.askable) < 2:
                raise
            return Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION
        return step

    def _progress(self, user: User, kinds: Kinds, proved: frozenset[Proof], chosen: MfaType | None) -> Progress:
        return Progress(
            status=user.status,
            mfa=self._accounts.mfa,
            askable=kinds.askable,
            settable=kinds.settable,
            has_enrolled=bool(kinds.in_use),
            preferred=kinds.preferred,
            chosen=chosen,
            proved=proved,
            has_challenge_hook=self._custom is not None,
        )

    async def _store(
        self,
        executor: Executor,
        user: User,
        step: Step,
        progress: Progress,
        asked: ChallengeState | None,
        now: datetime,
    ) -> SignInOutcome:
        """Store the challenge session of a step, and make what the step needs."""
        session = new_handle()
        digest = self._ring.digest(Purpose.CHALLENGE, session)
        expires_at = now + (self._limits.setup_ttl if step in SETUP_STEPS else self._limits.ttl)
        medium = SENDING_STEPS.get(step)
        code = None
        if medium is not None:
            code = self._codes.make(medium, user, digest)
            await self._codes.send(executor, medium, user, code, digest, now=now, expires_at=expires_at)
        setup = None
        if step is Step.CONTINUE_SIGN_IN_WITH_TOTP_SETUP:
            setup = await self._totp.begin_setup(executor, user, "", now)
        await challenges.insert(
            executor,
            challenge=Challenge(
                digest=digest,
                user_id=user.user_id,
                username_key=user.username_key,
                step=step,
                proved=sorted(progress.proved),
                totp_device_id=setup.device_id if setup else None,
                code_digest=code.digest if code else None,
                sealed_state=self._custom.seal(asked, digest) if asked and self._custom else None,
                expires_at=expires_at,
            ),
            now=now,
        )
        choices = {
            Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION: progress.askable,
            Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION: progress.settable,
        }.get(step, factors.NONE)
        asks_attributes = step is Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD
        return SignInOutcome(
            step,
            session,
            code_delivery=delivery_of(user, Medium(medium)) if medium else None,
            totp_setup=setup,
            allowed_mfa_types=tuple(kind for kind in MfaType if kind in choices),
            missing_attributes=tuple(self._new_passwords.missing(user)) if asks_attributes else (),
            public_parameters=dict(asked.asked.public) if asked else {},
        )


def _event_of(advance: Advance, proved: frozenset[Proof], caller: Caller) -> AuditEvent:
    details = {"step": str(advance.outcome.step), "proved": " ".join(sorted(proved))}
    if advance.new is None:
        return AuditEvent(AuditKind.CONTINUE_SIGN_IN, caller, advance.user.user_id, details=details)
    session_id = advance.new.session_id
    return AuditEvent(AuditKind.SIGN_IN, caller, advance.user.user_id, session_id=session_id, details=details)
