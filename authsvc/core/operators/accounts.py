"""What operators do to accounts that are there."""

from __future__ import annotations

from authsvc.config import AccountsSettings
from authsvc.core.access.throttle import Factor, Throttle
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.lookup import UserRef, find
from authsvc.core.accounts.password_policy import PasswordPolicy, own_words
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.audit.trail import AuditKind
from authsvc.core.messages.codes import CodeDelivery
from authsvc.core.messages.notices import MailKind, MfaChange, Notices
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.identity import Operator
from authsvc.core.sessions.sessions import SessionPage, Sessions
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.domain import UserStatus
from authsvc.errors import InvalidFields, Violation
from authsvc.store import passwords, users
from authsvc.store.db import Database
from authsvc.store.factors import preferences, recovery, totp

# A recovery code and what it stands for.
_SECOND_FACTORS = (Factor.TOTP, Factor.SMS, Factor.EMAIL, Factor.RECOVERY_CODE, Factor.CUSTOM_CHALLENGE)


class AccountAdmin:
    """Change accounts for operators; each change is recorded with the operator's name."""

    def __init__(
        self,
        database: Database,
        hasher: PasswordHasher,
        throttle: Throttle,
        passwords: Passwords,
        policy: PasswordPolicy,
        sessions: Sessions,
        notices: Notices,
        changes: Changes,
        deletion: Deletion,
        settings: AccountsSettings,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._throttle = throttle
        self._passwords = passwords
        self._policy = policy
        self._sessions = sessions
        self._notices = notices
        self._changes = changes
        self._deletion = deletion
        self._settings = settings

    async def set_password(self, ref: UserRef, password: str, operator: Operator, *, temporary: bool) -> None:
        """Set a password and end everything that the former one began.

        Raises:
            UserNotFound: there is no such user.
            InvalidPassword: the password breaks the policy.
            Overloaded: too many hashes wait.
        """
        user = await find(self._database, ref)
        new = self._policy.new(password, field="password", own_words=own_words(user.username_key, user.email))
        async with self._hasher.place() as place:
            hash_ = await place.hash(new.normal)
        found = UserRef(user_id=user.user_id)
        details = {"temporary": str(temporary).lower()}
        async with self._changes.of(found, AuditKind.ADMIN_SET_USER_PASSWORD, operator, details) as change:
            tx, now = change.executor, change.now
            expires_at = now + self._settings.temporary_password_ttl if temporary else None
            await passwords.put(tx, user_id=user.user_id, hash_=hash_, now=now, expires_at=expires_at)
            status = UserStatus.FORCE_CHANGE_PASSWORD if temporary else UserStatus.CONFIRMED
            await users.set_status(tx, user_id=user.user_id, status=status, now=now)
            await self._sessions.end_all(tx, user.user_id, now)
            await self._throttle.forget(tx, user.username_key, Factor.PASSWORD)
            await self._notices.tell(tx, MailKind.PASSWORD_CHANGED, change.user, now=now)

    async def reset_password(self, ref: UserRef, operator: Operator) -> CodeDelivery | None:
        """Have the user set a new password; return where the code for it is sent, None if there is nowhere.

        Raises:
            UserNotFound: there is no such user.
            InvalidFields: the account is not confirmed yet, or has a temporary password.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_RESET_USER_PASSWORD, operator) as change:
            tx, user, now = change.executor, change.user, change.now
            if user.status not in (UserStatus.CONFIRMED, UserStatus.RESET_REQUIRED):
                violation = Violation("user", "STATUS", "must be confirmed, and without a temporary password")
                raise InvalidFields(violations=(violation,))
            await users.set_status(tx, user_id=user.user_id, status=UserStatus.RESET_REQUIRED, now=now)
            await self._sessions.end_all(tx, user.user_id, now)
            return await self._passwords.send_code(tx, user, now)

    async def confirm(self, ref: UserRef, operator: Operator) -> None:
        """Confirm an account without a code; nothing happens to one that is confirmed.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_CONFIRM_SIGN_UP, operator) as change:
            user = change.user
            if user.status is UserStatus.UNCONFIRMED:
                await users.set_status(
                    change.executor, user_id=user.user_id, status=UserStatus.CONFIRMED, now=change.now
                )

    async def disable(self, ref: UserRef, operator: Operator) -> None:
        """Disable an account, and end everything that it began.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_DISABLE_USER, operator) as change:
            tx, user, now = change.executor, change.user, change.now
            await users.set_disabled(tx, user_id=user.user_id, disabled_at=user.disabled_at or now, now=now)
            await self._sessions.end_all(tx, user.user_id, now)

    async def delete(self, ref: UserRef, operator: Operator) -> None:
        """Erase an account.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_DELETE_USER, operator) as change:
            await self._deletion.erase(change.executor, change.user)

    async def enable(self, ref: UserRef, operator: Operator) -> None:
        """Enable an account.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_ENABLE_USER, operator) as change:
            await users.set_disabled(change.executor, user_id=change.user.user_id, disabled_at=None, now=change.now)

    async def sign_out(self, ref: UserRef, operator: Operator) -> None:
        """End all sessions and half-done sign-ins of a user.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_SIGN_OUT_USER, operator) as change:
            await self._sessions.end_all(change.executor, change.user.user_id, change.now)

    async def reset_mfa(self, ref: UserRef, operator: Operator) -> None:
        """Take a user's second factors away, and end everything that was begun with them.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_RESET_USER_MFA, operator) as change:
            tx, user, now = change.executor, change.user, change.now
            await preferences.reset(tx, user_id=user.user_id)
            await totp.delete_of_user(tx, user_id=user.user_id)
            await recovery.delete_of_user(tx, user_id=user.user_id)
            await users.touch(tx, user_id=user.user_id, now=now)
            await self._sessions.end_all(tx, user.user_id, now)
            await self._throttle.forget(tx, user.username_key, *_SECOND_FACTORS)
            await self._notices.tell(tx, MailKind.MFA_CHANGED, user, now=now, change=MfaChange.RESET)

    async def unlock(self, ref: UserRef, operator: Operator) -> None:
        """Forget all failures of a user.

        Raises:
            UserNotFound: there is no such user.
        """
        async with self._changes.of(ref, AuditKind.ADMIN_UNLOCK_USER, operator) as change:
            await self._throttle.forget(change.executor, change.user.username_key, *Factor)

    async def list_sessions(self, ref: UserRef, *, page_size: int, page_token: str) -> SessionPage:
        """List a user's live sessions, latest first.

        Raises:
            UserNotFound: there is no such user.
            InvalidFields: the page token is not one of this user's sessions.
        """
        user = await find(self._database, ref)
        return await self._sessions.list_live(user.user_id, page_size=page_size, token=page_token)
