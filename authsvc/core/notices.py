"""Mail that the flows owe: what it is, for whom, and its way into the outbox within the caller's transaction."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from datetime import datetime

from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.store import outbox
from authsvc.store.db import Executor
from authsvc.store.users import User


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


@dataclass(frozen=True, slots=True)
class MailParameters:
    """Hold what a mail says; sealed while it waits.

    `code` only with code mails. `locale` is a BCP 47 tag, empty for the default.
    """

    to: str
    username: str
    locale: str = ""
    code: str = ""

    def __repr__(self) -> str:
        return "MailParameters(…)"

    def to_bytes(self) -> bytes:
        """Return the JSON that is sealed."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, plaintext: bytes) -> MailParameters:
        """Read what `to_bytes` made."""
        return cls(**json.loads(plaintext))


def recipient(user: User | None) -> MailParameters | None:
    """Return the parameters of a mail to an account's stored address; None without one, or for a disabled account."""
    if user is None or user.email is None or user.disabled_at is not None:
        return None
    return MailParameters(to=user.email, username=user.username, locale=user.attributes.get("locale", ""))


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
        now: datetime,
        expires_at: datetime | None = None,
        supersede_key: str | None = None,
    ) -> None:
        """Enqueue one mail in the caller's transaction; None enqueues a mail that is never sent.

        The latter is for names that don't exist: they cost the same statements as those that do. A mail with a
        `supersede_key` replaces those that still wait under it, and none is sent after `expires_at`.
        """
        mail_id = new_id()
        sealed = self._keys.seal(Purpose.MAIL, parameters.to_bytes(), bound_to=str(mail_id)) if parameters else None
        if supersede_key is not None:
            await outbox.supersede(executor, supersede_key=supersede_key, now=now)
        await outbox.insert(
            executor,
            mail_id=mail_id,
            kind=kind,
            sealed_parameters=sealed,
            supersede_key=supersede_key,
            now=now,
            expires_at=expires_at,
        )

    async def tell(self, executor: Executor, kind: MailKind, user: User, *, now: datetime) -> None:
        """Tell a user with a verified address by mail what happened to the account, in the caller's transaction."""
        parameters = verified_recipient(user)
        if parameters is not None:
            await self.enqueue(executor, kind, parameters, now=now)
