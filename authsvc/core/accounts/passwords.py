"""Forgotten and changed passwords."""

from __future__ import annotations

from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import AccountsSettings, MfaMode, MfaType
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action, Factor, Throttle
from authsvc.core.accounts.password_policy import PasswordPolicy, own_words
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.factors import rules as factors
from authsvc.core.messages.codes import RESET_PASSWORD, CodeDelivery, CodeRef, Codes, address_of, delivery_of
from authsvc.core.messages.kinds import PasswordChanged
from authsvc.core.messages.notices import Notices, addressed
from authsvc.core.sessions.bearers import Bearer, Bearers, event_of
from authsvc.core.sessions.ends import end_all
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.tokens import new_id
from authsvc.domain import Medium, User, UserId, UsernameKey
from authsvc.errors import CodeExpired, Conflict, InvalidFields, InvalidPassword, NotAuthorized, Violation
from authsvc.store import passwords, users
from authsvc.store.db import RETRY_CONFLICT, Database, Executor
from authsvc.store.factors import preferences


class Passwords:
    """Reset and update passwords."""

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        throttle: Throttle,
        codes: Codes,
        policy: PasswordPolicy,
        bearers: Bearers,
        notices: Notices,
        audit: Audit,
        settings: AccountsSettings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._throttle = throttle
        self._codes = codes
        self._policy = policy
        self._bearers = bearers
        self._notices = notices
        self._audit = audit
        # What is asked for nowhere keeps no password from being recovered.
        self._asked = frozenset(settings.mfa_types) if settings.mfa is not MfaMode.OFF else factors.NONE
        self._clock = clock

    async def start_reset(self, username_key: UsernameKey, caller: Caller) -> CodeDelivery:
        """Send a reset code to an account's verified address; other names are answered alike and sent nothing.

        Where the address is the account's only second factor, the code goes to its verified phone number, if any.

        Raises:
            LimitExceeded: too many codes for this name, from this source or in all.
        """
        await self._throttle.spend_call(Action.RESET, caller)
        await self._codes.spend_send(RESET_PASSWORD, username_key)
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            # A change of the address comes before as a whole, or ends this code: none must live on at a former address.
            user = await users.lock_name(transaction, username_key=username_key)
            medium = await self._recovery_medium(transaction, user)
            await self._codes.issue(
                transaction,
                CodeRef(RESET_PASSWORD, username_key),
                addressed(user, address_of(user, medium)) if user and medium and not user.disabled_at else None,
                now=now,
                medium=medium or Medium.EMAIL,
            )
            event = AuditEvent(AuditKind.RESET_PASSWORD, caller, user.user_id if user else None)
            await self._audit.record(transaction, event)
        if user is not None and medium is not None:
            return delivery_of(user, medium)
        may_be_phone = MfaType.EMAIL in self._asked
        return self._codes.delivery(username_key, user.email if user else None, may_be_phone=may_be_phone)

    async def send_code(self, executor: Executor, user: User, now: datetime) -> CodeDelivery | None:
        """Send a reset code to a user whom an operator asks for a new password; None if there is nowhere to send one.

        Happens in a transaction that holds the user's row, and is counted against no limit.
        """
        medium = await self._recovery_medium(executor, user)
        if medium is None or user.disabled_at is not None:
            return None
        to = addressed(user, address_of(user, medium))
        ref = CodeRef(RESET_PASSWORD, user.username_key)
        await self._codes.issue(executor, ref, to, now=now, medium=medium)
        return delivery_of(user, medium)

    async def confirm_reset(self, username_key: UsernameKey, code: str, new_password: str, caller: Caller) -> None:
        """Set a new password with a reset code; end all sessions and half-done sign-ins.

        Raises:
            InvalidPassword: the new password breaks the policy; the code can still be used.
            CodeMismatch, CodeExpired: see `Codes.try_code`.
            LimitExceeded: too many tries from this source or for this name.
            Overloaded: too many hashes wait.
        """
        field, ref = "new_password", CodeRef(RESET_PASSWORD, username_key)
        password = self._policy.new(new_password, field=field, own_words=own_words(username_key, None))
        await self._throttle.spend_call(Action.RESET, caller)
        async with self._audit.failures(AuditKind.CONFIRM_RESET_PASSWORD, caller, username_key=username_key):
            async with self._hasher.place() as place:
                await self._codes.try_code(ref, code)
                user = await users.find(self._database, username_key=username_key)
                if user is None:
                    raise CodeExpired
                try:
                    self._policy.new(new_password, field=field, own_words=own_words(username_key, user.email))
                except InvalidPassword:
                    await self._codes.forgive(ref, code)
                    raise
                hash_ = await place.hash(password.normal)
            now = self._clock.now()
            async with self._database.transaction() as transaction:
                locked = await users.lock(transaction, user_id=user.user_id)
                if locked is None:
                    raise CodeExpired
                medium = await self._codes.consume(transaction, ref, code, now=now)
                await passwords.put(transaction, user_id=user.user_id, hash_=hash_, now=now, recovered_by=medium)
                await users.finish_reset(transaction, user_id=user.user_id)
                await end_all(transaction, user.user_id, now)
                await self._throttle.forget(transaction, username_key, Factor.PASSWORD)
                await self._notices.tell(transaction, locked, PasswordChanged(), now=now)
                event = AuditEvent(AuditKind.CONFIRM_RESET_PASSWORD, caller, user.user_id)
                await self._audit.record(transaction, event)

    async def update(self, bearer: Bearer, previous: str, proposed: str) -> None:
        """Change the password; end the user's other sessions and half-done sign-ins.

        Raises:
            ReauthenticationRequired: the authentication is too old.
            InvalidPassword: the proposed password breaks the policy, or is the previous one.
            NotAuthorized: the previous password is wrong.
            LimitExceeded: too many wrong passwords for this account.
            Overloaded: too many hashes wait.
            Conflict: the password was changed at the same time.
        """
        self._bearers.require_recent(bearer)
        standing = bearer.standing
        field = "proposed_password"
        current = await users.find_by_id(self._database, user_id=standing.user_id)
        words = own_words(standing.username_key, current.email if current else None)
        password = self._policy.new(proposed, field=field, own_words=words)
        try:
            normal = self._policy.parse(previous, field="previous_password").normal
        except InvalidFields as error:
            raise NotAuthorized from error
        # Whether it is the present one or not: nothing was guessed, so there is nothing to count.
        if normal == password.normal:
            raise InvalidPassword(violations=(Violation(field, "REUSED", "must not be the previous password"),))
        async with self._audit.failures(
            AuditKind.UPDATE_PASSWORD, bearer.caller, user_id=standing.user_id, session_id=standing.session_id
        ):
            async with self._hasher.place() as place:
                await self._throttle.spend_try(Factor.PASSWORD, standing.username_key)
                credential = await passwords.find(self._database, username_key=standing.username_key)
                verified = credential.hash if credential else None
                if not await place.verify(verified, normal) or verified is None:
                    raise NotAuthorized
                hash_ = await place.hash(password.normal)
            now = self._clock.now()
            async with self._database.transaction() as transaction:
                user = await self._bearers.hold(transaction, bearer)
                if not await passwords.has_hash(transaction, user_id=user.user_id, hash_=verified):
                    raise Conflict(retry_after=RETRY_CONFLICT)
                await passwords.put(transaction, user_id=user.user_id, hash_=hash_, now=now)
                await end_all(transaction, user.user_id, now, keep=standing.session_id)
                await self._throttle.forget(transaction, user.username_key, Factor.PASSWORD)
                await self._notices.tell(transaction, user, PasswordChanged(), now=now)
                await self._audit.record(transaction, event_of(bearer, AuditKind.UPDATE_PASSWORD))

    async def _recovery_medium(self, executor: Executor, user: User | None) -> Medium | None:
        # The same statement for a name that doesn't exist.
        state = await preferences.find(executor, user_id=user.user_id if user else UserId(new_id()))
        if user is None:
            return None
        enrolled = factors.enrolled(user, state)
        medium = factors.recovery_medium(user, enrolled, self._asked)
        return Medium(medium) if medium else None
