"""The end of an account: everything personal goes, at once and for good."""

from __future__ import annotations

from dataclasses import dataclass

from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.calls import SignedIn
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import SENT_KEYS
from authsvc.core.messages.codes import PURPOSES, CodeRef, Codes
from authsvc.core.sessions.bearers import Bearer
from authsvc.domain import User, UsernameKey
from authsvc.store import outbox, users
from authsvc.store.db import Executor


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """Erase accounts."""

    throttle: Throttle
    codes: Codes
    signed_in: SignedIn

    async def delete(self, bearer: Bearer) -> None:
        """Erase the bearer's account.

        Raises:
            ReauthenticationRequired: the authentication is too old.
            TokenRevoked: the session has ended, or the account is gone.
        """
        self.signed_in.require_recent(bearer)
        async with self.signed_in.change(bearer, AuditKind.DELETE_USER, is_sensitive=True) as change:
            await self.erase(change.executor, change.user)

    async def erase(self, executor: Executor, user: User) -> None:
        """Erase an account, in a transaction that holds its row and records the deletion as its last thing.

        The record takes the personal data out of the user's audit events.
        """
        names = _names_of(user)
        keys = [CodeRef(purpose, name).supersede_key for name in names for purpose in PURPOSES]
        await outbox.delete_of_user(executor, user_id=user.user_id, supersede_keys=keys)
        # Codes and failures are kept by name: whoever has the name next must not inherit them.
        await self.codes.drop(executor, names, *PURPOSES)
        for name in names:
            await self.throttle.forget_all(executor, name)
            sends = [*SENT_KEYS, *(purpose.sends for purpose in PURPOSES)]
            await self.throttle.forget_sends(executor, name, sends)
        await users.delete(executor, user_id=user.user_id)


def _names_of(user: User) -> list[UsernameKey]:
    """Return what things are kept by: while an address stood for no account, that was the address itself."""
    # In one order, so that two deletions don't wait for each other.
    names = {user.username_key, user.email_key, user.pending_email_key} - {None}
    return sorted(UsernameKey(name) for name in names if name)
