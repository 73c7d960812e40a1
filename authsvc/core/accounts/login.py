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


@dataclass(frozen=True, slots=True)
class Standings:
    """Hold what a login stands for where it signs in: what was typed, the account's name, and a sign-up's, if it may.

    Tries are counted by what was typed: else those of an address would tell whose it is.
    """

    typed: UsernameKey
    username_key: UsernameKey
    sign_up: UsernameKey | None = None

    @property
    def names(self) -> list[UsernameKey]:
        """Return the names whose passwords are tried, in this order."""
        return [self.username_key] if self.sign_up is None else [self.username_key, self.sign_up]


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

    async def resolve(self, login: Login) -> UsernameKey:
        """Return the key of the name of the account that a login stands for.

        An address stands for the account that has verified it; that of nobody for a name that nobody has: itself.
        """
        return (await self.resolve_sign_in(login)).username_key

    async def resolve_sign_in(self, login: Login) -> Standings:
        """Return the same, and the newest sign-up that is yet to confirm the address.

        Whoever signs up with an address must not learn, by the password of that sign-up, whether it is another's.
        """
        name = login.username.key
        if login.email is None:
            return Standings(name, name)
        claims = await users.find_claims(self.database, email_key=login.email.key, limit=2)
        owner = next((claim.username_key for claim in claims if claim.is_verified), name)
        newest = next((claim.username_key for claim in claims if not claim.is_verified), name)
        return Standings(name, owner, newest)

    async def resolve_sign_ups(self, login: Login) -> list[UsernameKey]:
        """Return the keys of the names of all accounts that a login may mean where a sign-up is confirmed.

        Of several sign-ups by one address any may be its owner's, the newest comes first: a stranger's later one must
        not make the owner's code a wrong one. The account that has verified the address is none of them, so that one
        which somebody has is answered like one that nobody has.
        """
        name = login.username.key
        if login.email is None:
            return [name]
        claims = await users.find_claims(self.database, email_key=login.email.key, limit=MOST_SIGN_UPS + 1)
        return [claim.username_key for claim in claims if not claim.is_verified][:MOST_SIGN_UPS] or [name]
