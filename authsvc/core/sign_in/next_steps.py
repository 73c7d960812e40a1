"""The next step of a sign-in: chosen by how the account stands, and stored with all that it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from authsvc.core.access.caller import Caller
from authsvc.core.access.challenges import KEPT, ChallengeSessions
from authsvc.core.accounts.new_passwords import NewPasswords
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.factors.factor import Accepted, Factors, Opened
from authsvc.core.factors.kinds import in_order, kind_of_step
from authsvc.core.factors.proved import Proved
from authsvc.core.factors.rules import NONE, FactorRules, UserFactors
from authsvc.core.messages.kinds import NewSignIn
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sign_in.outcomes import Advance, SignInOutcome
from authsvc.core.sign_in.replies import Replies, Retry
from authsvc.core.sign_in.steps import ANSWERED_ELSEWHERE, SETUP_STEPS, Progress, next_step
from authsvc.domain import Lane, Step, User
from authsvc.errors import LimitExceeded, MfaNotEnrolled
from authsvc.store import challenges, passwords
from authsvc.store.challenges import Challenge
from authsvc.store.db import Executor

# Says in a transaction that what was tried proved right.
Settle = Callable[[Executor], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class At:
    """Hold in what and for whom a sign-in goes on: a transaction that holds the account's row, its lane, its time.

    `retry` names the call, if it may be sent again.
    """

    executor: Executor
    caller: Caller
    lane: Lane
    now: datetime
    retry: Retry | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NextSteps:
    """Choose and store steps."""

    challenge_sessions: ChallengeSessions
    sessions: Sessions
    audit: Audit
    factors: Factors
    rules: FactorRules
    notices: Notices
    new_passwords: NewPasswords
    replies: Replies

    async def advance(self, at: At, accepted: Accepted, proved: Proved, *, settle: Settle | None = None) -> Advance:
        """Store the next step, chosen by how the account stands now, at the end of a transaction that holds its row.

        `settle` forgets failures, should any be forgotten here: a step that sends a code counts it, and nothing is
        counted by who has forgotten failures (see `Throttle.forget`).

        Raises:
            MfaNotEnrolled: a second factor is required, and this account can't set any up.
            LimitExceeded: the step sends a code, and the account had its codes of this hour.
        """
        user, tx = accepted.user, at.executor
        standing = await self.rules.find(tx, user)
        progress = self._progress(accepted, standing, proved)
        step = next_step(progress)
        if step is None:
            raise MfaNotEnrolled
        step = await self._reserve(at, user, step, progress=progress)
        if step is Step.DONE:
            if standing.recovered_by and proved.has_second_factor:
                await passwords.settle(tx, user_id=user.user_id)
            new = await self.sessions.start(tx, user, at.caller, lane=at.lane, amr=proved.methods, now=at.now)
            if new.is_elsewhere:
                await self.notices.tell(tx, user, NewSignIn(), now=at.now)
            advance = Advance(user, SignInOutcome(step, device_token=new.device_token), new)
        elif step in ANSWERED_ELSEWHERE:
            advance = Advance(user, SignInOutcome(step))
        else:
            advance = await self._store(at, accepted, step, progress=progress)
        if settle is not None:
            await settle(tx)
        if at.retry is not None:
            await self.replies.keep(tx, at.retry, advance, now=at.now)
        did = (AuditEvent(kind, at.caller, user.user_id) for kind in accepted.did)
        await self.audit.record(tx, *did, _event_of(advance, proved, at.caller))
        return advance

    async def _reserve(self, at: At, user: User, step: Step, *, progress: Progress) -> Step:
        """Count the code that a step sends; return the step to take instead if there were too many.

        Whoever knows the password can use them up. That must not keep the owner from another factor.

        Raises:
            LimitExceeded: there is no other factor to be asked for.
        """
        factor = self.factors.find(kind_of_step(step))
        if factor is None:
            return step
        try:
            await factor.reserve(user.username_key, at.lane, at.caller)
        except LimitExceeded:
            if progress.chosen is not None or len(progress.askable) < 2:
                raise
            return Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION
        return step

    def _progress(self, accepted: Accepted, standing: UserFactors, proved: Proved) -> Progress:
        return Progress(
            status=accepted.user.status,
            mfa=self.rules.mode,
            askable=standing.askable,
            settable=standing.settable,
            has_enrolled=bool(standing.in_use),
            preferred=standing.preferred,
            chosen=accepted.chosen,
            proved=proved,
            has_challenge_hook=self.factors.has_challenge_hook,
        )

    async def _store(self, at: At, accepted: Accepted, step: Step, *, progress: Progress) -> Advance:
        """Store the challenge session of a step, and make what the step needs."""
        user = accepted.user
        session, opening = self.challenge_sessions.open(step, at.now, is_set_up=step in SETUP_STEPS)
        factor = self.factors.find(kind_of_step(step))
        if accepted.opened is not None:
            opened = accepted.opened(opening)
        else:
            opened = await factor.open(at.executor, user, opening) if factor else Opened()
        await challenges.insert(
            at.executor,
            challenge=Challenge(
                digest=opening.digest,
                user_id=user.user_id,
                username_key=user.username_key,
                step=step,
                proved=progress.proved.stored(),
                lane=at.lane,
                totp_device_id=opened.device_id,
                code_digest=opened.code_digest,
                sealed_state=opened.sealed_state,
                expires_at=opening.expires_at,
            ),
            now=at.now,
            kept=KEPT,
        )
        choices = {
            Step.CONTINUE_SIGN_IN_WITH_MFA_SELECTION: progress.askable,
            Step.CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION: progress.settable,
        }.get(step, NONE)
        asks_attributes = step is Step.CONFIRM_SIGN_IN_WITH_NEW_PASSWORD
        outcome = SignInOutcome(
            step,
            session,
            code_delivery=opened.code_delivery,
            totp_setup=opened.totp_setup,
            allowed_mfa_types=in_order(choices),
            missing_attributes=tuple(self.new_passwords.rules.missing(user)) if asks_attributes else (),
            public_parameters=opened.public_parameters,
        )
        return Advance(user, outcome, unasked=opening.digest if opened.is_unasked else None)


def _event_of(advance: Advance, proved: Proved, caller: Caller) -> AuditEvent:
    details = {"step": str(advance.outcome.step), "proved": " ".join(proved.stored())}
    if advance.new is None:
        return AuditEvent(AuditKind.CONTINUE_SIGN_IN, caller, advance.user.user_id, details=details)
    session_id = advance.new.session.session_id
    return AuditEvent(AuditKind.SIGN_IN, caller, advance.user.user_id, session_id=session_id, details=details)
