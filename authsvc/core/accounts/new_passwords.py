"""The first password of a user's own, in place of an operator's temporary one, with the attributes that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from authsvc.core.access.gate import Gate
from authsvc.core.accounts.attributes import AttributeRules, Attributes, field_of
from authsvc.core.accounts.password_policy import PasswordPolicy, own_words
from authsvc.core.fields import Fields, parse_given
from authsvc.core.messages.kinds import PasswordChanged
from authsvc.core.messages.notices import Notices
from authsvc.domain import User
from authsvc.errors import SessionExpired, Violation
from authsvc.store import challenges, passwords, users
from authsvc.store.challenges import Challenge
from authsvc.store.db import Database, Executor


@dataclass(frozen=True, slots=True)
class NewPassword:
    """Hold a new password's hash and the attributes that came with it."""

    hash: str = field(repr=False)
    attributes: Attributes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPasswords:
    """Replace temporary passwords."""

    database: Database
    gate: Gate
    policy: PasswordPolicy
    notices: Notices
    rules: AttributeRules

    async def verify(self, challenge: Challenge, password: str, attributes: Mapping[str, str]) -> NewPassword:
        """Check what the user chose, and hash the password, outside any transaction.

        Raises:
            InvalidFields, InvalidPassword: every broken rule at once; the session can be answered again.
            SessionExpired: the account is gone.
            Overloaded: too many hashes wait.
        """
        user = await users.find_by_id(self.database, user_id=challenge.user_id)
        if user is None:
            raise SessionExpired
        parsed = self._parse(user, attributes)
        words = own_words(user.username_key, parsed.email.address if parsed.email else user.email)
        new = self.policy.new(password, field="new_password", own_words=words)
        reused = Violation("new_password", "REUSED", "must not be the temporary password")
        return NewPassword(await self.gate.hash_unlike_present(user.username_key, new, reused), parsed)

    async def accept(self, executor: Executor, user: User, new: NewPassword, *, now: datetime) -> User:
        """Set the password and the attributes, in a transaction that holds the account's row; return the account.

        Raises:
            SessionExpired: another call set a password, or the temporary one has ended since.
        """
        email = new.attributes.email
        if not await users.finish_forced_change(
            executor,
            user_id=user.user_id,
            email=email.address if email else user.email,
            email_key=email.key if email else user.email_key,
            attributes={**user.attributes, **new.attributes.others},
            now=now,
        ):
            raise SessionExpired
        # Whoever read the temporary one in the mailbox, or recovered it there, chose this one: see core.factors.
        if not await passwords.choose(executor, user_id=user.user_id, hash_=new.hash, now=now):
            raise SessionExpired
        # Whoever else knew the temporary password.
        await challenges.delete_of_user(executor, user_id=user.user_id)
        await self.notices.tell(executor, user, PasswordChanged(), now=now)
        changed = await users.find_by_id(executor, user_id=user.user_id)
        if changed is None:
            raise SessionExpired
        return changed

    def _parse(self, user: User, given: Mapping[str, str]) -> Attributes:
        fields, missing = Fields(), self.rules.missing(user)
        for name in missing:
            fields.take(parse_given, given.get(name, ""), field=field_of(name))
        attributes = fields.take(self.rules.parse, {name: given[name] for name in missing if given.get(name)})
        fields.check()
        return attributes.value
