"""What operators do to accounts that are there."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from authsvc.core.access.changes import Change
from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.lookup import NamedUser, find, parse_user
from authsvc.core.accounts.password_reset import ResetCodes
from authsvc.core.audit.trail import AuditKind
from authsvc.core.factors.kinds import BESIDE_PASSWORD
from authsvc.core.fields import Fields, refused
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.messages.kinds import MfaChange, MfaChanged
from authsvc.core.messages.notices import Notices
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.core.pages import Page, PageRequest, check_page
from authsvc.core.sessions.user_sessions import UserSessions, end_all
from authsvc.domain import Session, UserStatus
from authsvc.store import users
from authsvc.store.db import Database
from authsvc.store.factors import preferences, recovery, totp

_T = TypeVar("_T")
_Act = Callable[["AccountAdmin", Change], Awaitable[_T]]
_Call = Callable[["AccountAdmin", NamedUser, Operator], Coroutine[Any, Any, _T]]


def _recorded(kind: AuditKind) -> Callable[[_Act[_T]], _Call[_T]]:
    """Make what is done to an account a call for whom an operator names; it is recorded with the operator's name.

    Raises, in the call:
        InvalidFields: nobody is named.
        UserNotFound: there is no such user.
    """

    def call_of(act: _Act[_T]) -> _Call[_T]:
        @functools.wraps(act)
        async def call(self: AccountAdmin, named: NamedUser, operator: Operator) -> _T:
            async with self.changes.of(parse_user(named), operator, kind) as change:
                return await act(self, change)

        return call

    return call_of


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountAdmin:
    """Change accounts for operators."""

    database: Database
    throttle: Throttle
    reset_codes: ResetCodes
    sessions: UserSessions
    notices: Notices
    changes: Changes
    deletion: Deletion

    @_recorded(AuditKind.ADMIN_RESET_USER_PASSWORD)
    async def reset_password(self, change: Change) -> CodeDelivery | None:
        """Have the user set a new password; return where the code for it is sent, None if there is nowhere.

        Raises:
            InvalidFields: the account is not confirmed yet, or has a temporary password.
        """
        tx, user, now = change.executor, change.user, change.now
        if user.status not in (UserStatus.CONFIRMED, UserStatus.RESET_REQUIRED):
            raise refused("user", "STATUS", "must be confirmed, and without a temporary password")
        await users.set_status(tx, user_id=user.user_id, status=UserStatus.RESET_REQUIRED, now=now)
        await end_all(tx, user.user_id, now)
        return await self.reset_codes.send(tx, user, now)

    @_recorded(AuditKind.ADMIN_CONFIRM_SIGN_UP)
    async def confirm(self, change: Change) -> None:
        """Confirm an account without a code; nothing happens to one that is confirmed."""
        tx, user = change.executor, change.user
        if user.status is UserStatus.UNCONFIRMED:
            await users.set_status(tx, user_id=user.user_id, status=UserStatus.CONFIRMED, now=change.now)

    @_recorded(AuditKind.ADMIN_DISABLE_USER)
    async def disable(self, change: Change) -> None:
        """Disable an account, and end everything that it began."""
        tx, user, now = change.executor, change.user, change.now
        await users.set_disabled(tx, user_id=user.user_id, disabled_at=user.disabled_at or now, now=now)
        await end_all(tx, user.user_id, now)

    @_recorded(AuditKind.ADMIN_DELETE_USER)
    async def delete(self, change: Change) -> None:
        """Erase an account."""
        await self.deletion.erase(change.executor, change.user)

    @_recorded(AuditKind.ADMIN_ENABLE_USER)
    async def enable(self, change: Change) -> None:
        """Enable an account."""
        await users.set_disabled(change.executor, user_id=change.user.user_id, disabled_at=None, now=change.now)

    @_recorded(AuditKind.ADMIN_SIGN_OUT_USER)
    async def sign_out(self, change: Change) -> None:
        """End all sessions and half-done sign-ins of a user."""
        await end_all(change.executor, change.user.user_id, change.now)

    @_recorded(AuditKind.ADMIN_RESET_USER_MFA)
    async def reset_mfa(self, change: Change) -> None:
        """Take a user's second factors away, and end everything that was begun with them."""
        tx, user, now = change.executor, change.user, change.now
        await preferences.reset(tx, user_id=user.user_id)
        await totp.delete_of_user(tx, user_id=user.user_id)
        await recovery.delete_of_user(tx, user_id=user.user_id)
        await users.touch(tx, user_id=user.user_id, now=now)
        await end_all(tx, user.user_id, now)
        await self.throttle.open(tx, [user.username_key], *(spec.guarded for spec in BESIDE_PASSWORD))
        await self.notices.tell(tx, user, MfaChanged(MfaChange.RESET), now=now)

    @_recorded(AuditKind.ADMIN_UNLOCK_USER)
    async def unlock(self, change: Change) -> None:
        """Forget all failures of a user, by whichever name and in whichever lane they were counted."""
        for name in change.user.names:
            await self.throttle.forget_all(change.executor, name)

    async def list_sessions(self, named: NamedUser, request: PageRequest) -> Page[Session]:
        """List a user's live sessions, latest first.

        Raises:
            UserNotFound: there is no such user.
            InvalidFields: every broken rule at once, or the token is not one of this user's sessions.
        """
        fields = Fields()
        ref = fields.take(parse_user, named)
        fields.take(check_page, request)
        fields.check()
        user = await find(self.database, ref.value)
        return await self.sessions.list_live(user.user_id, request)
