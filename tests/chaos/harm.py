"""What is done to the service: each harm ends before the next one begins."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from aiosmtpd.smtp import SMTP, Envelope, Session

from authsvc.dev.postgres import EmbeddedPostgres
from tests.mail.smtp_server import SmtpServer
from tests.processes import ServerProcess

# How long it lasts, at least and at most.
SHORT = (0.05, 0.6)
LONG = (1.0, 2.5)


class WatchedSmtpServer(SmtpServer):
    """Take mail, and do something between the taking and the word that it was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.on_taken: Callable[[], Awaitable[None]] | None = None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the content."""
        reply = await super().handle_DATA(server, session, envelope)
        if self.on_taken is not None:
            on_taken, self.on_taken = self.on_taken, None
            await on_taken()
        return reply


@dataclass
class Harm:
    """Do harm to servers, Postgres and the mail server, in an order that the seed tells."""

    servers: tuple[ServerProcess, ServerProcess]
    postgres: EmbeddedPostgres
    smtp: WatchedSmtpServer
    random: Random
    done: Counter[str] = field(default_factory=Counter)

    async def kill(self) -> None:
        """End one server at once, and start another one in its place."""
        server = self.random.choice(self.servers)
        await server.kill()
        await self._pause(SHORT)
        await self._start(server)
        self.done["kills"] += 1

    async def kill_at_mail(self) -> None:
        """End one server between the sending of a mail and the note that it was sent."""
        taken = asyncio.Event()
        server = self.random.choice(self.servers)

        async def on_taken() -> None:
            await server.kill()
            taken.set()

        self.smtp.on_taken = on_taken
        try:
            async with asyncio.timeout(10):
                await taken.wait()
        except TimeoutError:
            self.smtp.on_taken = None
            await server.kill()
        await self._start(server)
        self.done["kills"] += 1

    async def drain(self) -> None:
        """End one server as a deployment does."""
        server = self.random.choice(self.servers)
        server.send(signal.SIGTERM)
        assert await server.wait() == 0, server.log()[-2000:]
        await server.kill()
        await self._start(server)
        self.done["drains"] += 1

    async def stop_postgres(self) -> None:
        """End Postgres at once, and start it again."""
        await asyncio.to_thread(self.postgres.kill)
        await self._pause(SHORT)
        await asyncio.to_thread(self.postgres.start)
        for server in self.servers:
            await server.wait_for_health("SERVING")
        self.done["stops of Postgres"] += 1

    async def hang_mail(self) -> None:
        """Let the mail server take commands and not answer."""
        self.smtp.hangs = {"DATA"}
        await self._pause(LONG)
        self.smtp.hangs = set()
        self.smtp.release.set()
        self.smtp.release.clear()
        self.done["silences of the mail server"] += 1

    async def refuse_mail(self) -> None:
        """Let the mail server refuse for now."""
        self.smtp.replies = {"MAIL": "451 4.3.0 come back later"}
        await self._pause(LONG)
        self.smtp.replies = {}
        self.done["refusals of the mail server"] += 1

    async def drop_mail(self) -> None:
        """Let the mail server end connections."""
        self.smtp.drops = {"RCPT"}
        await self._pause(LONG)
        self.smtp.drops = set()
        self.done["ends of mail connections"] += 1

    async def _start(self, server: ServerProcess) -> None:
        await server.start()
        await server.wait_for_health("SERVING")
        await self._pause(SHORT)

    async def _pause(self, bounds: tuple[float, float]) -> None:
        await asyncio.sleep(self.random.uniform(*bounds))
