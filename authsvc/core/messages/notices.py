"""Messages that the flows owe, on their way into the outbox within the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from authsvc.core.messages.kinds import NOBODY, Invitation, Message, Notice, Recipient
from authsvc.core.messages.sealed import seal
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.crypto.tokens import new_id
from authsvc.domain import MailId, Medium, User
from authsvc.store import notices, outbox
from authsvc.store.db import Executor
from authsvc.store.outbox import NewMail

# At most one notice about one thing goes to a user in it.
INTERVAL = timedelta(minutes=1)


def addressed(user: User, to: str) -> Recipient:
    """Return an account's user as whom a message to one address or phone number is for."""
    return Recipient(to=to, username=user.login, user_id=user.user_id, locale=user.attributes.get("locale", ""))


def recipient(user: User | None) -> Recipient | None:
    """Return who reads mail to an account's stored address; None without one, or for a disabled account."""
    if user is None or user.email is None or user.disabled_at is not None:
        return None
    return addressed(user, user.email)


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Say when a message goes: after a delay, never after its end, and in place of those that wait under its key."""

    expires_at: datetime | None = None
    delay: timedelta = timedelta()
    supersede_key: str | None = None


AT_ONCE = Terms()


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
        terms: Terms = AT_ONCE,
    ) -> None:
        """Enqueue one message in the caller's transaction; to None it is never sent.

        The latter is for names that don't exist: they cost the same as those that do, up to the carrier.
        """
        message_id = MailId(new_id())
        if terms.supersede_key is not None:
            await outbox.supersede(executor, supersede_key=terms.supersede_key, now=now)
        await outbox.insert(
            executor,
            mail=NewMail(
                mail_id=message_id,
                user_id=to.user_id if to else None,
                kind=message.kind,
                medium=medium,
                sealed_parameters=seal(self.ring, message, to or NOBODY, message_id=message_id),
                supersede_key=terms.supersede_key,
                not_before=now + terms.delay,
                expires_at=terms.expires_at,
                is_decoy=to is None,
            ),
            now=now,
        )

    async def tell(self, executor: Executor, user: User, message: Notice, *, now: datetime) -> None:
        """Tell a user what happened to the account, at each verified address, in the caller's transaction.

        Of many about the same the first goes at once, and the last of each further minute at its end. For EmailChanged,
        `user` is the account as it was.
        """
        for medium in self._told_over(user):
            to = addressed(user, user.address(medium) or "")
            # By the address too: who reads a former one is told whatever the present one has been told.
            at = self.ring.digest(Purpose.ADDRESS, to.to).hex()
            await self._tell(executor, message, to, now=now, medium=medium, key=f"{user.user_id} {at}")

    async def tell_name(self, executor: Executor, user: User | None, message: Notice, *, now: datetime) -> None:
        """Tell whoever has a name, if anybody has; else the same statement stores a message to nobody."""
        if user is None or not self._told_over(user):
            await self._tell(executor, message, None, now=now, medium=Medium.EMAIL, key=str(new_id()))
        else:
            await self.tell(executor, user, message, now=now)

    async def _tell(
        self, executor: Executor, message: Notice, to: Recipient | None, *, now: datetime, medium: Medium, key: str
    ) -> None:
        message_id = MailId(new_id())
        notice = NewMail(
            mail_id=message_id,
            user_id=to.user_id if to else None,
            kind=message.kind,
            medium=medium,
            sealed_parameters=seal(self.ring, message, to or NOBODY, message_id=message_id),
            supersede_key=f"{message.subject} {key}",
            not_before=now,
            expires_at=None,
            is_decoy=to is None,
        )
        await notices.insert_notice(executor, notice=notice, now=now, interval=INTERVAL)

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
            terms = Terms(expires_at=expires_at, supersede_key=_invitation_of(user))
            await self.enqueue(executor, Invitation(temporary_password), to, now=now, terms=terms)

    async def withdraw_invitation(self, executor: Executor, user: User, *, now: datetime) -> None:
        """Drop an invitation that still waits."""
        await outbox.supersede(executor, supersede_key=_invitation_of(user), now=now)


def _invitation_of(user: User) -> str:
    return f"{Invitation.kind} {user.username_key}"
