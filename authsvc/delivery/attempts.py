"""Try one leased message, and note what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from authsvc.clock import Clock
from authsvc.config import MailSettings
from authsvc.core.messages.sealed import unseal
from authsvc.crypto.sealing import KeyRing
from authsvc.delivery.backoff import backoff
from authsvc.delivery.carriers import Carrier, Outgoing
from authsvc.delivery.failures import PermanentFailure, TemporaryFailure
from authsvc.domain import MailState, Medium
from authsvc.errors import Conflict, DatabaseUnavailable, DomainError
from authsvc.store import outbox
from authsvc.store.db import Database
from authsvc.store.outbox import ClaimedMail, ExpiredMail

# Waits for a database that is away while there is an outcome to note.
NOTE_AGAIN_FIRST = timedelta(milliseconds=500)
NOTE_AGAIN_MAX = timedelta(seconds=10)

_log = structlog.get_logger(__name__)

# Told the medium and kind of a message and what came of a try: sent, retried, dead, unwanted; or expired, without one.
OnOutcome = Callable[[Medium, str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Try to bring messages, each on its own, outside any transaction."""

    database: Database
    carriers: Mapping[Medium, Carrier]
    ring: KeyRing
    settings: MailSettings
    clock: Clock
    on_outcome: OnOutcome

    async def make(self, claimed: ClaimedMail) -> None:
        """Try one message and note the outcome. Raises nothing: its failure must not touch the others."""
        try:
            if not await self._is_wanted(claimed):
                self.tell(claimed, "unwanted")
            elif (failure := await self._send(claimed)) is None:
                self.tell(claimed, "sent")
                await self._note(claimed, lambda: self._finish(claimed, MailState.SENT, None))
            elif isinstance(failure, TemporaryFailure) and claimed.attempts < self.settings.max_attempts:
                self.tell(claimed, "retried", level=logging.WARNING, reason=str(failure))
                await self._note(claimed, lambda: self._retry(claimed, failure))
            else:
                self.tell(claimed, "dead", level=logging.ERROR, reason=str(failure))
                await self._note(claimed, lambda: self._finish(claimed, MailState.DEAD, str(failure)))
        except Exception as error:
            # Nothing is lost: the lease ends, and the message is tried again.
            log_failure("mail outcome not noted", error, **_named(claimed))

    def tell(self, mail: ClaimedMail | ExpiredMail, outcome: str, *, level: int = logging.INFO, **why: str) -> None:
        """Log and count what came of a message."""
        _log.log(level, f"mail {outcome}", **_named(mail), **why)
        self.on_outcome(mail.medium, mail.kind, outcome)

    async def _is_wanted(self, claimed: ClaimedMail) -> bool:
        """Ask again right before the send: the message may be superseded or expired by now.

        A lease that would not outlast the send, because this process stood still, counts as lost: the message waits.
        """
        now = self.clock.now()
        return await outbox.is_wanted(
            self.database,
            mail_id=claimed.mail_id,
            attempts=claimed.attempts,
            now=now,
            leased_until=now + self.carriers[claimed.medium].send_timeout,
        )

    async def _send(self, claimed: ClaimedMail) -> TemporaryFailure | PermanentFailure | None:
        """Send the message, or return why it was not sent."""
        if claimed.attempts > self.settings.max_attempts:
            # The last try ended without a word: this message may be what kills the workers.
            return PermanentFailure("tried too often, with unknown outcome")
        carrier = self.carriers[claimed.medium]
        try:
            message, recipient = unseal(
                self.ring, claimed.sealed_parameters, kind=claimed.kind, message_id=claimed.mail_id
            )
            send = carrier.prepare(
                Outgoing(
                    message=message,
                    recipient=recipient,
                    message_id=claimed.mail_id,
                    created_at=claimed.created_at,
                    expires_at=claimed.expires_at,
                )
            )
        except Exception as error:
            # No verdict on the message: a replica with a newer release, or with another master key, may know how.
            # The type alone, because texts quote what they choke on.
            return TemporaryFailure(f"cannot be rendered: {type(error).__name__}")
        try:
            # In all, not for each socket operation: a server that dribbles would hold the message beyond its lease.
            async with asyncio.timeout(carrier.send_timeout.total_seconds()):
                await send()
        except (TemporaryFailure, PermanentFailure) as failure:
            return failure
        except TimeoutError:
            return TemporaryFailure("timed out")
        except Exception as error:  # a fault of ours, after which the others must go on
            return TemporaryFailure(f"cannot be sent: {type(error).__name__}")
        return None

    async def _note(self, claimed: ClaimedMail, note: Callable[[], Awaitable[bool]]) -> None:
        """Note an outcome, trying for as long as the lease keeps others from sending the message again."""
        failures = 0
        while True:
            try:
                is_noted = await note()
            except (DatabaseUnavailable, Conflict):
                failures += 1
                pause = backoff(NOTE_AGAIN_FIRST, NOTE_AGAIN_MAX, failures)
                if self.clock.now() + pause >= claimed.leased_until:
                    raise
                await self.clock.sleep(pause)
            else:
                if not is_noted:
                    # Superseded on its way, or the lease was over.
                    _log.info("mail taken over", **_named(claimed))
                return

    async def _finish(self, claimed: ClaimedMail, state: MailState, last_error: str | None) -> bool:
        return await outbox.finish(
            self.database,
            mail_id=claimed.mail_id,
            attempts=claimed.attempts,
            state=state,
            last_error=last_error,
            now=self.clock.now(),
        )

    async def _retry(self, claimed: ClaimedMail, failure: TemporaryFailure) -> bool:
        longest = self.settings.backoff_max
        pause = backoff(self.settings.backoff_first, longest, claimed.attempts)
        if failure.retry_after is not None:
            # Not earlier than asked; but nobody else says for how long messages may lie here.
            pause = max(pause, min(failure.retry_after, longest))
        return await outbox.retry(
            self.database,
            mail_id=claimed.mail_id,
            attempts=claimed.attempts,
            not_before=self.clock.now() + pause,
            last_error=str(failure),
        )


def log_failure(event: str, error: Exception, **fields: Any) -> None:
    """Log what went wrong here; a database that is away is nobody's fault, anything else needs its traceback."""
    _log.warning(event, reason=type(error).__name__, exc_info=not isinstance(error, DomainError), **fields)


def _named(mail: ClaimedMail | ExpiredMail) -> dict[str, Any]:
    return {"mail_id": str(mail.mail_id), "medium": mail.medium, "kind": mail.kind, "attempt": mail.attempts}
