"""Sign-up: what it must say, and the account that it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.caller import Caller
from authsvc.core.access.throttle import Action, Throttle
from authsvc.core.accounts.attributes import AttributeRules, Attributes
from authsvc.core.accounts.calls import Unauthenticated, Undertaking
from authsvc.core.accounts.login import Logins
from authsvc.core.accounts.password_policy import Password, PasswordPolicy, own_words
from authsvc.core.accounts.sign_up_codes import SignUpCodes
from authsvc.core.accounts.username_policy import UsernamePolicy
from authsvc.core.audit.trail import AuditKind
from authsvc.core.fields import Fields, refused
from authsvc.core.messages.codes import SIGN_UP, CodeDelivery, CodeRef
from authsvc.core.messages.notices import recipient
from authsvc.core.names import EmailAddress, Username, mask_email
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.domain import User, UserId, UsernameKey, UserStatus
from authsvc.errors import UsernameExists, Violation
from authsvc.store import passwords, users
from authsvc.store.db import Database

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{16,64}")


@dataclass(frozen=True, slots=True)
class SignUpOutcome:
    """Hold the new account's id, and where its code is on its way to unless it needs none."""

    user_id: UserId
    code_delivery: CodeDelivery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """Hold the valid, normalised fields of a sign-up.

    `confirms` is the address that a code is sent to, if one has to be. `request` are the digests of the request id,
    under every master key, the one to store first; none if there is no request id.
    """

    user_id: UserId
    username: Username
    password: Password
    attributes: Attributes
    by_email: bool
    confirms: EmailAddress | None
    request: list[bytes]

    def __repr__(self) -> str:
        return f"NewAccount({self.username.display!r})"

    @property
    def typed(self) -> UsernameKey:
        """Return the name that its user types."""
        email = self.attributes.email
        return UsernameKey(email.key) if self.by_email and email else self.username.key


