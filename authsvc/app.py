"""The composition root: builds everything by constructor, runs it, stops it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import structlog

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.access.throttle import Throttle
from authsvc.core.accounts.addresses import Confirmations
from authsvc.core.accounts.deletion import Deletion
from authsvc.core.accounts.login import Identities
from authsvc.core.accounts.new_passwords import NewPasswords
from authsvc.core.accounts.password_policy import PasswordPolicy
from authsvc.core.accounts.passwords import Passwords
from authsvc.core.accounts.profile import Profile
from authsvc.core.accounts.sign_up import SignUp
from authsvc.core.audit.events import AuditEvents
from authsvc.core.audit.trail import Audit
from authsvc.core.factors.custom import CustomChallenge
from authsvc.core.factors.custom_rounds import CustomRounds
from authsvc.core.factors.preferences import Mfa
from authsvc.core.factors.recovery import Recovery
from authsvc.core.factors.sent_code import SignInCodes
from authsvc.core.factors.totp import Totp
from authsvc.core.janitor import Janitor
from authsvc.core.messages.codes import Codes
from authsvc.core.messages.notices import Notices
from authsvc.core.operators.accounts import AccountAdmin
from authsvc.core.operators.attributes import AttributeAdmin
from authsvc.core.operators.changes import Changes
from authsvc.core.operators.exports import Exports
from authsvc.core.operators.groups import Groups
from authsvc.core.operators.identity import Operators
from authsvc.core.operators.imports import Imports
from authsvc.core.operators.invitations import Invitations
from authsvc.core.operators.mail_queue import MailQueue
from authsvc.core.operators.passwords import PasswordAdmin
from authsvc.core.operators.user_list import UserList
from authsvc.core.operators.user_records import RecordRules
from authsvc.core.sessions.bearers import Bearers
from authsvc.core.sessions.ends import SessionEnds
from authsvc.core.sessions.lists import SessionList
from authsvc.core.sessions.refresh import Refreshes
from authsvc.core.sessions.sessions import Sessions
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.core.sessions.tokens import TokenSigner
from authsvc.core.sign_in.answers import Answers
from authsvc.core.sign_in.flow import SignIn
from authsvc.core.sign_in.next_steps import NextSteps
from authsvc.core.sign_in.reauthentication import Reauthentication
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
from authsvc.rpc.admin import AdminFlows, AdminServicer
from authsvc.rpc.auth import AuthServicer
from authsvc.rpc.challenge_hook import ChallengeHookClient
from authsvc.rpc.flows import Flows
from authsvc.rpc.server import Server
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
        database: Database,
        server: Server,
        signing_keys: SigningKeys,
        dispatcher: Dispatcher,
        janitor: Janitor,
        hasher: PasswordHasher,
        metrics: Metrics,
        drain_timeout: timedelta,
        clock: Clock,
    ) -> None:
        self._database = database
        self._server = server
        self._signing_keys = signing_keys
        self._dispatcher = dispatcher
        self._janitor = janitor
        self._hasher = hasher
        self._metrics = metrics
        self._drain_timeout = drain_timeout
        self._clock = clock
        self._migrations = read_migrations()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, clock: Clock, metrics: Metrics) -> AsyncIterator[App]:
        """Build the service; Postgres may be away. Everything that was opened is closed at the end.

        Raises:
            MasterKeyError: the setting keys.master holds no keys.
        """
        ring = KeyRing(keys=parse_master_keys(settings.keys.master.get_secret_value()))
        async with AsyncExitStack() as stack:
            database = await Database.open(settings.database, size=settings.database.pool_size)
            stack.push_async_callback(database.close)
            # Counting must never wait for work to give a connection back, nor for the disk.
            counters = await Database.open(settings.database, size=settings.database.throttle_pool_size, durable=False)
            stack.push_async_callback(counters.close)
            hasher = PasswordHasher(
                parameters=HashParameters(
                    settings.passwords.argon2_time_cost,
                    settings.passwords.argon2_memory_kib,
                    settings.passwords.argon2_parallelism,
                ),
                threads=settings.passwords.hash_threads or len(os.sched_getaffinity(0)),
                queue=settings.passwords.hash_queue,
            )
            stack.callback(hasher.close)
            notices = Notices(ring=ring)
            throttle = Throttle(counters, ring, settings.limits, settings.codes, clock)
            audit = Audit(database=database, ring=ring, clock=clock)
            events = AuditEvents(database=database, ring=ring, clock=clock)
            signing_keys = SigningKeys(database=database, ring=ring, audit=audit, settings=settings.tokens, clock=clock)
            bearers = Bearers(database=database, signing_keys=signing_keys, settings=settings.tokens, clock=clock)
            sessions = Sessions(
                database=database,
                ring=ring,
                signer=TokenSigner(signing_keys=signing_keys, settings=settings.tokens, clock=clock),
                settings=settings.tokens,
            )
            session_list = SessionList(database=database, ring=ring, clock=clock)
            codes = Codes(
                database=database, ring=ring, throttle=throttle, notices=notices, settings=settings.codes, clock=clock
            )
            policy = PasswordPolicy(settings=settings.passwords, mfa=settings.accounts.mfa)
            totp = Totp(
                database, ring, throttle, bearers, notices, audit, settings.accounts, settings.challenges, clock
            )
            recovery = Recovery(database, ring, throttle, bearers, notices, audit, clock)
            hook = None
            if settings.hooks.challenge_target:
                hook = ChallengeHookClient(settings=settings.hooks)
                stack.push_async_callback(hook.close)
            sign_in = _sign_in(
                database,
                ring,
                hasher,
                throttle,
                notices,
                audit,
                policy,
                sessions,
                totp,
                recovery,
                hook,
                settings,
                clock,
            )
            passwords = Passwords(
                database, hasher, throttle, codes, policy, bearers, notices, audit, settings.accounts, clock
            )
            confirmations = Confirmations(database, throttle, codes, bearers, notices, audit, settings, clock)
            deletion = Deletion(database, throttle, codes, bearers, audit)
            identities = Identities(database, by_email=settings.accounts.sign_in_by_email)
            flows = Flows(
                identities=identities,
                sign_up=SignUp(database, ring, hasher, throttle, codes, policy, audit, identities, settings, clock),
                sign_in=sign_in,
                totp=totp,
                recovery=recovery,
                mfa=Mfa(database, bearers, notices, audit, settings.accounts, clock),
                reauthentication=Reauthentication(
                    database, hasher, throttle, bearers, sessions, totp, recovery, audit, clock
                ),
                profile=Profile(database, bearers, confirmations, audit, settings, clock),
                confirmations=confirmations,
                deletion=deletion,
                bearers=bearers,
                refreshes=Refreshes(
                    database=database,
                    ring=ring,
                    sessions=sessions,
                    notices=notices,
                    audit=audit,
                    settings=settings.tokens,
                    clock=clock,
                ),
                session_ends=SessionEnds(database=database, audit=audit, clock=clock),
                session_list=session_list,
                passwords=passwords,
                policy=policy,
                signing_keys=signing_keys,
                events=events,
            )
            changes = Changes(database=database, audit=audit, clock=clock)
            admin_flows = AdminFlows(
                operators=Operators(
                    database=database, ring=ring, audit=audit, identities=settings.admin.identities, clock=clock
                ),
                invitations=Invitations(
                    database=database,
                    hasher=hasher,
                    throttle=throttle,
                    notices=notices,
                    policy=policy,
                    changes=changes,
                    settings=settings,
                ),
                accounts=AccountAdmin(
                    database=database,
                    throttle=throttle,
                    passwords=passwords,
                    session_list=session_list,
                    notices=notices,
                    changes=changes,
                    deletion=deletion,
                ),
                passwords=PasswordAdmin(
                    database=database,
                    hasher=hasher,
                    throttle=throttle,
                    policy=policy,
                    notices=notices,
                    changes=changes,
                    settings=settings.accounts,
                ),
                attributes=AttributeAdmin(codes=codes, notices=notices, changes=changes, settings=settings),
                users=UserList(database=database, ring=ring),
                groups=Groups(database=database, ring=ring, changes=changes),
                mail=MailQueue(database=database, ring=ring, changes=changes),
                imports=Imports(
                    database=database,
                    rules=RecordRules(
                        hasher=hasher, ring=ring, settings=settings.accounts, custom=settings.attributes.custom
                    ),
                    audit=audit,
                    clock=clock,
                ),
                exports=Exports(database=database, ring=ring, changes=changes),
                events=events,
            )
            carriers: dict[Medium, Carrier] = {
                Medium.EMAIL: MailCarrier(settings=settings.mail, sender=SmtpSender(settings=settings.mail))
            }
            if settings.sms.webhook_url:
                carriers[Medium.SMS] = await stack.enter_async_context(
                    SmsCarrier.open(settings.sms, clock, default_locale=settings.mail.default_locale)
                )
            yield cls(
                database=database,
                server=Server(
                    settings=settings.server,
                    auth=AuthServicer(flows=flows),
                    admin=AdminServicer(flows=admin_flows),
                    metrics=metrics,
                    hash_wait=hasher.expected_wait,
                ),
                signing_keys=signing_keys,
                dispatcher=Dispatcher(
                    attempts=Attempts(
                        database=database,
                        carriers=carriers,
                        ring=ring,
                        settings=settings.mail,
                        clock=clock,
                        on_outcome=metrics.count_mail,
                    ),
                    database=database,
                    settings=settings.mail,
                    clock=clock,
                    on_outcome=metrics.count_mail,
                    on_queue_age=metrics.set_mail_age,
                ),
                janitor=Janitor(database=database, ring=ring, settings=settings, clock=clock),
                hasher=hasher,
                metrics=metrics,
                drain_timeout=settings.server.drain_timeout,
                clock=clock,
            )

    async def start(self) -> int:
        """Listen; return the port."""
        return await self._server.start()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain: calls in flight finish, mail in flight is sent or its lease ends."""
        async with asyncio.TaskGroup() as tasks:
            readiness = tasks.create_task(self._watch_readiness())
            janitor = tasks.create_task(self._janitor.run())
            mail = tasks.create_task(self._dispatcher.run())
            await stop.wait()
            _log.info("draining")
            readiness.cancel()
            janitor.cancel()
            await self._server.stop()
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


def _sign_in(
    database: Database,
    ring: KeyRing,
    hasher: PasswordHasher,
    throttle: Throttle,
    notices: Notices,
    audit: Audit,
    policy: PasswordPolicy,
    sessions: Sessions,
    totp: Totp,
    recovery: Recovery,
    hook: ChallengeHookClient | None,
    settings: Settings,
    clock: Clock,
) -> SignIn:
    """Build the step machine."""
    custom = CustomChallenge(hook, ring, settings.hooks.challenge_max_rounds) if hook else None
    codes = SignInCodes(database, ring, throttle, notices, settings, clock)
    new_passwords = NewPasswords(database, hasher, policy, notices, settings)
    max_wrong = settings.challenges.max_wrong
    return SignIn(
        database,
        ring,
        hasher,
        throttle,
        sessions,
        audit,
        NextSteps(ring, throttle, sessions, audit, totp, codes, new_passwords, settings, custom),
        Answers(database, throttle, totp, codes, recovery, new_passwords, notices, settings, clock),
        codes,
        CustomRounds(database, ring, throttle, custom, clock, max_wrong=max_wrong) if custom else None,
        settings,
        clock,
    )
