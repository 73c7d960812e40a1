"""What is removed in time, as callers see it, and what stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from authsvc.core.janitor import Janitor
from authsvc.crypto.sealing import KeyRing
from authsvc.errors import DatabaseUnavailable
from authsvc.store.db import Database
from tests.clock import TICK
from tests.rpc.calls import associate, confirm, confirm_reset, is_live, refresh, resend, reset, settle, step_of
from tests.rpc.conftest import Run
from tests.service import Service, fails
from tests.waiting import until

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = 7 * DAY


@pytest.fixture
def janitor(service: Service, database: Database, ring: KeyRing) -> Janitor:
    """Tidy up when told."""
    return Janitor(database=database, ring=ring, settings=service.settings, clock=service.clock)


async def count(database: Database, table: str) -> int:
    """Count the rows of a table."""
    return int(await database.fetchval(f"select count(*) from {table}"))  # noqa: S608  # a name from this file


async def tidied(janitor: Janitor, database: Database, table: str) -> int:
    """Tidy up; count what is left in a table. The service's own janitor may be at the same rows at this moment."""
    await janitor.run_once()
    await asyncio.sleep(0.02)
    await janitor.run_once()
    return await count(database, table)


async def test_unconfirmed_account_goes_after_a_week(service: Service, janitor: Janitor, database: Database) -> None:
    """An account that was not confirmed is removed seven days after its sign-up, with all that belongs to it."""
    await service.sign_up("ada")
    await service.confirmed("bob")
    await settle(service, database)
    service.clock.advance(WEEK - TICK)
    assert await tidied(janitor, database, "users") == 2
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "users") == 1
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada")
    assert await count(database, "passwords") == 1
    assert step_of(await service.sign_in("bob")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


async def test_account_with_a_live_code_stays(service: Service, janitor: Janitor, database: Database) -> None:
    """A code that was sent again keeps an unconfirmed account while it lives, but not for more than its seven days."""
    await service.sign_up("ada")
    await settle(service, database)
    service.clock.advance(WEEK - DAY)
    await resend(service, "ada")
    service.clock.advance(DAY / 2)
    await resend(service, "ada")
    await settle(service, database)
    service.clock.advance(DAY / 2 - TICK)
    assert await tidied(janitor, database, "users") == 1
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"
    async with fails("USERNAME_EXISTS"):
        await service.sign_up("ada")
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "users") == 0


async def test_what_fails_keeps_nothing_else_from_its_turn(service: Service, database: Database, ring: KeyRing) -> None:
    """While one table can't be purged in time the others are, and the failure is told."""
    await service.sign_up("ada")
    await settle(service, database)
    settings = service.settings.database.model_copy(update={"statement_timeout": timedelta(seconds=1)})
    hurried = await Database.open(settings, size=1)
    try:
        async with database.transaction() as transaction:
            await transaction.execute("lock table imports in access exclusive mode")
            service.clock.advance(WEEK)
            with pytest.raises(DatabaseUnavailable):
                await Janitor(database=hurried, ring=ring, settings=service.settings, clock=service.clock).run_once()

            async def is_gone() -> bool:
                return await count(database, "users") == 0

            # The service's own janitor may be at the same row at this moment.
            await until(is_gone)
    finally:
        await hurried.close()


async def test_age_of_unconfirmed_accounts_is_a_setting(run: Run, database: Database, ring: KeyRing) -> None:
    """The operator says after how long an unconfirmed account is removed."""
    async with run(accounts={"unconfirmed_purge": 2 * DAY}) as service:
        await service.sign_up("ada")
        janitor = Janitor(database=database, ring=ring, settings=service.settings, clock=service.clock)
        service.clock.advance(2 * DAY - TICK)
        assert await tidied(janitor, database, "users") == 1
        service.clock.advance(TICK)
        assert await tidied(janitor, database, "users") == 0


async def test_service_tidies_up_by_itself(service: Service, database: Database) -> None:
    """A running service removes what is due within minutes."""
    await service.sign_up("ada")
    await settle(service, database)
    service.clock.advance(WEEK)
    for _ in range(100):
        service.clock.advance(timedelta(minutes=1))
        await asyncio.sleep(0.02)
        if await count(database, "users") == 0:
            return
    raise AssertionError("the unconfirmed account is still there")


