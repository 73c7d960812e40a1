"""What a user types for a username: the name itself or, where the settings allow it, the account's e-mail address."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.names import parse_email, parse_username
from authsvc.domain import EmailKey, UsernameKey
from authsvc.store import users
from authsvc.store.db import Database

# Of the sign-ups that are to confirm one address, so many can be confirmed by it.
MOST_SIGN_UPS = 10


@dataclass(frozen=True, slots=True)
class Login:
    """Hold a name, or an address, in the form in which it is compared."""

    key: str
    is_email: bool = False


class Identities:
    """Find whom a login stands for."""

    def __init__(self, database: Database, *, by_email: bool) -> None:
        self._database = database
        self.by_email = by_email

    def parse(self, text: str) -> Login:
        """Normalise a login; `@` makes it an address, where the settings allow that.

        Raises:
            InvalidFields: it breaks a rule.
        """
        if self.by_email and "@" in text:
            return Login(parse_email(text, field="username").key, is_email=True)
        return Login(parse_username(text).key)

    async def resolve(self, login: Login, *, verified_only: bool = False) -> UsernameKey:
        """Return the key of the name of the account that a login stands for.

        An address stands for the account that has verified it; else, unless `verified_only`, for the newest account
        that has yet to. An address of nobody stands for a name that nobody has: itself, for no name has an `@`.
        """
        if not login.is_email:
            return UsernameKey(login.key)
        return (await self._find(login, verified_only=verified_only, limit=1))[0]

    async def resolve_sign_ups(self, login: Login) -> list[UsernameKey]:
        """Return the keys of the names of all accounts that a login may mean where a sign-up is confirmed.

        The first is the one that `resolve` returns. Of several sign-ups by one address any may be its owner's: a
        stranger's later one must not make the owner's code a wrong one.
        """
        if not login.is_email:
            return [UsernameKey(login.key)]
        return await self._find(login, verified_only=False, limit=MOST_SIGN_UPS)

    async def _find(self, login: Login, *, verified_only: bool, limit: int) -> list[UsernameKey]:
        found = await users.find_keys_by_email(
            self._database, email_key=EmailKey(login.key), verified_only=verified_only, limit=limit
        )
        return found or [UsernameKey(login.key)]
