"""A signed-in user proves themselves again: a fresh authentication of the same session."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from authsvc.clock import Clock
from authsvc.core.access.throttle import Action, Factor, Throttle
from authsvc.core.audit.trail import Audit, AuditKind
from authsvc.core.factors.recovery import Recovery
from authsvc.core.factors.totp import Totp
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sessions.tokens import Tokens
from authsvc.core.sign_in.steps import SECOND_FACTORS, Proof, amr_with
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.domain import User
from authsvc.errors import Conflict, MfaNotEnrolled, NotAuthorized
from authsvc.store import passwords, sessions
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.factors import recovery as recovery_codes

# Uses a right proof up, in a transaction that holds the user's row.
Use = Callable[[Executor, User, datetime], Awaitable[object]]


class ProofKind(enum.StrEnum):
    """Name the kinds of proof: the fields of `ReauthenticateRequest.proof`."""

    PASSWORD = "password"  # noqa: S105  # the name of a field
    TOTP_CODE = "totp_code"
    RECOVERY_CODE = "recovery_code"


_PROOFS = {
    ProofKind.PASSWORD: Proof.PASSWORD,
    ProofKind.TOTP_CODE: Proof.TOTP,
    ProofKind.RECOVERY_CODE: Proof.RECOVERY_CODE,
}


@dataclass(frozen=True, slots=True)
class GivenProof:
    """Hold what a user gives as proof, as it is compared; `typed` is a password before it was normalised."""

    kind: ProofKind
    value: str
    typed: str = ""

    def __repr__(self) -> str:
        return f"GivenProof({self.kind})"


class Reauthentication:
    """Verify proofs and renew sessions."""

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        throttle: Throttle,
        bearers: Bearers,
        sessions: Sessions,
        totp: Totp,
        recovery: Recovery,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._throttle = throttle
        self._bearers = bearers
        self._sessions = sessions
        self._totp = totp
        self._recovery = recovery
        self._audit = audit
        self._clock = clock

    async def prove(self, bearer: Bearer, given: GivenProof) -> Tokens:
        """Verify a proof; return new tokens of the session, whose former refresh token is used up.

        Raises:
            NotAuthorized: the password is wrong.
            CodeMismatch: the code is wrong.
            CodeAlreadyUsed: the TOTP code was accepted before.
            MfaNotEnrolled: the user has no authenticator, or no recovery codes.
            LimitExceeded: too many tries from this source or for this account.
            Overloaded: too many hashes wait.
            Conflict: the password was changed at the same time.
        """
        await self._throttle.spend_call(Action.SIGN_IN, bearer.caller)
        standing, proof = bearer.standing, _PROOFS[given.kind]
        async with self._audit.failures(
            AuditKind.REAUTHENTICATE, bearer.caller, user_id=standing.user_id, session_id=standing.session_id
        ) as tried:
            tried.details["proof"] = given.kind
            use = await self._verify(bearer, given)
            now = self._clock.now()
            async with self._database.transaction() as transaction:
                user = await self._bearers.hold(transaction, bearer)
                await use(transaction, user, now)
                if proof in SECOND_FACTORS:
                    await passwords.settle(transaction, user_id=user.user_id)
                # As it is under the lock: another proof may have come in since the call began.
                standing = await sessions.find_standing(transaction, session_id=standing.session_id) or standing
                renewed = replace(standing, amr=amr_with(standing.amr, proof), auth_time=now)
                refresh_token = await self._sessions.renew(transaction, renewed, bearer.caller)
                events = [event_of(bearer, AuditKind.REAUTHENTICATE, proof=given.kind)]
                if proof is Proof.RECOVERY_CODE:
                    events.insert(0, event_of(bearer, AuditKind.USE_RECOVERY_CODE))
                await self._audit.record(transaction, *events)
        return await self._sessions.further_tokens(user, renewed, refresh_token)

    async def _verify(self, bearer: Bearer, given: GivenProof) -> Use:
        match given.kind:
            case ProofKind.PASSWORD:
                return await self._verify_password(bearer, given)
            case ProofKind.TOTP_CODE:
                return await self._verify_totp_code(bearer, given.value)
            case ProofKind.RECOVERY_CODE:
                return await self._verify_recovery_code(bearer, given.value)

    async def _verify_password(self, bearer: Bearer, given: GivenProof) -> Use:
        username_key = bearer.standing.username_key
        async with self._hasher.place() as place:
            await self._throttle.spend_try(Factor.PASSWORD, username_key)
            # No connection is held while the hash runs.
            credential = await passwords.find(self._database, username_key=username_key)
            verified = credential.hash if credential else None
            if not await place.verify(verified, given.value, typed=given.typed) or verified is None:
                raise NotAuthorized
            rehashed = await place.hash(given.value) if self._hasher.needs_rehash(verified) else None

        async def use(executor: Executor, user: User, _now: datetime) -> None:
            if not await passwords.has_hash(executor, user_id=user.user_id, hash_=verified):
                raise Conflict(retry_after=RETRY_CONFLICT)
            await self._throttle.forget(executor, username_key, Factor.PASSWORD)
            if rehashed is not None:
                await passwords.rehash(executor, user_id=user.user_id, verified=verified, hash_=rehashed)

        return use

    async def _verify_totp_code(self, bearer: Bearer, code: str) -> Use:
        matched = await self._totp.match_own(bearer, code)
        return lambda executor, user, now: self._totp.accept(executor, user, matched, now)

    async def _verify_recovery_code(self, bearer: Bearer, code: str) -> Use:
        if not await recovery_codes.count(self._database, user_id=bearer.standing.user_id):
            raise MfaNotEnrolled
        await self._throttle.spend_try(Factor.RECOVERY_CODE, bearer.standing.username_key)
        return lambda executor, user, now: self._recovery.accept(executor, user, code, now)
