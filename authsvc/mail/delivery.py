"""Try one leased mail, and note what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.config import MailSettings
from authsvc.core.messages.notices import MailParameters
from authsvc.crypto.sealing import KeyRing, Purpose
from authsvc.domain import MailState, Medium
from authsvc.errors import Conflict, DatabaseUnavailable, DomainError
from authsvc.mail.backoff import backoff
from authsvc.mail.carriers import Carrier, Send
from authsvc.mail.failures import PermanentFailure, TemporaryFailure
from authsvc.store import outbox
from authsvc.store.db import Database
from authsvc.store.outbox import ClaimedMail

# Waits for a database that is away while there is an outcome to note.
NOTE_AGAIN_FIRST = timedelta(milliseconds=500)
NOTE_AGAIN_MAX = timedelta(seconds=10)

_log = structlog.get_logger(__name__)

# Told the medium and kind of a mail and what came of a try: sent, retried, dead, unwanted; or expired, without one.
OnOutcome = Callable[[str, str, str], None]


class Delivery:
    """Deliver mails, each on its own, outside any transaction."""

    def __init__(
        self,
        database: Database,
        carriers: Mapping[Medium, Carrier],
        keys: KeyRing,
        settings: MailSettings,
        clock: Clock,
        on_outcome: OnOutcome,
    ) -> None:
        self._database = database
        self._carriers = carriers
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._on_outcome = on_outcome

    async def deliver(self, mail: ClaimedMail) -> None:
        """Try one mail and note the outcome. Raises nothing: one mail's failure must not touch the others."""
        log = _log.bind(mail_id=str(mail.mail_id), medium=mail.medium, kind=mail.kind, attempt=mail.attempts)
        try:
            if not await self._is_wanted(mail):
                log.info("mail unwanted")
                self._on_outcome(mail.medium, mail.kind, "unwanted")
                return
            failure = await self._send(mail)
            if failure is None:
                log.info("mail sent")
                self._on_outcome(mail.medium, mail.kind, "sent")
                await self._note(mail, lambda: self._finish(mail, MailState.SENT, None))
            elif isinstance(failure, TemporaryFailure) and mail.attempts < self._settings.max_attempts:
                log.warning("mail retried", reason=str(failure))
                self._on_outcome(mail.medium, mail.kind, "retried")
                await self._note(mail, lambda: self._retry(mail, failure))
            else:
                log.error("mail dead", reason=str(failure))
                self._on_outcome(mail.medium, mail.kind, "dead")
                await self._note(mail, lambda: self._finish(mail, MailState.DEAD, str(failure)))
        except Exception as error:
            # Nothing is lost: the lease ends, and the mail is tried again. Only what is not a database that is away
            # needs its traceback.
            is_known = isinstance(error, DomainError)
            log.warning("mail outcome not noted", reason=type(error).__name__, exc_info=not is_known)

    async def _is_wanted(self, mail: ClaimedMail) -> bool:
        """Ask again right before the send: the mail may be superseded or expired by now.

        A lease that would not outlast the send, because this process stood still, counts as lost; then the mail waits.
        """
        now = self._clock.now()
        return await outbox.is_wanted(
            self._database,
            mail_id=mail.mail_id,
            attempts=mail.attempts,
            now=now,
            leased_until=now + self._carrier(mail).send_timeout,
        )

    async def _send(self, mail: ClaimedMail) -> TemporaryFailure | PermanentFailure | None:
        """Send the mail, or return why it was not sent."""
        if mail.attempts > self._settings.max_attempts:
            # The last try ended without a word: this mail may be what kills the workers.
            return PermanentFailure("tried too often, with unknown outcome")
        try:
            send = self._prepare(mail)
        except Exception as error:
            # No verdict on the mail: a replica with a newer release, or with another master key, may know how.
            # The type alone, because texts quote what they choke on.
            return TemporaryFailure(f"cannot be rendered: {type(error).__name__}")
        try:
            # In all, not for each socket operation: a server that dribbles would hold the mail beyond its lease.
            async with asyncio.timeout(self._carrier(mail).send_timeout.total_seconds()):
                await send()
        except (TemporaryFailure, PermanentFailure) as failure:
            return failure
        except TimeoutError:
            return TemporaryFailure("timed out")
        except Exception as error:  # a fault of ours, after which the other mails must go on
            return TemporaryFailure(f"cannot be sent: {type(error).__name__}")
        return None

    def _carrier(self, mail: ClaimedMail) -> Carrier:
        return self._carriers[Medium(mail.medium)]

    def _prepare(self, mail: ClaimedMail) -> Send:
        plaintext = self._keys.open(Purpose.MAIL, mail.sealed_parameters, bound_to=str(mail.mail_id))
        return self._carrier(mail).prepare(mail, MailParameters.from_bytes(plaintext))

    async def _note(self, mail: ClaimedMail, note: Callable[[], Awaitable[bool]]) -> None:
        """Note an outcome, trying for as long as the lease keeps others from sending the mail again."""
        failures = 0
        while True:
            try:
                is_noted = await note()
            except (DatabaseUnavailable, Conflict):
                failures += 1
                pause = backoff(NOTE_AGAIN_FIRST, NOTE_AGAIN_MAX, failures)
                if self._clock.now() + pause >= mail.leased_until:
                    raise
                await self._clock.sleep(pause)
            else:
                if not is_noted:
                    # Superseded on its way, or the lease was over.
                    _log.info("mail taken over", mail_id=str(mail.mail_id), kind=mail.kind, attempt=mail.attempts)
                return

    async def _finish(self, mail: ClaimedMail, state: MailState, last_error: str | None) -> bool:
        return await outbox.finish(
            self._database,
            mail_id=mail.mail_id,
            attempts=mail.attempts,
            state=state,
            last_error=last_error,
            now=self._clock.now(),
        )

    async def _retry(self, mail: ClaimedMail, failure: TemporaryFailure) -> bool:
        longest = self._settings.backoff_max
        pause = backoff(self._settings.backoff_first, longest, mail.attempts)
        if failure.retry_after is not None:
            # Not earlier than asked; but nobody else says for how long mail may lie here.
            pause = max(pause, min(failure.retry_after, longest))
        return await outbox.retry(
            self._database,
            mail_id=mail.mail_id,
            attempts=mail.attempts,
            not_before=self._clock.now() + pause,
            last_error=str(failure),
        )
