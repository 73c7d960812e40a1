"""New passwords in the place of former ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.core.access.gate import Gate
from authsvc.core.access.lanes import lane_of_session
from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.accounts.password_policy import Password, PasswordPolicy, own_words
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import PASSWORD
from authsvc.core.fields import Fields, parse_given
from authsvc.core.messages.kinds import PasswordChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.sessions.bearers import Bearer
from authsvc.core.sessions.sessions import Sessions, Tokens
from authsvc.core.sessions.user_sessions import end_all
from authsvc.domain import Medium, SessionId, User
from authsvc.errors import InvalidFields, InvalidPassword, NotAuthorized, Violation
from authsvc.store import passwords
from authsvc.store.db import Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class Passwords:
    """Put passwords in the place of former ones, and end what was begun by those."""

    throttle: Throttle
    notices: Notices

    async def replace(
        self,
        executor: Executor,
        user: User,
        hash_: str,
        *,
        now: datetime,
        keep: SessionId | None = None,
        recovered_by: Medium | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        """Set a password and tell the user by mail, in a transaction that holds the account's row.

        All sessions end but one to `keep`. `recovered_by` is the medium of the code that the password was set with. One
        that an operator gives for a while ends at `expires_at`.
        """
        user_id = user.user_id
        await passwords.put(
            executor, user_id=user_id, hash_=hash_, now=now, expires_at=expires_at, recovered_by=recovered_by
        )
        await end_all(executor, user_id, now, keep=keep)
        await self.throttle.open(executor, user.names, PASSWORD.guarded)
        await self.notices.tell(executor, user, PasswordChanged(), now=now)


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordUpdate:
    """Update the passwords of signed-in users."""

    gate: Gate
    policy: PasswordPolicy
    passwords: Passwords
    signed_in: SignedIn
    sessions: Sessions

    async def update(self, bearer: Bearer, previous: str, proposed: str) -> Tokens:
        """Change the password; end the user's other sessions and half-done sign-ins.

        The previous password is a fresh proof: return new tokens, the only ones of this session that stand for it.

        Raises:
            InvalidFields: one of the two is missing.
            ReauthenticationRequired: the authentication is too old.
            InvalidPassword: the proposed password breaks the policy, or is the previous one.
            NotAuthorized: the previous password is wrong.
            LimitExceeded: too many wrong passwords for this account.
            Overloaded: too many hashes wait.
            Conflict: the password was changed at the same time.
        """
        fields = Fields()
        fields.take(parse_given, previous, field="previous_password")
        fields.take(parse_given, proposed, field="proposed_password")
        fields.check()
        self.signed_in.require_recent(bearer)
        former, new = await self._parse(bearer, previous, proposed)
        async with self.signed_in.tries(bearer, AuditKind.UPDATE_PASSWORD):
            lane = lane_of_session(bearer.standing.session_id)
            async with self.gate.guess_password(bearer.standing.username_key, lane) as guess:
                verified = await guess.require(former, rehashes=False)
                hash_ = await guess.hash(new)
            async with self.signed_in.change(bearer, AuditKind.UPDATE_PASSWORD, is_sensitive=True) as change:
                tx, user, now = change.executor, change.user, change.now
                await verified.require_held(tx, user)
                renewed = await self.sessions.renew(tx, change.bearer, PASSWORD.kind, now=now)
                keep = bearer.standing.session_id
                await self.passwords.replace(tx, user, hash_, now=now, keep=keep)
        return await self.sessions.further_tokens(user, renewed.standing, renewed.refresh_token)

    async def _parse(self, bearer: Bearer, previous: str, proposed: str) -> tuple[Password, Password]:
        field, user = "proposed_password", await self.signed_in.find(bearer)
        new = self.policy.new(proposed, field=field, own_words=own_words(user.username_key, user.email))
        try:
            former = self.policy.parse(previous, field="previous_password")
        except InvalidFields as error:
            raise NotAuthorized from error
        # Whether it is the present one or not: nothing was guessed, so there is nothing to count.
        if former.normal == new.normal:
            raise InvalidPassword(violations=(Violation(field, "REUSED", "must not be the previous password"),))
        return former, new