class SignUpRules:
    """Read what a sign-up says."""

    def __init__(self, *, ring: KeyRing, logins: Logins, policy: PasswordPolicy, settings: Settings) -> None:
        self._ring = ring
        self._logins = logins
        self._policy = policy
        self._attributes = AttributeRules.of(settings)
        self._names = UsernamePolicy(scripts=settings.accounts.username_scripts)
        self._confirms = settings.accounts.confirm_sign_up

    def parse(self, username: str, password: str, attributes: Mapping[str, str], *, request_id: str) -> NewAccount:
        """Return the account to be made.

        Raises:
            InvalidFields, InvalidPassword: every broken rule at once.
        """
        fields, user_id = Fields(), UserId(new_id())
        login = fields.take(self._logins.parse, username).valid
        if login is not None and login.email is None:
            fields.take(self._names.require_allowed, login.username)
        address = login.email if login else None
        name = login.username if login and address is None else Username.of_id(user_id)
        given = {"email": username, **attributes} if address else attributes
        about = fields.take(self._attributes.parse, given, required=self._attributes.required_of_users)
        words = own_words(name.key if login else "", given.get("email"))
        new = fields.take(self._policy.new, password, field="password", own_words=words)
        digests = fields.take(self._request, request_id)
        is_same = address is None or about.valid is None or about.valid.email == address
        fields.require(is_same, Violation("username", "EMAIL", 'must be the same address as attributes["email"]'))
        fields.check()
        return NewAccount(
            user_id=user_id,
            username=name,
            password=new.value,
            attributes=about.value,
            by_email=address is not None,
            confirms=about.value.email if self._confirms else None,
            request=digests.value,
        )

    def _request(self, request_id: str) -> list[bytes]:
        if not request_id:
            return []
        if not _REQUEST_ID.fullmatch(request_id):
            raise refused("request_id", "REQUEST_ID", "must have 16 to 64 of A-Z a-z 0-9 . _ -")
        return self._ring.digests(Purpose.SIGN_UP_REQUEST, request_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignUp:
    """Make accounts."""

    database: Database
    hasher: PasswordHasher
    throttle: Throttle
    calls: Unauthenticated
    codes: SignUpCodes
    rules: SignUpRules
    clock: Clock

    async def start(
        self, username: str, password: str, attributes: Mapping[str, str], *, request_id: str, caller: Caller
    ) -> SignUpOutcome:
        """Make an unconfirmed account and send its code; a repeat by `request_id` is answered like the first.

        Raises:
            InvalidFields, InvalidPassword: every broken rule at once.
            UsernameExists: the name is taken, or reserved by a sign-up whose code has not expired.
            LimitExceeded: too many sign-ups from this source or in all.
            Overloaded: too many hashes wait.
        """
        await self.calls.count(Action.SIGN_UP, caller)
        account = self.rules.parse(username, password, attributes, request_id=request_id)
        if repeated := await self._find_repeated(account):
            return repeated
        standing = await users.find(self.database, username_key=account.username.key)
        # Usernames are public: no need to hash for a taken one. The insert below decides.
        is_new = not standing or (standing.reserved_until is not None and standing.reserved_until <= self.clock.now())
        if is_new:
            async with self.hasher.place() as place:
                hash_ = await place.hash(account.password.normal)
            async with self.calls.undertake(AuditKind.SIGN_UP, caller) as undertaking:
                is_new = await self._make(undertaking, account, hash_)
        if is_new:
            return _outcome(account, account.user_id)
        # Another sign-up was before: answered alike, if it was this one, sent twice at once.
        if repeated := await self._find_repeated(account):
            return repeated
        raise UsernameExists

    async def _make(self, undertaking: Undertaking, account: NewAccount, hash_: str) -> bool:
        """Insert the account, and give it its password and its code; False if another one was before."""
        executor, now, email = undertaking.executor, undertaking.now, account.attributes.email
        user = User(
            user_id=account.user_id,
            username=account.username.display,
            username_key=account.username.key,
            status=UserStatus.UNCONFIRMED if account.confirms else UserStatus.CONFIRMED,
            email=email.address if email else None,
            email_key=email.key if email else None,
            attributes=account.attributes.others,
            created_at=now,
            reserved_until=self.codes.expiry(now) if account.confirms else None,
        )
        if not await users.insert(executor, user=user, sign_up_request=next(iter(account.request), None)):
            undertaking.is_void = True
            return False
        undertaking.user_id = user.user_id
        await passwords.put(executor, user_id=user.user_id, hash_=hash_, now=now)
        if account.confirms:
            # Counted only now: of sign-ups sent twice at once, the one that makes the account sends the mail.
            may_mail = await self.throttle.spend_address(account.confirms.key)
            to = recipient(user) if may_mail else None
            ref = CodeRef(SIGN_UP, user.username_key, typed=account.typed)
            await self.codes.send(executor, ref, to, email_key=user.email_key, now=now)
        # What was guessed at the name before belongs to whoever had it.
        await self.throttle.forget_all(executor, user.username_key)
        return True

    async def _find_repeated(self, account: NewAccount) -> SignUpOutcome | None:
        """Find what a sign-up with the same request id made.

        Raises:
            InvalidFields: it was for another name.
        """
        if not account.request:
            return None
        user = await users.find_by_sign_up_request(self.database, digests=account.request)
        if user is None:
            return None
        email = account.attributes.email
        is_same = email is not None and email.key == user.email_key if account.by_email else False
        if not is_same and user.username_key != account.username.key:
            raise refused("request_id", "USED", "must be a new one: it was used for another sign-up")
        return _outcome(account, user.user_id)


def _outcome(account: NewAccount, user_id: UserId) -> SignUpOutcome:
    # The address of the sign-up, not the one that the account may have by now: whoever retries is told nothing new.
    email = account.confirms
    return SignUpOutcome(user_id, CodeDelivery(mask_email(email.address)) if email else None)