async def test_expired_things_go_an_hour_after_their_end(
    service: Service, janitor: Janitor, database: Database
) -> None:
    """Codes, challenge sessions, pending authenticators and windows go an hour after their end."""
    account = await service.enrolled("ada")
    added = await associate(service, account.tokens)
    await reset(service, "ada")
    code = await service.code(account.email, after=service.catcher.last_number() - 1)
    await settle(service, database)
    assert added.session

    service.clock.advance(timedelta(minutes=10) + HOUR - TICK)
    assert await tidied(janitor, database, "codes") == 1
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "codes") == 0
    async with fails("CODE_EXPIRED"):
        await confirm_reset(service, "ada", code)

    service.clock.advance(timedelta(minutes=5) - TICK)
    assert await tidied(janitor, database, "challenge_sessions") == 1
    assert await count(database, "totp_devices") == 2
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "challenge_sessions") == 0
    assert await count(database, "totp_devices") == 1

    service.clock.advance(3 * HOUR)
    assert await tidied(janitor, database, "rate_windows") == 0
    await service.sign_in_fully(account)


async def test_ended_sessions_go_after_a_week(service: Service, janitor: Janitor, database: Database) -> None:
    """A session's tokens are told to be expired for seven days after its end, and to be unknown then."""
    account = await service.enrolled("ada")
    service.clock.advance(30 * DAY + WEEK - TICK)
    assert await tidied(janitor, database, "sessions") == 1
    async with fails("TOKEN_EXPIRED"):
        await refresh(service, account.tokens.refresh_token)
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "sessions") == 0
    async with fails("TOKEN_INVALID"):
        await refresh(service, account.tokens.refresh_token)
    assert not await is_live(service, account.tokens)
    assert await count(database, "refresh_tokens") == 0


async def test_live_things_stay(service: Service, janitor: Janitor) -> None:
    """What is in use outlives any tidying: session, authenticator, code, half-done sign-in, reserved name."""
    account = await service.enrolled("ada")
    await service.sign_up("bob")
    code = await service.code("bob@example.com")
    service.next_totp_step()
    started = await service.sign_in("ada")
    for _ in range(3):
        await janitor.run_once()
    assert await is_live(service, account.tokens)
    assert await is_live(service, await refresh(service, account.tokens.refresh_token))
    await confirm(service, "bob", code)
    assert started.session
    await service.sign_in_fully(account)


async def test_few_failures_are_forgotten_after_a_day(service: Service, janitor: Janitor) -> None:
    """Wrong passwords too few for a lock are forgotten a day after the last of them, not before."""
    await service.sign_up("ada")
    for wait, reason in ((DAY - TICK, "LIMIT_EXCEEDED"), (DAY, "NOT_AUTHORIZED")):
        for _ in range(4):
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in("ada", password="not the password")
        service.clock.advance(wait)
        await janitor.run_once()
        async with fails("NOT_AUTHORIZED"):
            await service.sign_in("ada", password="not the password")
        async with fails(reason):
            await service.sign_in("ada", password="not the password")
        service.clock.advance(timedelta(seconds=1))
        await service.sign_in("ada")


async def test_locks_are_remembered_for_ninety_days(service: Service, janitor: Janitor, database: Database) -> None:
    """Failures that led to a lock are remembered for 90 days; a closed factor stays closed for good."""
    insert = """
    insert into failures (username_key, factor, count, locked_until, updated_at)
    values ('ada', 'PASSWORD', 10, $1, $1), ('bob', 'PASSWORD', 100, $1, $1)
    """
    await database.execute(insert, service.clock.now())
    service.clock.advance(90 * DAY - TICK)
    assert await tidied(janitor, database, "failures") == 2
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "failures") == 1
    service.clock.advance(1000 * DAY)
    assert await tidied(janitor, database, "failures") == 1
    async with fails("LIMIT_EXCEEDED") as failures:
        await service.sign_in("bob")
    assert failures[0].metadata["closed"] == "true"


async def test_finished_mail_goes_after_a_week(service: Service, janitor: Janitor, database: Database) -> None:
    """What is left of a sent mail, which has neither address nor code, goes after seven days."""
    await service.sign_up("ada")
    await settle(service, database)
    assert await database.fetchval("select count(*) from outbox where sealed_parameters is not null") == 0
    service.clock.advance(WEEK)
    assert await tidied(janitor, database, "outbox") == 1
    service.clock.advance(TICK)
    assert await tidied(janitor, database, "outbox") == 0
