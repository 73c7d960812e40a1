"""What a user types for a username: the name itself or, where the settings allow it, the account's e-mail address."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.names import parse_email, parse_username
from authsvc.errors import Violation
from authsvc.store import users
from authsvc.store.db import Database


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

    def parse(self, text: str) -> Login | Violation:
        """Normalise a login, or say which rule it breaks; `@` makes it an address, where the settings allow that."""
        if self.by_email and "@" in text:
            email = parse_email(text, field="username")
            return email if isinstance(email, Violation) else Login(email.key, is_email=True)
        name = parse_username(text)
        return name if isinstance(name, Violation) else Login(name.key)

    async def resolve(self, login: Login, *, verified_only: bool = False) -> str:
        """Return the key of the name of the account that a login stands for.

        An address stands for the account that has verified it; else, unless `verified_only`, for the newest account
        that has yet to. An address of nobody stands for a name that nobody has: itself, for no name has an `@`.
        """
        if not login.is_email:
            return login.key
        found = await users.find_key_by_email(self._database, email_key=login.key, verified_only=verified_only)
        return found or login.key
