"""The composition root: builds everything by constructor, runs it, stops it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.composition import Composition
from authsvc.config import Settings
from authsvc.core.janitor import Janitor
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.crypto.hash_fields import HashParameters
from authsvc.crypto.password_hash import PasswordHasher
from authsvc.crypto.sealing import KeyRing, UnsealError, parse_master_keys
from authsvc.delivery.attempts import Attempts
from authsvc.delivery.carriers import Carrier
from authsvc.delivery.dispatcher import Dispatcher
from authsvc.delivery.mail.carrier import MailCarrier
from authsvc.delivery.mail.smtp import SmtpSender
from authsvc.delivery.sms.carrier import SmsCarrier
from authsvc.domain import Medium
from authsvc.errors import DatabaseUnavailable
from authsvc.ground import Ground
from authsvc.rpc.admin import AdminServicer
from authsvc.rpc.auth import AuthServicer
from authsvc.rpc.challenge_hook import ChallengeHookClient
from authsvc.rpc.server import LAST_WORDS, Server
from authsvc.store.db import Database
from authsvc.store.migrate import is_current, read_migrations
from authsvc.telemetry.metrics import Metrics

READINESS_INTERVAL = timedelta(seconds=1)

_log = structlog.get_logger()


class App:
    """Hold one running server process and its background work."""

    def __init__(
        self,
        *,
        ground: Ground,
        server: Server,
        signing_keys: SigningKeys,
        dispatcher: Dispatcher,
        janitor: Janitor,
        metrics: Metrics,
    ) -> None:
        self._database = ground.database
        self._server = server
        self._signing_keys = signing_keys
        self._dispatcher = dispatcher
        self._janitor = janitor
        self._hasher = ground.hasher
        self._metrics = metrics
        self._drain_timeout = ground.settings.server.drain_timeout
        self._clock = ground.clock
        self._migrations = read_migrations()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, clock: Clock, metrics: Metrics) -> AsyncIterator[App]:
        """Build the service; Postgres may be away. Everything that was opened is closed at the end.

        Raises:
            MasterKeyError: the setting keys.master holds no keys.
        """
        async with AsyncExitStack() as stack:
            ground = await _open_ground(stack, settings, clock, metrics=metrics)
            parts = Composition(ground=ground)
            yield cls(
                ground=ground,
                server=Server(
                    settings=settings.server,
                    auth=AuthServicer(flows=parts.auth_flows()),
                    admin=AdminServicer(flows=parts.admin_flows()),
                    metrics=metrics,
                    hash_wait=ground.hasher.expected_wait,
                ),
                signing_keys=parts.signing_keys,
                dispatcher=await _open_dispatcher(stack, ground, metrics),
                janitor=Janitor(database=ground.database, ring=ground.ring, settings=settings, clock=clock),
                metrics=metrics,
            )

    async def start(self) -> int:
        """Listen; return the port."""
        return await self._server.start()

    async def run(self, stop: asyncio.Event, *, last_words: timedelta = LAST_WORDS) -> None:
        """Serve until `stop` is set, then drain: calls in flight finish, mail in flight is sent or its lease ends.

        A caller who knows that no call is on its way needs no last words.
        """
        async with asyncio.TaskGroup() as tasks:
            readiness = tasks.create_task(self._watch_readiness())
            connections = tasks.create_task(self._server.keep_connections_in_bounds())
            janitor = tasks.create_task(self._janitor.run())
            mail = tasks.create_task(self._dispatcher.run())
            await stop.wait()
            _log.info("draining")
            for task in (readiness, connections, janitor):
                task.cancel()
            await self._server.stop(last_words)
            # After the server: the last calls' mail is sent too.
            self._dispatcher.stop()
            await asyncio.wait({mail}, timeout=self._drain_timeout.total_seconds())
            mail.cancel()
        _log.info("stopped")

    async def _watch_readiness(self) -> None:
        known: str | None = None
        while True:
            obstacle = await self._obstacle()
            if obstacle != known:
                if obstacle:
                    _log.warning("not serving", obstacle=obstacle)
                else:
                    _log.info("serving")
                self._dispatcher.set_serving(not obstacle)
                await self._server.set_serving(not obstacle)
                known = obstacle
            self._metrics.set_hashes(self._hasher.waiting)
            await self._clock.sleep(READINESS_INTERVAL)

    async def _obstacle(self) -> str:
        """Return what keeps calls from being served; empty if nothing does."""
        try:
            if not await is_current(self._database, self._migrations):
                return "the schema is behind: run `authsvc migrate`"
            await self._signing_keys.ensure_one()
            await self._signing_keys.current()
        except UnsealError:
            # Every sign-in would fail at its end. A rollout with the wrong key must stop at its first replica.
            return "the master key does not open the signing key: it is not the one of this database"
        except DatabaseUnavailable:
            return "the database is away"
        except Exception as error:
            # Nobody would start this watch again.
            _log.error("readiness_fault", exc_info=error)
            return "a fault: see the log"
        return ""


async def _open_ground(stack: AsyncExitStack, settings: Settings, clock: Clock, *, metrics: Metrics) -> Ground:
    ring = KeyRing(keys=parse_master_keys(settings.keys.master.get_secret_value()))
    database = await Database.open(settings.database, size=settings.database.pool_size)
    stack.push_async_callback(database.close)
    # Counting must never wait for work to give a connection back, nor for the disk.
    counters = await Database.open(settings.database, size=settings.database.throttle_pool_size, durable=False)
    stack.push_async_callback(counters.close)
    hashing = settings.passwords
    hasher = PasswordHasher(
        parameters=HashParameters(hashing.argon2_time_cost, hashing.argon2_memory_kib, hashing.argon2_parallelism),
        threads=hashing.hash_threads or len(os.sched_getaffinity(0)),
        queue=hashing.hash_queue,
    )
    stack.callback(hasher.close)
    hook = None
    if settings.hooks.challenge_target:
        hook = ChallengeHookClient(settings=settings.hooks)
        stack.push_async_callback(hook.close)
    return Ground(
        settings=settings,
        clock=clock,
        ring=ring,
        database=database,
        counters=counters,
        hasher=hasher,
        hook=hook,
        metrics=metrics,
    )


async def _open_dispatcher(stack: AsyncExitStack, ground: Ground, metrics: Metrics) -> Dispatcher:
    settings, clock = ground.settings, ground.clock
    carriers: dict[Medium, Carrier] = {
        Medium.EMAIL: MailCarrier(settings=settings.mail, sender=SmtpSender(settings=settings.mail))
    }
    if settings.sms.webhook_url:
        carriers[Medium.SMS] = await stack.enter_async_context(
            SmsCarrier.open(settings.sms, clock, default_locale=settings.mail.default_locale)
        )
    attempts = Attempts(
        database=ground.database,
        carriers=carriers,
        ring=ground.ring,
        settings=settings.mail,
        clock=clock,
        on_outcome=metrics.count_mail,
    )
    return Dispatcher(attempts=attempts, on_queue_age=metrics.set_mail_age)
