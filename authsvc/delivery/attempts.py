"""Try one leased message, and note what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.config import MailSettings
from authsvc.core.messages.sealed import unseal
from authsvc.crypto.sealing import KeyRing
from authsvc.delivery.backoff import backoff
from authsvc.delivery.carriers import Carrier, Outgoing, Send
from authsvc.delivery.failures import PermanentFailure, TemporaryFailure
from authsvc.domain import MailState, Medium
from authsvc.errors import Conflict, DatabaseUnavailable, DomainError
from authsvc.store import outbox
from authsvc.store.db import Database
from authsvc.store.outbox import ClaimedMail

# Waits for a database that is away while there is an outcome to note.
NOTE_AGAIN_FIRST = timedelta(milliseconds=500)
NOTE_AGAIN_MAX = timedelta(seconds=10)

_log = structlog.get_logger(__name__)

# Told the medium and kind of a message and what came of a try: sent, retried, dead, unwanted; or expired, without one.
OnOutcome = Callable[[Medium, str, str], None]


class Attempts:
    """Try to bring messages, each on its own, outside any transaction."""

    def __init__(
        self,
        *,
        database: Database,
        carriers: Mapping[Medium, Carrier],
        ring: KeyRing,
        settings: MailSettings,
        clock: Clock,
        on_outcome: OnOutcome,
    ) -> None:
        self._database = database
        self._carriers = carriers
        self._ring = ring
        self._settings = settings
        self._clock = clock
        self._on_outcome = on_outcome

    @property
    def media(self) -> Collection[Medium]:
        """Return the media that messages can be brought over."""
        return self._carriers.keys()

    async def make(self, claimed: ClaimedMail) -> None:
        """Try one message and note the outcome. Raises nothing: its failure must not touch the others."""
        log = _log.bind(
            mail_id=str(claimed.mail_id), medium=claimed.medium, kind=claimed.kind, attempt=claimed.attempts
        )
        try:
            if not await self._is_wanted(claimed):
                log.info("mail unwanted")
                self._on_outcome(claimed.medium, claimed.kind, "unwanted")
                return
            failure = await self._send(claimed)
            if failure is None:
                log.info("mail sent")
                self._on_outcome(claimed.medium, claimed.kind, "sent")
                await self._note(claimed, lambda: self._finish(claimed, MailState.SENT, None))
            elif isinstance(failure, TemporaryFailure) and claimed.attempts < self._settings.max_attempts:
                log.warning("mail retried", reason=str(failure))
                self._on_outcome(claimed.medium, claimed.kind, "retried")
                await self._note(claimed, lambda: self._retry(claimed, failure))
            else:
                log.error("mail dead", reason=str(failure))
                self._on_outcome(claimed.medium, claimed.kind, "dead")
                await self._note(claimed, lambda: self._finish(claimed, MailState.DEAD, str(failure)))
        except Exception as error:
            # Nothing is lost: the lease ends, and the message is tried again. Only what is not a database that is away
            # needs its traceback.
            is_known = isinstance(error, DomainError)
            log.warning("mail outcome not noted", reason=type(error).__name__, exc_info=not is_known)

    async def _is_wanted(self, claimed: ClaimedMail) -> bool:
        """Ask again right before the send: the message may be superseded or expired by now.

        A lease that would not outlast the send, because this process stood still, counts as lost: the message waits.
        """
        now = self._clock.now()
        return await outbox.is_wanted(
            self._database,
            mail_id=claimed.mail_id,
            attempts=claimed.attempts,
            now=now,
            leased_until=now + self._carrier(claimed).send_timeout,
        )

    async def _send(self, claimed: ClaimedMail) -> TemporaryFailure | PermanentFailure | None:
        """Send the message, or return why it was not sent."""
        if claimed.attempts > self._settings.max_attempts:
            # The last try ended without a word: this message may be what kills the workers.
            return PermanentFailure("tried too often, with unknown outcome")
        try:
            send = self._prepare(claimed)
        except Exception as error:
            # No verdict on the message: a replica with a newer release, or with another master key, may know how.
            # The type alone, because texts quote what they choke on.
            return TemporaryFailure(f"cannot be rendered: {type(error).__name__}")
        try:
            # In all, not for each socket operation: a server that dribbles would hold the message beyond its lease.
            async with asyncio.timeout(self._carrier(claimed).send_timeout.total_seconds()):
                await send()
        except (TemporaryFailure, PermanentFailure) as failure:
            return failure
        except TimeoutError:
            return TemporaryFailure("timed out")
        except Exception as error:  # a fault of ours, after which the others must go on
            return TemporaryFailure(f"cannot be sent: {type(error).__name__}")
        return None

    def _carrier(self, claimed: ClaimedMail) -> Carrier:
        return self._carriers[claimed.medium]

    def _prepare(self, claimed: ClaimedMail) -> Send:
        message, recipient = unseal(
            self._ring, claimed.sealed_parameters, kind=claimed.kind, message_id=claimed.mail_id
        )
        return self._carrier(claimed).prepare(
            Outgoing(
                message=message,
                recipient=recipient,
                message_id=claimed.mail_id,
                created_at=claimed.created_at,
                expires_at=claimed.expires_at,
            )
        )

    async def _note(self, claimed: ClaimedMail, note: Callable[[], Awaitable[bool]]) -> None:
        """Note an outcome, trying for as long as the lease keeps others from sending the message again."""
        failures = 0
        while True:
            try:
                is_noted = await note()
            except (DatabaseUnavailable, Conflict):
                failures += 1
                pause = backoff(NOTE_AGAIN_FIRST, NOTE_AGAIN_MAX, failures)
                if self._clock.now() + pause >= claimed.leased_until:
                    raise
                await self._clock.sleep(pause)
            else:
                if not is_noted:
                    # Superseded on its way, or the lease was over.
                    _log.info(
                        "mail taken over", mail_id=str(claimed.mail_id), kind=claimed.kind, attempt=claimed.attempts
                    )
                return

    async def _finish(self, claimed: ClaimedMail, state: MailState, last_error: str | None) -> bool:
        return await outbox.finish(
            self._database,
            mail_id=claimed.mail_id,
            attempts=claimed.attempts,
            state=state,
            last_error=last_error,
            now=self._clock.now(),
        )

    async def _retry(self, claimed: ClaimedMail, failure: TemporaryFailure) -> bool:
        longest = self._settings.backoff_max
        pause = backoff(self._settings.backoff_first, longest, claimed.attempts)
        if failure.retry_after is not None:
            # Not earlier than asked; but nobody else says for how long messages may lie here.
            pause = max(pause, min(failure.retry_after, longest))
        return await outbox.retry(
            self._database,
            mail_id=claimed.mail_id,
            attempts=claimed.attempts,
            not_before=self._clock.now() + pause,
            last_error=str(failure),
        )
