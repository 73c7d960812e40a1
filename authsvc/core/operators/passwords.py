"""Passwords that operators set."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.config import AccountsSettings
from authsvc.core.accounts.lookup import NamedUser, UserRef, find, parse_user
from authsvc.core.accounts.password_policy import PasswordPolicy, own_words
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.audit.trail import AuditKind
from authsvc.core.fields import Fields, parse_given
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.domain import UserStatus
from authsvc.store import users
from authsvc.store.db import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class PasswordAdmin:
    """Set passwords for operators."""

    database: Database
    hasher: PasswordHasher
    policy: PasswordPolicy
    passwords: Passwords
    changes: Changes
    settings: AccountsSettings

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
        found = UserRef(user_id=user.user_id)
        kind, is_temporary = AuditKind.ADMIN_SET_USER_PASSWORD, str(temporary).lower()
        async with self.changes.of(found, operator, kind, temporary=is_temporary) as change:
            tx, now = change.executor, change.now
            expires_at = now + self.settings.temporary_password_ttl if temporary else None
            status = UserStatus.FORCE_CHANGE_PASSWORD if temporary else UserStatus.CONFIRMED
            await users.set_status(tx, user_id=user.user_id, status=status, now=now)
            await self.passwords.replace(tx, change.user, hash_, now=now, expires_at=expires_at)
