"""Sign-up: a new account, its code by mail, its confirmation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action, Factor, Throttle
from authsvc.core.accounts.attributes import AttributeRules, Attributes
from authsvc.core.accounts.login import Identities
from authsvc.core.accounts.password_policy import Password, PasswordPolicy, own_words
from authsvc.core.audit.trail import Audit, AuditEvent, AuditKind
from authsvc.core.fields import Fields
from authsvc.core.messages.codes import SIGN_UP, CodeDelivery, CodeRef, Codes
from authsvc.core.messages.kinds import Recipient
from authsvc.core.messages.notices import recipient
from authsvc.core.names import Username, parse_email, parse_username
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.domain import EmailKey, User, UserId, UsernameKey, UserStatus
from authsvc.errors import (
    CodeExpired,
    CodeMismatch,
    DomainError,
    InvalidFields,
    LimitExceeded,
    UsernameExists,
    Violation,
)
from authsvc.store import passwords, users
from authsvc.store.db import Database, Executor

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{16,64}")


@dataclass(frozen=True, slots=True)
class SignUpOutcome:
    """Hold the new account's id, and where its code is on its way to unless it needs none."""

    user_id: UserId
    code_delivery: CodeDelivery | None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Hold the valid, normalised fields of a sign-up."""

    username: Username
    password: Password
    attributes: Attributes
    by_email: bool

    def __repr__(self) -> str:
        return f"NewAccount({self.username.display!r})"


class SignUp:
    """Make and confirm accounts."""

    def __init__(
        self,
        database: Database,
        ring: KeyRing,
        hasher: PasswordHasher,
        throttle: Throttle,
        codes: Codes,
        policy: PasswordPolicy,
        audit: Audit,
        identities: Identities,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._ring = ring
        self._hasher = hasher
        self._throttle = throttle
        self._codes = codes
        self._policy = policy
        self._audit = audit
        self._identities = identities
        self._settings = settings.accounts
        self._rules = AttributeRules.of(settings)
        self._clock = clock

    async def start(
        self,
        username: str,
        password: str,
        attributes: Mapping[str, str],
        caller: Caller,
        *,
        request_id: str = "",
    ) -> SignUpOutcome:
        """Make an unconfirmed account and send its code; a repeat by `request_id` is answered like the first.

        Raises:
            InvalidFields, InvalidPassword: every broken rule at once.
            UsernameExists: the name is taken, or reserved by a sign-up whose code has not expired.
            LimitExceeded: too many sign-ups from this source or in all.
            Overloaded: too many hashes wait.
        """
        user_id = UserId(new_id())
        account = self._parse(user_id, username, password, attributes, request_id)
        key, email = account.username.key, account.attributes.email
        await self._throttle.spend_call(Action.SIGN_UP, caller)
        repeated = await self._find_repeated(account, request_id)
        if repeated is not None:
            return repeated
        now = self._clock.now()
        standing = await users.find(self._database, username_key=key)
        # Usernames are public: no need to hash for a taken one. The insert below decides.
        if standing is not None and (standing.reserved_until is None or standing.reserved_until > now):
            return await self._repeated_or_taken(account, request_id)
        async with self._hasher.place() as place:
            hash_ = await place.hash(account.password.normal)
        needs_code = self._settings.confirm_sign_up and email is not None
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            is_new = await users.insert(
                transaction,
                user=User(
                    user_id=user_id,
                    username=account.username.display,
                    username_key=key,
                    status=UserStatus.UNCONFIRMED if needs_code else UserStatus.CONFIRMED,
                    email=email.address if email else None,
                    email_key=email.key if email else None,
                    attributes=account.attributes.others,
                    created_at=now,
                    reserved_until=self._codes.expiry(SIGN_UP, now) if needs_code else None,
                ),
                sign_up_request=self._ring.digest(Purpose.SIGN_UP_REQUEST, request_id) if request_id else None,
            )
            if is_new:
                await self._complete(transaction, user_id, account, hash_, needs_code=needs_code, now=now)
                await self._audit.record(transaction, AuditEvent(AuditKind.SIGN_UP, caller, user_id))
        if not is_new:
            return await self._repeated_or_taken(account, request_id)
        delivery = self._codes.delivery(key, email.address) if needs_code and email else None
        return SignUpOutcome(user_id, delivery)

    async def confirm(
        self, username_keys: Sequence[UsernameKey], code: str, caller: Caller, *, by_email: bool = False
    ) -> None:
        """Confirm the account whose code it is, and its e-mail address.

        `by_email`: the names are those of the sign-ups by one address. If there are several, whoever reads its mail
        can't tell whose code came, and so whose password they would make good: the account needs a new one.

        Raises:
            CodeMismatch: the code is wrong.
            CodeExpired: it is used, replaced, burned, expired or was never issued.
            LimitExceeded: too many tries from this source or for this name.
        """
        await self._throttle.spend_call(Action.SIGN_UP, caller)
        async with self._audit.failures(AuditKind.CONFIRM_SIGN_UP, caller, username_key=username_keys[0]):
            username_key = await self._try_codes(username_keys, code)
            now = self._clock.now()
            async with self._database.transaction() as transaction:
                # The account's row before the code's, as everywhere: a code resent meanwhile must wait, not deadlock.
                user_id = await users.confirm(transaction, username_key=username_key, now=now, by_email=by_email)
                if user_id is None:
                    raise CodeExpired
                await self._codes.consume(transaction, CodeRef(SIGN_UP, username_key), code, now=now)
                await self._audit.record(transaction, AuditEvent(AuditKind.CONFIRM_SIGN_UP, caller, user_id))

    async def resend(self, username_key: UsernameKey, caller: Caller) -> CodeDelivery:
        """Send a new code to an unconfirmed account; others are answered alike and sent nothing.

        Raises:
            LimitExceeded: too many codes for this name, from this source or in all.
        """
        await self._throttle.spend_call(Action.RESEND, caller)
        await self._codes.spend_send(SIGN_UP, username_key)
        addressee = await users.find(self._database, username_key=username_key)
        may_mail = await self._throttle.spend_address(addressee.email_key if addressee else None)
        now = self._clock.now()
        async with self._database.transaction() as transaction:
            # Before the account is read: a sign-up that takes the name over meanwhile must be seen, or its code would
            # be replaced by one that is sent to the former account's address.
            await users.reserve_username(
                transaction,
                username_key=username_key,
                until=self._codes.expiry(SIGN_UP, now),
                at_most=self._settings.unconfirmed_purge,
            )
            user = await users.find(transaction, username_key=username_key)
            await self._send_code(
                transaction,
                username_key,
                recipient(user) if may_mail and user and user.status is UserStatus.UNCONFIRMED else None,
                email_key=user.email_key if user else None,
                now=now,
            )
            event = AuditEvent(AuditKind.SEND_SIGN_UP_CODE, caller, user.user_id if user else None)
            await self._audit.record(transaction, event)
        return self._codes.delivery(username_key, user.email if user else None)

    async def _try_codes(self, username_keys: Sequence[UsernameKey], code: str) -> UsernameKey:
        """Count a try at the code of each name, until it is right; return whose it is.

        Raises:
            CodeMismatch, CodeExpired, LimitExceeded: it is nobody's; what the first name is told.
        """
        refusals: list[DomainError] = []
        for username_key in username_keys:
            try:
                await self._codes.try_code(CodeRef(SIGN_UP, username_key), code)
            except (CodeMismatch, CodeExpired, LimitExceeded) as refusal:
                refusals.append(refusal)
            else:
                return username_key
        raise refusals[0]

    async def _complete(
        self, executor: Executor, user_id: UserId, account: NewAccount, hash_: str, *, needs_code: bool, now: datetime
    ) -> None:
        """Give a new account its password and its code."""
        key, email = account.username.key, account.attributes.email
        await passwords.put(executor, user_id=user_id, hash_=hash_, now=now)
        if needs_code and email is not None:
            user = await users.find_by_id(executor, user_id=user_id)
            # Counted only now: of sign-ups sent twice at once, the one that makes the account sends the mail.
            may_mail = await self._throttle.spend_address(email.key)
            await self._send_code(executor, key, recipient(user) if may_mail else None, email_key=email.key, now=now)
        # What was guessed at the name before belongs to whoever had it.
        await self._throttle.forget(executor, key, *Factor)

    async def _repeated_or_taken(self, account: NewAccount, request_id: str) -> SignUpOutcome:
        """Answer a sign-up that another one was before: alike, if it was this one, sent twice at once.

        Raises:
            UsernameExists: it was another one.
        """
        repeated = await self._find_repeated(account, request_id)
        if repeated is None:
            raise UsernameExists
        return repeated

    async def _find_repeated(self, account: NewAccount, request_id: str) -> SignUpOutcome | None:
        """Find what a sign-up with the same request id made.

        Raises:
            InvalidFields: it was for another name.
        """
        if not request_id:
            return None
        digests = self._ring.digests(Purpose.SIGN_UP_REQUEST, request_id)
        user = await users.find_by_sign_up_request(self._database, digests=digests)
        if user is None:
            return None
        email = account.attributes.email
        is_same = email is not None and email.key == user.email_key if account.by_email else False
        if not is_same and user.username_key != account.username.key:
            violation = Violation("request_id", "USED", "must be a new one: it was used for another sign-up")
            raise InvalidFields(violations=(violation,))
        # The address of the sign-up, not the one that the account may have by now: whoever retries is told nothing new.
        needs_code = self._settings.confirm_sign_up and email is not None
        delivery = self._codes.delivery(user.username_key, email.address) if needs_code and email else None
        return SignUpOutcome(user.user_id, delivery)

    async def _send_code(
        self,
        executor: Executor,
        username_key: UsernameKey,
        to: Recipient | None,
        *,
        email_key: EmailKey | None,
        now: datetime,
    ) -> None:
        owner = await users.find_email_owner(executor, email_key=email_key)
        told = recipient(owner)
        # A disabled owner is not told, and keeps the address all the same: its mailbox gets no code.
        to = to if owner is None or told else None
        await self._codes.issue(executor, CodeRef(SIGN_UP, username_key), to, now=now, owner=told)

    def _parse(
        self, user_id: UserId, username: str, password: str, attributes: Mapping[str, str], request_id: str
    ) -> NewAccount:
        fields = Fields()
        login = fields.take(self._identities.parse, username)
        by_email = login.valid is not None and login.valid.is_email
        # Who signs up by an address is named by the id; the address is one attribute, and may change.
        name = Username(str(user_id), UsernameKey(str(user_id)))
        if login.valid is not None and not by_email:
            name = parse_username(username)
        given = {"email": username, **attributes} if by_email else attributes
        about = fields.take(self._rules.parse, given, required=self._rules.required_of_users)
        words = own_words(name.key if login.valid else "", given.get("email"))
        new = fields.take(self._policy.new, password, field="password", own_words=words)
        fields.require(
            not request_id or _REQUEST_ID.fullmatch(request_id) is not None,
            "request_id",
            "REQUEST_ID",
            "must have 16 to 64 of A-Z a-z 0-9 . _ -",
        )
        is_same = not by_email or about.valid is None or about.valid.email == parse_email(username)
        fields.require(is_same, "username", "EMAIL", 'must be the same address as attributes["email"]')
        fields.check()
        return NewAccount(name, new.value, about.value, by_email=by_email)
