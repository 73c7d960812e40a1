"""Passwords that operators give: with an account they make, by an invitation that tells it, or outright."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.config import AccountsSettings
from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.attributes import AttributeRules, Attributes
from authsvc.core.accounts.lookup import NamedUser, find, lock, parse_user
from authsvc.core.accounts.password_policy import Password, PasswordPolicy, own_words
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import PASSWORD
from authsvc.core.fields import Fields, parse_given, refused
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.messages.notices import Notices
from authsvc.core.names import Username, mask_email, parse_username
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.tokens import new_id
from authsvc.domain import Medium, User, UserId, UsernameKey, UserStatus
from authsvc.errors import EmailExists, UsernameExists, Violation
from authsvc.store import challenges, passwords, users
from authsvc.store.db import Database, Executor
from authsvc.store.users import addresses


@dataclass(frozen=True, slots=True)
class Invitation:
    """Hold what an operator says of a new account; as sent, not validated.

    Without a `temporary_password` one is made by chance.
    """

    username: str
    attributes: Mapping[str, str]
    email_verified: bool
    phone_number_verified: bool
    temporary_password: str
    is_mailed: bool

    def __repr__(self) -> str:
        return "Invitation(…)"

    @property
    def claims(self) -> list[str]:
        """Return what is said to be verified, by the names of the fields."""
        said = {"email_verified": self.email_verified, "phone_number_verified": self.phone_number_verified}
        return [name for name, is_said in said.items() if is_said]


@dataclass(frozen=True, slots=True)
class _Account:
    username: Username
    attributes: Attributes = field(repr=False)
    password: Password


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordAdmin:
    """Give passwords: with a new account, with another invitation, and to an account as it stands."""

    database: Database
    hasher: PasswordHasher
    throttle: Throttle
    notices: Notices
    policy: PasswordPolicy
    passwords: Passwords
    changes: Changes
    rules: AttributeRules
    settings: AccountsSettings

    async def create_user(self, invitation: Invitation, operator: Operator) -> UserId:
        """Make an account whose user has to change the temporary password, and mail it if that is asked for.

        Raises:
            InvalidFields, InvalidPassword: every broken rule at once.
            UsernameExists: the name is taken, or reserved by a sign-up whose code has not expired.
            EmailExists: the address is to count as verified, and is another account's.
            Overloaded: too many hashes wait.
        """
        account = self._parse(invitation)
        async with self.hasher.place() as place:
            hash_ = await place.hash(account.password.normal)
        details = dict.fromkeys(invitation.claims, "true")
        async with self.changes.apart(operator, AuditKind.ADMIN_CREATE_USER, **details) as act:
            tx, now = act.executor, act.now
            user = await self._insert(tx, account, invitation, now=now)
            act.user_id = user.user_id
            expires_at = now + self.settings.temporary_password_ttl
            medium = Medium.EMAIL if invitation.is_mailed else None
            await passwords.put(
                tx, user_id=user.user_id, hash_=hash_, now=now, expires_at=expires_at, recovered_by=medium
            )
            # What was guessed at the name before belongs to whoever had it.
            await self.throttle.forget_all(tx, user.username_key)
            if invitation.is_mailed:
                await self.notices.invite(tx, user, account.password.typed, now=now, expires_at=expires_at)
        return user.user_id

    async def resend_invitation(self, named: NamedUser, operator: Operator) -> CodeDelivery:
        """Replace the temporary password of a user who has not signed in yet, and mail it.

        Raises:
            UserNotFound: there is no such user.
            InvalidFields: nobody is named, or the user has set a password, has no address, or is disabled.
            Overloaded: too many hashes wait.
        """
        user = await find(self.database, parse_user(named))
        # Before the hash, which costs more; the transaction looks again.
        _invited(user)
        password = self.policy.make_temporary(own_words(user.username_key, user.email))
        async with self.hasher.place() as place:
            hash_ = await place.hash(password.normal)
        async with self.changes.of(user.user_id, operator, AuditKind.ADMIN_RESEND_INVITATION) as change:
            tx, user, now = change.executor, change.user, change.now
            email = _invited(user)
            expires_at = now + self.settings.temporary_password_ttl
            await passwords.put(
                tx, user_id=user.user_id, hash_=hash_, now=now, expires_at=expires_at, recovered_by=Medium.EMAIL
            )
            # Whoever came in by the former password may be why there is another.
            await challenges.delete_of_user(tx, user_id=user.user_id)
            await self.throttle.open(tx, user.names, PASSWORD.guarded)
            await self.notices.invite(tx, user, password.typed, now=now, expires_at=expires_at)
        return CodeDelivery(mask_email(email))

    async def set_password(self, named: NamedUser, text: str, operator: Operator, *, temporary: bool) -> None:
        """Set a password and end everything that the former one began.

        Raises:
            InvalidFields: nobody is named, or there is no password.
            UserNotFound: there is no such user.
            InvalidPassword: the password breaks the policy.
            Overloaded: too many hashes wait.
        """
        fields = Fields()
        ref = fields.take(parse_user, named)
        fields.take(parse_given, text, field="password")
        fields.check()
        user = await find(self.database, ref.value)
        new = self.policy.new(text, field="password", own_words=own_words(user.username_key, user.email))
        async with self.hasher.place() as place:
            hash_ = await place.hash(new.normal)
        kind, is_temporary = AuditKind.ADMIN_SET_USER_PASSWORD, str(temporary).lower()
        async with self.changes.of(user.user_id, operator, kind, temporary=is_temporary) as change:
            tx, now = change.executor, change.now
            expires_at = now + self.settings.temporary_password_ttl if temporary else None
            status = UserStatus.FORCE_CHANGE_PASSWORD if temporary else UserStatus.CONFIRMED
            await users.set_status(tx, user_id=user.user_id, status=status, now=now)
            await self.passwords.replace(tx, change.user, hash_, now=now, expires_at=expires_at)

    async def _insert(self, executor: Executor, account: _Account, invitation: Invitation, *, now: datetime) -> User:
        email, user_id = account.attributes.email, UserId(new_id())
        new = User(
            user_id=user_id,
            username=account.username.display,
            username_key=account.username.key,
            status=UserStatus.FORCE_CHANGE_PASSWORD,
            email=email.address if email else None,
            email_key=email.key if email else None,
            attributes=account.attributes.others,
            created_at=now,
        )
        if not await users.insert(executor, user=new):
            raise UsernameExists
        email_at = now if invitation.email_verified else None
        phone_at = now if invitation.phone_number_verified else None
        if not await addresses.set_verified(
            executor, user_id=user_id, email_verified_at=email_at, phone_verified_at=phone_at
        ):
            raise EmailExists
        return await lock(executor, user_id)

    def _parse(self, invitation: Invitation) -> _Account:
        fields = Fields()
        name = fields.take(parse_username, invitation.username)
        words = own_words(name.valid.key if name.valid else UsernameKey(""), invitation.attributes.get("email"))
        for mark, attribute in (("email_verified", "email"), ("phone_number_verified", "phone_number")):
            holds = mark not in invitation.claims or bool(invitation.attributes.get(attribute))
            fields.require(holds, Violation(mark, "MISSING", f'needs attributes["{attribute}"]'))
        password = fields.take(self._password, invitation, words)
        required = ("email",) if invitation.is_mailed else ()
        attributes = fields.take(self.rules.parse, invitation.attributes, required=required, by_operator=True)
        fields.check()
        return _Account(name.value, attributes.value, password.value)

    def _password(self, invitation: Invitation, words: frozenset[str]) -> Password:
        if invitation.temporary_password:
            return self.policy.new(invitation.temporary_password, field="temporary_password", own_words=words)
        if not invitation.is_mailed:
            raise refused("temporary_password", "REQUIRED", "must be given where no invitation tells it")
        return self.policy.make_temporary(words)


def _invited(user: User) -> str:
    """Return the address of a user who can be invited again."""
    if user.status is not UserStatus.FORCE_CHANGE_PASSWORD:
        raise refused("user", "STATUS", "must have a temporary password and not have changed it yet")
    if user.email is None:
        raise refused("user", "NO_EMAIL", "must have an e-mail address")
    if user.disabled_at is not None:
        raise refused("user", "DISABLED", "must be enabled: others are sent no mail")
    return user.email
