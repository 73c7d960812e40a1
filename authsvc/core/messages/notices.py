"""Messages that the flows owe, on their way into the outbox within the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from authsvc.core.messages.kinds import Invitation, Message, Notice, Recipient
from authsvc.core.messages.sealed import seal
from authsvc.crypto.sealing import KeyRing
from authsvc.crypto.tokens import new_id
from authsvc.domain import MailId, Medium, User
from authsvc.store import outbox
from authsvc.store.db import Executor
from authsvc.store.outbox import NewMail


def addressed(user: User, to: str) -> Recipient:
    """Return an account's user as whom a message to one address or phone number is for."""
    return Recipient(to=to, username=user.login, user_id=user.user_id, locale=user.attributes.get("locale", ""))


def recipient(user: User | None) -> Recipient | None:
    """Return who reads mail to an account's stored address; None without one, or for a disabled account."""
    if user is None or user.email is None or user.disabled_at is not None:
        return None
    return addressed(user, user.email)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notices:
    """Put messages into the outbox."""

    ring: KeyRing
    # Whether there is anything that takes SMS.
    sends_sms: bool = False

    async def enqueue(
        self,
        executor: Executor,
        message: Message,
        to: Recipient | None,
        *,
        now: datetime,
        medium: Medium = Medium.EMAIL,
        expires_at: datetime | None = None,
        supersede_key: str | None = None,
    ) -> None:
        """Enqueue one message in the caller's transaction; to None it is never sent.

        The latter is for names that don't exist: they cost the same statements as those that do. A message with a
        `supersede_key` replaces those that still wait under it, and none is sent after `expires_at`.
        """
        message_id = MailId(new_id())
        if supersede_key is not None:
            await outbox.supersede(executor, supersede_key=supersede_key, now=now)
        await outbox.insert(
            executor,
            mail=NewMail(
                mail_id=message_id,
                user_id=to.user_id if to else None,
                kind=message.kind,
                medium=medium,
                sealed_parameters=seal(self.ring, message, to, message_id=message_id) if to else None,
                supersede_key=supersede_key,
                expires_at=expires_at,
            ),
            now=now,
        )

    async def tell(self, executor: Executor, user: User, message: Notice, *, now: datetime) -> None:
        """Tell a user what happened to the account, at each verified address, in the caller's transaction.

        For EmailChanged, `user` is the account as it was.
        """
        for medium in self._told_over(user):
            await self.enqueue(executor, message, addressed(user, user.address(medium) or ""), now=now, medium=medium)

    async def tell_name(self, executor: Executor, user: User | None, message: Notice, *, now: datetime) -> None:
        """Tell whoever has a name, if anybody has; else the same statement stores a message to nobody."""
        if user is None or not self._told_over(user):
            await self.enqueue(executor, message, None, now=now)
        else:
            await self.tell(executor, user, message, now=now)

    def _told_over(self, user: User) -> list[Medium]:
        """Return the media over which an account's user is told things: those that lead to the user for sure."""
        sending = (Medium.EMAIL, Medium.SMS) if self.sends_sms else (Medium.EMAIL,)
        is_told = user.disabled_at is None
        return [each for each in sending if is_told and user.address(each) and user.is_verified(each)]

    async def invite(
        self, executor: Executor, user: User, temporary_password: str, *, now: datetime, expires_at: datetime
    ) -> None:
        """Send the user of an account made by an operator its name and temporary password, verified address or not.

        It replaces a former invitation that still waits. An account without an address gets none.
        """
        if to := recipient(user):
            invitation, key = Invitation(temporary_password), _invitation_of(user)
            await self.enqueue(executor, invitation, to, now=now, expires_at=expires_at, supersede_key=key)

    async def withdraw_invitation(self, executor: Executor, user: User, *, now: datetime) -> None:
        """Drop an invitation that still waits."""
        await outbox.supersede(executor, supersede_key=_invitation_of(user), now=now)


def _invitation_of(user: User) -> str:
    return f"{Invitation.kind} {user.username_key}"
