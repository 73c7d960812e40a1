"""Forgotten passwords: a code, and a new password by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from authsvc.core.access.caller import Caller
from authsvc.core.access.lanes import Lanes
from authsvc.core.access.throttle import Action
from authsvc.core.accounts.calls import Unauthenticated
from authsvc.core.accounts.login import Logins
from authsvc.core.accounts.password_policy import Password, PasswordPolicy, own_words
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.accounts.reset_sessions import Naming, ResetSessions, ResetTry, reset_ref
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.rules import FactorRules
from authsvc.core.fields import Fields, parse_given, parse_handle
from authsvc.core.messages.codes import RESET_PASSWORD, CodeDelivery, CodeRef, Codes, address_of, delivery_of
from authsvc.core.messages.notices import addressed
from authsvc.core.names import parse_code
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.domain import Medium, User, UserId, UsernameKey
from authsvc.errors import CodeExpired, InvalidPassword
from authsvc.store import users
from authsvc.store.db import Database, Executor

_FIELD = "new_password"


@dataclass(frozen=True, slots=True)
class ResetStarted:
    """Hold where a reset code is on its way to, and the session for who gives it back."""

    delivery: CodeDelivery
    session: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResetAnswer:
    """Hold what sets a new password, as sent; `session` may be empty."""

    username: str
    code: str = field(repr=False)
    new_password: str = field(repr=False)
    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResetCodes:
    """Send reset codes."""

    codes: Codes
    sessions: ResetSessions
    calls: Unauthenticated
    lanes: Lanes
    logins: Logins
    rules: FactorRules

    async def start(self, username: str, caller: Caller) -> ResetStarted:
        """Send a reset code to an account's verified address; other names are answered alike and sent nothing.

        Where the address is the account's only second factor, the code goes to its verified phone number, if any.

        Raises:
            InvalidFields: what is given can be no name.
            LimitExceeded: too many codes for this name in this lane or for this source, from this source, or in all.
        """
        admission = await self.calls.admit(Action.RESET, caller)
        login = self.logins.parse(username)
        typed = login.username.key
        username_key = await self.logins.resolve(login)
        lane = await self.lanes.find(username_key, caller)
        admission.require(lane)
        await self.codes.spend_send_in(lane, RESET_PASSWORD, typed, caller=caller)
        async with self.calls.undertake(AuditKind.RESET_PASSWORD, caller) as undertaking:
            executor = undertaking.executor
            # A change of the address comes before as a whole, or ends this code: none must live on at a former address.
            user = await users.lock_name(executor, username_key=username_key)
            medium = await self.rules.find_recovery_medium(executor, user)
            ref, carrier = reset_ref(lane, typed), medium or Medium.EMAIL
            issued = await self.codes.issue(
                executor,
                ref,
                addressed(user, address_of(user, medium)) if user and medium and not user.disabled_at else None,
                now=undertaking.now,
                medium=carrier,
            )
            session = await self.sessions.open(executor, ref, issued, medium=carrier, lane=lane)
            undertaking.user_id = user.user_id if user else None
        return ResetStarted(self._delivery(username_key, user, medium), session)

    async def send(self, executor: Executor, user: User, now: datetime) -> CodeDelivery | None:
        """Send a reset code to a user whom an operator asks for a new password; None if there is nowhere to send one.

        Happens in a transaction that holds the user's row, and is counted against no limit.
        """
        medium = await self.rules.find_recovery_medium(executor, user)
        if medium is None or user.disabled_at is not None:
            return None
        to = addressed(user, address_of(user, medium))
        ref = CodeRef(RESET_PASSWORD, user.username_key)
        await self.codes.issue(executor, ref, to, now=now, medium=medium)
        return delivery_of(user, medium)

    def _delivery(self, username_key: UsernameKey, user: User | None, medium: Medium | None) -> CodeDelivery:
        if user is not None and medium is not None:
            return delivery_of(user, medium)
        may_be_phone = self.rules.may_recover_by_phone
        return self.codes.delivery(username_key, user.email if user else None, may_be_phone=may_be_phone)


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordReset:
    """Set passwords by reset codes."""

    database: Database
    hasher: PasswordHasher
    sessions: ResetSessions
    policy: PasswordPolicy
    passwords: Passwords
    calls: Unauthenticated
    lanes: Lanes
    logins: Logins

    async def confirm(self, answer: ResetAnswer, caller: Caller) -> None:
        """Set a new password with a reset code; end all sessions, half-done sign-ins and other resets.

        Raises:
            InvalidFields: every broken rule at once.
            InvalidPassword: the new password breaks the policy; the code can still be used.
            CodeMismatch, CodeExpired: see `ResetTry.spend`.
            LimitExceeded: too many tries from this source or for this name.
            Overloaded: too many hashes wait.
        """
        admission = await self.sessions.count(answer.session, caller)
        fields = Fields()
        login = fields.take(self.logins.parse, answer.username)
        digits = fields.take(parse_code, answer.code, field="confirmation_code")
        fields.take(parse_given, answer.new_password, field=_FIELD)
        session = fields.take(parse_handle, answer.session, field="session") if answer.session else None
        fields.check()
        typed = login.value.username.key
        naming = Naming(typed, await self.logins.resolve(login.value))
        # Name and address are told to nobody before the code is right, not even as words that the password must not
        # have. The code is a field too late: it is in a mail, and nothing to be used again and again.
        words = own_words(typed, None) | {digits.value}
        new = self.policy.new(answer.new_password, field=_FIELD, own_words=words)
        code_try = await self.sessions.take(session.value if session else "", naming, caller, admission=admission)
        async with self.calls.tries(AuditKind.CONFIRM_RESET_PASSWORD, caller, naming.username_key):
            user_id, hash_ = await self._verify(code_try, naming, code=digits.value, new=new)
            async with self.calls.undertake(AuditKind.CONFIRM_RESET_PASSWORD, caller) as undertaking:
                executor, now = undertaking.executor, undertaking.now
                user = await users.lock(executor, user_id=user_id)
                if user is None:
                    raise CodeExpired
                undertaking.user_id = user_id
                medium = await code_try.consume(executor, digits.value, now=now)
                await users.finish_reset(executor, user_id=user_id)
                await self.lanes.remember_recovered(executor, user, caller, now=now)
                await self.sessions.end_all(executor, user.names)
                await self.passwords.replace(executor, user, hash_, now=now, recovered_by=medium)

    async def _verify(self, code_try: ResetTry, naming: Naming, *, code: str, new: Password) -> tuple[UserId, str]:
        """Count a try at the code, and hash the new password; return whose it is, and the hash."""
        async with self.hasher.place() as place:
            await code_try.spend(code)
            user = await users.find(self.database, username_key=naming.username_key)
            if user is None:
                raise CodeExpired
            try:
                self.policy.new(new.typed, field=_FIELD, own_words=own_words(user.username_key, user.email))
            except InvalidPassword:
                await code_try.forgive(code)
                raise
            return user.user_id, await place.hash(new.normal)
