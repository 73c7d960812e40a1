"""What a user types for a username: the name itself or, where the settings allow it, the account's e-mail address."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.accounts.password_policy import Password, PasswordPolicy
from authsvc.core.fields import Fields
from authsvc.core.names import EmailAddress, Username, parse_email, parse_username
from authsvc.domain import UsernameKey
from authsvc.store import users
from authsvc.store.db import Database

# Of the sign-ups that are to confirm one address, so many can be confirmed by it.
MOST_SIGN_UPS = 10


@dataclass(frozen=True, slots=True)
class Login:
    """Hold a name or, if `email` is there, an address."""

    username: Username
    email: EmailAddress | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Logins:
    """Read logins, and find whom they stand for."""

    database: Database
    policy: PasswordPolicy
    by_email: bool

    def parse(self, text: str) -> Login:
        """Normalise a login; `@` makes it an address, where the settings allow that.

        The name of an address is itself: no account has it, for no name has an `@`.

        Raises:
            InvalidFields: it breaks a rule.
        """
        if not self.by_email or "@" not in text:
            return Login(parse_username(text))
        email = parse_email(text, field="username")
        return Login(Username(email.address, UsernameKey(email.key)), email)

    def parse_credentials(self, username: str, password: str) -> tuple[Login, Password]:
        """Normalise a login and the password that is given with it.

        Raises:
            InvalidFields: every broken rule at once.
        """
        fields = Fields()
        login = fields.take(self.parse, username)
        given = fields.take(self.policy.parse, password, field="password")
        fields.check()
        return login.value, given.value

    async def resolve(self, login: Login, *, verified_only: bool = False) -> UsernameKey:
        """Return the key of the name of the account that a login stands for.

        An address stands for the account that has verified it; else, unless `verified_only`, for the newest account
        that has yet to. An address of nobody stands for a name that nobody has: itself.
        """
        return (await self._find(login, verified_only=verified_only, limit=1))[0]

    async def resolve_sign_ups(self, login: Login) -> list[UsernameKey]:
        """Return the keys of the names of all accounts that a login may mean where a sign-up is confirmed.

        The first is the one that `resolve` returns. Of several sign-ups by one address any may be its owner's: a
        stranger's later one must not make the owner's code a wrong one.
        """
        return await self._find(login, verified_only=False, limit=MOST_SIGN_UPS)

    async def _find(self, login: Login, *, verified_only: bool, limit: int) -> list[UsernameKey]:
        if login.email is None:
            return [login.username.key]
        key = login.email.key
        found = await users.find_keys_by_email(self.database, email_key=key, verified_only=verified_only, limit=limit)
        return found or [login.username.key]
