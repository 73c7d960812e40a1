"""Both ends of the outbox: what a flow does to owe mail, and the workers that send it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from authsvc.clock import Clock
from authsvc.config import MailSettings
from authsvc.core.messages.kinds import Message, Recipient, SignUpCode
from authsvc.core.messages.notices import Notices
from authsvc.crypto.sealing import KeyRing
from authsvc.delivery.attempts import Attempts
from authsvc.delivery.carriers import Carrier
from authsvc.delivery.dispatcher import Dispatcher
from authsvc.delivery.mail.carrier import MailCarrier, Sender
from authsvc.delivery.mail.smtp import SmtpSender
from authsvc.domain import Medium
from authsvc.store.db import Database

CODE = "481516"
SIGN_UP_CODE = SignUpCode(CODE)


@dataclass(frozen=True, slots=True)
class Row:
    """Hold what the outbox knows of a mail."""

    mail_id: UUID
    state: str
    attempts: int
    not_before: datetime
    last_error: str | None
    is_wiped: bool
    is_leased: bool


@dataclass
class PostOffice:
    """Owe mail as the flows do, make workers, and look at what became of it all.

    `outcomes` and `ages` collect what the workers report, each with its medium.
    """

    database: Database
    ring: KeyRing
    clock: Clock
    settings: MailSettings
    sms: Carrier | None = None
    outcomes: list[tuple[str, str, str]] = field(default_factory=list)
    ages: list[tuple[Medium, timedelta]] = field(default_factory=list)

    def change(self, **changes: Any) -> None:
        """Change settings of the workers made from now on, beyond what an operator may, so that tests need not wait."""
        self.settings = self.settings.model_copy(update=changes)

    async def owe(
        self,
        *recipients: str,
        message: Message = SIGN_UP_CODE,
        medium: Medium = Medium.EMAIL,
        locale: str = "",
        key: str | None = None,
        expires_in: timedelta | None = None,
    ) -> None:
        """Enqueue a message for each recipient, each in a transaction of its own."""
        now = self.clock.now()
        for to in recipients:
            async with self.database.transaction() as transaction:
                await Notices(ring=self.ring).enqueue(
                    transaction,
                    message,
                    Recipient(to=to, username="ada", locale=locale),
                    medium=medium,
                    now=now,
                    expires_at=None if expires_in is None else now + expires_in,
                    supersede_key=key,
                )

    def carriers(self, sender: Sender | None = None) -> dict[Medium, Carrier]:
        """Make what brings mail, by SMTP unless told otherwise, and SMS, if the office has what brings them."""
        mail = MailCarrier(settings=self.settings, sender=sender or SmtpSender(settings=self.settings))
        return {Medium.EMAIL: mail, Medium.SMS: self.sms} if self.sms else {Medium.EMAIL: mail}

    def attempts(self, sender: Sender | None = None, *, clock: Clock | None = None) -> Attempts:
        """Make what tries to bring claimed messages."""
        return Attempts(
            database=self.database,
            carriers=self.carriers(sender),
            ring=self.ring,
            settings=self.settings,
            clock=clock or self.clock,
            on_outcome=lambda *outcome: self.outcomes.append(outcome),
        )

    def worker(self, sender: Sender | None = None, *, clock: Clock | None = None) -> Dispatcher:
        """Make a worker."""
        attempts = self.attempts(sender, clock=clock)
        worker = Dispatcher(attempts=attempts, on_queue_age=lambda *age: self.ages.append(age))
        worker.set_serving(True)
        return worker

    async def rows(self) -> list[Row]:
        """Return what the outbox holds, oldest first."""
        rows = await self.database.fetch(
            "select mail_id, state, attempts, not_before, last_error, sealed_parameters is null as is_wiped,"
            " leased_until is not null as is_leased from outbox order by created_at, mail_id"
        )
        return [Row(**row) for row in rows]

    async def row(self) -> Row:
        """Return the only mail that the outbox holds."""
        (row,) = await self.rows()
        return row

    async def wait_until_done(self) -> list[Row]:
        """Return what the outbox holds once no mail waits in it."""
        async with asyncio.timeout(20):
            while any(row.state == "QUEUED" for row in await self.rows()):
                await self.database.fetchval("select pg_sleep(0.02)")
        return await self.rows()


@asynccontextmanager
async def running(*workers: Dispatcher) -> AsyncIterator[None]:
    """Run workers for as long as the block takes, then stop them as the service does."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.run()) for worker in workers]
        try:
            yield
        finally:
            for worker in workers:
                worker.stop()
            await asyncio.wait(tasks, timeout=10)
            for task in tasks:
                task.cancel()
