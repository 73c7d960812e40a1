"""What operators do to accounts that are there."""

from __future__ import annotations

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
from authsvc.core.sessions.ends import end_all
from authsvc.core.sessions.lists import SessionList
from authsvc.domain import Session, UserStatus
from authsvc.store import users
from authsvc.store.db import Database
from authsvc.store.factors import preferences, recovery, totp


class AccountAdmin:
    """Change accounts for operators; each change is recorded with the operator's name."""

    def __init__(
        self,
        *,
        database: Database,
        throttle: Throttle,
        reset_codes: ResetCodes,
        session_list: SessionList,
        notices: Notices,
        changes: Changes,
        deletion: Deletion,
    ) -> None:
        self._database = database
        self._throttle = throttle
        self._reset_codes = reset_codes
        self._session_list = session_list
        self._notices = notices
        self._changes = changes
        self._deletion = deletion

    async def reset_password(self, named: NamedUser, operator: Operator) -> CodeDelivery | None:
        """Have the user set a new password; return where the code for it is sent, None if there is nowhere.

        Raises:
            UserNotFound: there is no such user.
            InvalidFields: nobody is named, or the account is not confirmed yet, or has a temporary password.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_RESET_USER_PASSWORD) as change:
            tx, user, now = change.executor, change.user, change.now
            if user.status not in (UserStatus.CONFIRMED, UserStatus.RESET_REQUIRED):
                raise refused("user", "STATUS", "must be confirmed, and without a temporary password")
            await users.set_status(tx, user_id=user.user_id, status=UserStatus.RESET_REQUIRED, now=now)
            await end_all(tx, user.user_id, now)
            return await self._reset_codes.send(tx, user, now)

    async def confirm(self, named: NamedUser, operator: Operator) -> None:
        """Confirm an account without a code; nothing happens to one that is confirmed.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_CONFIRM_SIGN_UP) as change:
            user = change.user
            if user.status is UserStatus.UNCONFIRMED:
                await users.set_status(
                    change.executor, user_id=user.user_id, status=UserStatus.CONFIRMED, now=change.now
                )

    async def disable(self, named: NamedUser, operator: Operator) -> None:
        """Disable an account, and end everything that it began.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_DISABLE_USER) as change:
            tx, user, now = change.executor, change.user, change.now
            await users.set_disabled(tx, user_id=user.user_id, disabled_at=user.disabled_at or now, now=now)
            await end_all(tx, user.user_id, now)

    async def delete(self, named: NamedUser, operator: Operator) -> None:
        """Erase an account.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_DELETE_USER) as change:
            await self._deletion.erase(change.executor, change.user)

    async def enable(self, named: NamedUser, operator: Operator) -> None:
        """Enable an account.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_ENABLE_USER) as change:
            await users.set_disabled(change.executor, user_id=change.user.user_id, disabled_at=None, now=change.now)

    async def sign_out(self, named: NamedUser, operator: Operator) -> None:
        """End all sessions and half-done sign-ins of a user.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_SIGN_OUT_USER) as change:
            await end_all(change.executor, change.user.user_id, change.now)

    async def reset_mfa(self, named: NamedUser, operator: Operator) -> None:
        """Take a user's second factors away, and end everything that was begun with them.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_RESET_USER_MFA) as change:
            tx, user, now = change.executor, change.user, change.now
            await preferences.reset(tx, user_id=user.user_id)
            await totp.delete_of_user(tx, user_id=user.user_id)
            await recovery.delete_of_user(tx, user_id=user.user_id)
            await users.touch(tx, user_id=user.user_id, now=now)
            await end_all(tx, user.user_id, now)
            await self._throttle.forget(tx, user.username_key, *(spec.guarded for spec in BESIDE_PASSWORD))
            await self._notices.tell(tx, user, MfaChanged(MfaChange.RESET), now=now)

    async def unlock(self, named: NamedUser, operator: Operator) -> None:
        """Forget all failures of a user.

        Raises:
            InvalidFields: nobody is named.
            UserNotFound: there is no such user.
        """
        async with self._changes.of(parse_user(named), operator, AuditKind.ADMIN_UNLOCK_USER) as change:
            await self._throttle.forget_all(change.executor, change.user.username_key)

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
        user = await find(self._database, ref.value)
        return await self._session_list.list_live(user.user_id, request)
