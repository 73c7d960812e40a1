"""Forgotten passwords: a code, and a new password by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action
from authsvc.core.accounts.calls import Unauthenticated
from authsvc.core.accounts.login import Logins
from authsvc.core.accounts.password_policy import Password, PasswordPolicy, own_words
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.rules import FactorRules
from authsvc.core.fields import Fields, parse_given
from authsvc.core.messages.codes import RESET_PASSWORD, CodeDelivery, CodeRef, Codes, address_of, delivery_of
from authsvc.core.messages.notices import addressed
from authsvc.core.names import parse_code
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.domain import Medium, User, UserId, UsernameKey
from authsvc.errors import CodeExpired, InvalidPassword
from authsvc.store import users
from authsvc.store.db import Database, Executor

_FIELD = "new_password"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResetCodes:
    """Send reset codes."""

    codes: Codes
    calls: Unauthenticated
    logins: Logins
    rules: FactorRules

    async def start(self, username: str, caller: Caller) -> CodeDelivery:
        """Send a reset code to an account's verified address; other names are answered alike and sent nothing.

        Where the address is the account's only second factor, the code goes to its verified phone number, if any.

        Raises:
            InvalidFields: what is given can be no name.
            LimitExceeded: too many codes for this name, from this source or in all.
        """
        await self.calls.count(Action.RESET, caller)
        username_key = await self.logins.resolve(self.logins.parse(username), verified_only=True)
        await self.codes.spend_send(RESET_PASSWORD, username_key)
        async with self.calls.undertake(AuditKind.RESET_PASSWORD, caller) as undertaking:
            executor = undertaking.executor
            # A change of the address comes before as a whole, or ends this code: none must live on at a former address.
            user = await users.lock_name(executor, username_key=username_key)
            medium = await self.rules.find_recovery_medium(executor, user)
            await self.codes.issue(
                executor,
                CodeRef(RESET_PASSWORD, username_key),
                addressed(user, address_of(user, medium)) if user and medium and not user.disabled_at else None,
                now=undertaking.now,
                medium=medium or Medium.EMAIL,
            )
            undertaking.user_id = user.user_id if user else None
        if user is not None and medium is not None:
            return delivery_of(user, medium)
        may_be_phone = self.rules.may_recover_by_phone
        return self.codes.delivery(username_key, user.email if user else None, may_be_phone=may_be_phone)

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


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordReset:
    """Set passwords by reset codes."""

    database: Database
    hasher: PasswordHasher
    codes: Codes
    policy: PasswordPolicy
    passwords: Passwords
    calls: Unauthenticated
    logins: Logins

    async def confirm(self, username: str, code: str, new_password: str, *, caller: Caller) -> None:
        """Set a new password with a reset code; end all sessions and half-done sign-ins.

        Raises:
            InvalidFields: every broken rule at once.
            InvalidPassword: the new password breaks the policy; the code can still be used.
            CodeMismatch, CodeExpired: see `Codes.try_code`.
            LimitExceeded: too many tries from this source or for this name.
            Overloaded: too many hashes wait.
        """
        await self.calls.count(Action.RESET, caller)
        fields = Fields()
        login = fields.take(self.logins.parse, username)
        digits = fields.take(parse_code, code, field="confirmation_code")
        fields.take(parse_given, new_password, field=_FIELD)
        fields.check()
        username_key = await self.logins.resolve(login.value, verified_only=True)
        # The address is told to nobody before the code is right, not even as a word that the password must not have.
        # A field too late: a code is in a mail, and nothing to be used again and again.
        words = own_words(username_key, None) | {digits.value}
        new = self.policy.new(new_password, field=_FIELD, own_words=words)
        async with self.calls.tries(AuditKind.CONFIRM_RESET_PASSWORD, caller, username_key):
            user_id, hash_ = await self._verify(username_key, digits.value, new)
            async with self.calls.undertake(AuditKind.CONFIRM_RESET_PASSWORD, caller) as undertaking:
                executor, now = undertaking.executor, undertaking.now
                user = await users.lock(executor, user_id=user_id)
                if user is None:
                    raise CodeExpired
                undertaking.user_id = user_id
                ref = CodeRef(RESET_PASSWORD, username_key)
                medium = await self.codes.consume(executor, ref, digits.value, now=now)
                await users.finish_reset(executor, user_id=user_id)
                await self.passwords.replace(executor, user, hash_, now=now, recovered_by=medium)

    async def _verify(self, username_key: UsernameKey, code: str, new: Password) -> tuple[UserId, str]:
        """Count a try at the code, and hash the new password; return whose it is, and the hash."""
        ref = CodeRef(RESET_PASSWORD, username_key)
        async with self.hasher.place() as place:
            await self.codes.try_code(ref, code)
            user = await users.find(self.database, username_key=username_key)
            if user is None:
                raise CodeExpired
            try:
                self.policy.new(new.typed, field=_FIELD, own_words=own_words(username_key, user.email))
            except InvalidPassword:
                await self.codes.forgive(ref, code)
                raise
            return user.user_id, await place.hash(new.normal)
