"""Mail that the flows owe: what it is, for whom, and its way into the outbox within the caller's transaction."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from uuid import UUID

from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.domain import MailId, Medium, User, UserId
from authsvc.store import outbox
from authsvc.store.db import Executor
from authsvc.store.outbox import NewMail


class MailKind(enum.StrEnum):
    """Name every mail; the values are stored."""

    SIGN_UP_CODE = "SIGN_UP_CODE"
    RESET_PASSWORD_CODE = "RESET_PASSWORD_CODE"  # noqa: S105  # the name of a mail
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105  # the name of a mail
    MFA_CHANGED = "MFA_CHANGED"
    REFRESH_TOKEN_REUSED = "REFRESH_TOKEN_REUSED"  # noqa: S105  # the name of a mail
    EMAIL_TAKEN = "EMAIL_TAKEN"
    ATTRIBUTE_CODE = "ATTRIBUTE_CODE"
    SIGN_IN_CODE = "SIGN_IN_CODE"
    RECOVERY_CODE_USED = "RECOVERY_CODE_USED"
    EMAIL_CHANGED = "EMAIL_CHANGED"
    INVITATION = "INVITATION"


class MfaChange(enum.StrEnum):
    """Name what an MFA_CHANGED mail tells; the values wait in the outbox."""

    AUTHENTICATOR_ADDED = "AUTHENTICATOR_ADDED"
    AUTHENTICATOR_REMOVED = "AUTHENTICATOR_REMOVED"
    PREFERENCE_CHANGED = "PREFERENCE_CHANGED"
    RECOVERY_CODES_MADE = "RECOVERY_CODES_MADE"
    RESET = "RESET"


@dataclass(frozen=True, slots=True)
class MailParameters:
    """Hold what a mail says; sealed while it waits.

    `user_id` tells whose mail it is, `locale` is a BCP 47 tag, empty for the default. Others belong to kinds: `code`
    to those with a code, `temporary_password` to INVITATION, `new_email` (masked) to EMAIL_CHANGED, `change` to
    MFA_CHANGED, `recovery_codes_left` to RECOVERY_CODE_USED.
    """

    to: str
    username: str
    user_id: str = ""
    locale: str = ""
    code: str = ""
    temporary_password: str = ""
    new_email: str = ""
    change: str = ""
    recovery_codes_left: int | None = None

    def __repr__(self) -> str:
        return "MailParameters(…)"

    def to_bytes(self) -> bytes:
        """Return the JSON that is sealed. What is not given is left out: a former release need not know of it."""
        defaults = {each.name: each.default for each in fields(self)}
        given = {name: value for name, value in asdict(self).items() if value != defaults[name]}
        return json.dumps(given).encode()

    @classmethod
    def from_bytes(cls, plaintext: bytes) -> MailParameters:
        """Read what `to_bytes` made, here or in another release."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(plaintext).items() if name in known})


def addressed(user: User, to: str, *, code: str = "") -> MailParameters:
    """Return the parameters of a message to one address or phone number of an account."""
    locale = user.attributes.get("locale", "")
    return MailParameters(to=to, username=user.login, user_id=str(user.user_id), locale=locale, code=code)


def recipient(user: User | None) -> MailParameters | None:
    """Return the parameters of a mail to an account's stored address; None without one, or for a disabled account."""
    if user is None or user.email is None or user.disabled_at is not None:
        return None
    return addressed(user, user.email)


def verified_recipient(user: User | None) -> MailParameters | None:
    """Return the parameters of a mail to an account's verified address; None without one."""
    return recipient(user) if user is not None and user.email_verified_at is not None else None


class Notices:
    """Put mail into the outbox."""

    __slots__ = ("_keys",)

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def enqueue(
        self,
        executor: Executor,
        kind: MailKind,
        parameters: MailParameters | None,
        *,
        medium: Medium = Medium.EMAIL,
        now: datetime,
        expires_at: datetime | None = None,
        supersede_key: str | None = None,
    ) -> None:
        """Enqueue one mail in the caller's transaction; None enqueues a mail that is never sent.

        The latter is for names that don't exist: they cost the same statements as those that do. A mail with a
        `supersede_key` replaces those that still wait under it, and none is sent after `expires_at`.

        As an SMS go the kinds with a code alone, to a number in E.164.
        """
        mail_id = MailId(new_id())
        sealed = self._keys.seal(Purpose.MAIL, parameters.to_bytes(), bound_to=str(mail_id)) if parameters else None
        if supersede_key is not None:
            await outbox.supersede(executor, supersede_key=supersede_key, now=now)
        await outbox.insert(
            executor,
            mail=NewMail(
                mail_id=mail_id,
                user_id=UserId(UUID(parameters.user_id)) if parameters and parameters.user_id else None,
                kind=kind,
                medium=medium,
                sealed_parameters=sealed,
                supersede_key=supersede_key,
                expires_at=expires_at,
            ),
            now=now,
        )

    async def tell(
        self,
        executor: Executor,
        kind: MailKind,
        user: User,
        *,
        now: datetime,
        change: MfaChange | None = None,
        new_email: str = "",
        recovery_codes_left: int | None = None,
    ) -> None:
        """Tell a user with a verified address by mail what happened to the account, in the caller's transaction.

        For EMAIL_CHANGED, `user` is the account as it was, and `new_email` the masked address; empty if there is none.
        """
        parameters = verified_recipient(user)
        if parameters is None:
            return
        said = replace(parameters, change=change or "", new_email=new_email, recovery_codes_left=recovery_codes_left)
        await self.enqueue(executor, kind, said, now=now)

    async def invite(
        self, executor: Executor, user: User, temporary_password: str, *, now: datetime, expires_at: datetime
    ) -> None:
        """Send the user of an account made by an operator its name and temporary password, verified address or not.

        It replaces a former invitation that still waits. An account without an address gets none.
        """
        parameters = recipient(user)
        if parameters is not None:
            await self.enqueue(
                executor,
                MailKind.INVITATION,
                replace(parameters, temporary_password=temporary_password),
                now=now,
                expires_at=expires_at,
                supersede_key=_invitation_of(user),
            )

    async def withdraw_invitation(self, executor: Executor, user: User, *, now: datetime) -> None:
        """Drop an invitation that still waits."""
        await outbox.supersede(executor, supersede_key=_invitation_of(user), now=now)


def _invitation_of(user: User) -> str:
    return f"{MailKind.INVITATION} {user.username_key}"
