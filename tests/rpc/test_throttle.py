"""Locks after wrong passwords and codes: when, for how long, and what they don't touch."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.store.db import Database
from tests.clock import TICK
from tests.rpc.calls import (
    NEW_PASSWORD,
    answer,
    confirm,
    confirm_reset,
    reset_code,
    seed_failures,
    step_of,
    wrong,
    wrong_totp,
)
from tests.service import PASSWORD, Account, Failure, Service, fails

# Seconds of lock after the n-th failure in a row, from the fifth on.
SCHEDULE = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def fail(service: Service, username: str = "ada") -> None:
    """Sign in with a wrong password that is evaluated."""
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in(username, password="not the password")


async def refused(service: Service, username: str = "ada", password: str = PASSWORD) -> Failure:
    """Sign in while a lock holds; return what is said."""
    async with fails("LIMIT_EXCEEDED") as failures:
        await service.sign_in(username, password=password)
    assert failures[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
    return failures[0]


async def test_lock_schedule(service: Service) -> None:
    """From the fifth wrong password on the lock is 1, 2, 4 … seconds, at most 15 minutes; each ends to the tick."""
    await service.sign_up("ada")
    for _ in range(4):
        await fail(service)
    for seconds in SCHEDULE:
        await fail(service)
        lock = timedelta(seconds=seconds)
        wait = (await refused(service)).retry_after
        assert wait is not None
        assert lock <= wait <= lock + timedelta(milliseconds=2)
        service.clock.advance(lock - TICK)
        await refused(service)
        service.clock.advance(TICK)
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"


async def test_retry_at_the_moment_that_was_told(service: Service) -> None:
    """Who waits for as long as RetryInfo says is let in, in the middle of a lock too."""
    await service.sign_up("ada")
    for _ in range(4):
        await fail(service)
    for _ in range(4):
        await fail(service)
        service.clock.advance(timedelta(seconds=0.3))
        wait = (await refused(service)).retry_after
        assert wait is not None
        service.clock.advance(wait)
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"


async def test_tries_during_a_lock_count_for_nothing(service: Service, database: Database) -> None:
    """During a lock wrong and right passwords alike are refused, and neither prolongs it."""
    await service.sign_up("ada")
    for _ in range(5):
        await fail(service)
    for _ in range(20):
        await refused(service, password=PASSWORD)
        await refused(service, password="not the password")
    assert await database.fetchval("select count from failures") == 5
    service.clock.advance(timedelta(seconds=1))
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"


async def test_success_starts_the_count_again(service: Service) -> None:
    """The right password forgets the wrong ones before it."""
    await service.sign_up("ada")
    for _ in range(3):
        for _ in range(4):
            await fail(service)
        await service.sign_in("ada")
    for _ in range(5):
        await fail(service)
    assert (await refused(service)).retry_after is not None


async def test_time_alone_forgets_nothing(service: Service) -> None:
    """Wrong passwords far apart are counted in a row all the same."""
    await service.sign_up("ada")
    for _ in range(5):
        await fail(service)
        service.clock.advance(timedelta(hours=1))
    await fail(service)
    wait = (await refused(service)).retry_after
    assert wait is not None
    assert wait >= timedelta(seconds=2)


async def test_accounts_are_counted_apart(service: Service) -> None:
    """One account's failures lock no other, and its success clears no other."""
    await service.sign_up("ada")
    await service.sign_up("bob")
    for _ in range(5):
        await fail(service, "ada")
    await service.sign_in("bob")
    await refused(service, "ada")
    for _ in range(4):
        await fail(service, "bob")
    service.clock.advance(timedelta(seconds=1))
    await service.sign_in("ada")
    await fail(service, "bob")
    await refused(service, "bob")


async def test_spellings_of_one_name_are_counted_together(service: Service) -> None:
    """Guesses under other spellings of a name are guesses at the same account."""
    await service.sign_up("ada")
    for username in ("ada", "ADA", "Ada", "\uff21da", "aDa"):
        await fail(service, username)
    await refused(service, "adA")


async def test_factors_are_counted_apart(service: Service, database: Database) -> None:
    """Wrong TOTP codes lock no password and wrong passwords no TOTP code; nor do codes of mails either."""
    account = await service.enrolled("ada")
    service.next_totp_step()
    started = await service.sign_in("ada")
    for _ in range(5):
        await fail(service)
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"

    code = await reset_code(service, account)
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await confirm_reset(service, "ada", wrong(code))
    for _ in range(5):
        async with fails("CODE_EXPIRED"):
            await confirm(service, "ada", "123456")
    counts = await database.fetch("select split_part(factor, ' ', 1), count from failures order by factor")
    assert [tuple(row) for row in counts] == [("PASSWORD", 5), ("RESET_CODE", 4), ("SIGN_UP_CODE", 5)]
    await confirm_reset(service, "ada", code)


@pytest.mark.parametrize("close_at", [99, 100])
async def test_closed_after_a_hundred(service: Service, database: Database, close_at: int) -> None:
    """After 100 failures in a row a password is closed for good: without RetryInfo, however long one waits."""
    await service.sign_up("ada")
    await seed_failures(service, database, "PASSWORD", close_at - 1)
    if close_at < 100:
        await fail(service)
        service.clock.advance(timedelta(minutes=15))
        assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"
        return
    await fail(service)
    for wait in (timedelta(), timedelta(minutes=15), timedelta(days=30)):
        service.clock.advance(wait)
        failure = await refused(service)
        assert failure.retry_after is None
        assert failure.metadata["closed"] == "true"


async def test_mail_codes_are_locked_but_never_closed(service: Service, database: Database) -> None:
    """A stranger's wrong reset codes lock, with a time to wait for, however many they are."""
    account = await service.enrolled()
    code = await reset_code(service, account)
    await seed_failures(service, database, "RESET_CODE", 150)
    async with fails("CODE_MISMATCH"):
        await confirm_reset(service, "ada", wrong(code))
    async with fails("LIMIT_EXCEEDED") as failures:
        await confirm_reset(service, "ada", code)
    assert failures[0].retry_after is not None
    assert "closed" not in failures[0].metadata


async def test_reset_opens_a_closed_password(service: Service, database: Database) -> None:
    """A reset by mail opens a closed password in every lane, and the wrong ones start from nothing."""
    account = await service.enrolled("ada")
    await seed_failures(service, database, "PASSWORD", 100)
    await refused(service)
    await confirm_reset(service, "ada", await reset_code(service, account))
    for _ in range(4):
        await fail(service)
    assert step_of(await service.sign_in("ada", password=NEW_PASSWORD)) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"


async def test_reset_does_not_open_totp(service: Service, database: Database) -> None:
    """A closed TOTP factor stays closed after a password reset: a mailbox is not enough to guess codes again."""
    account = await service.enrolled("ada")
    await seed_failures(service, database, "TOTP", 100)
    await confirm_reset(service, "ada", await reset_code(service, account))
    service.next_totp_step()
    started = await service.sign_in("ada", password=NEW_PASSWORD)
    async with fails("LIMIT_EXCEEDED") as failures:
        await answer(service, started.session, service.totp(account.secret))
    assert failures[0].metadata["closed"] == "true"
    assert failures[0].retry_after is None


async def test_lock_schedule_of_codes(service: Service) -> None:
    """Wrong TOTP codes are locked by the same schedule, over as many sign-ins as it takes."""
    account: Account = await service.enrolled("ada")
    for number in range(1, 9):
        started = await service.sign_in("ada")
        async with fails("CODE_MISMATCH"):
            await answer(service, started.session, wrong_totp(service, account.secret))
        if number < 5:
            continue
        lock = timedelta(seconds=2 ** (number - 5))
        started = await service.sign_in("ada")
        service.clock.advance(lock - TICK)
        async with fails("LIMIT_EXCEEDED"):
            await answer(service, started.session, wrong_totp(service, account.secret))
        service.clock.advance(TICK)


async def test_reset_codes_are_locked_until_a_new_one(service: Service) -> None:
    """Wrong reset codes lock after the fifth; a new code starts from nothing, or strangers could lock all out."""
    account = await service.enrolled("ada")
    code = await reset_code(service, account)
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await confirm_reset(service, "ada", wrong(code))
    async with fails("LIMIT_EXCEEDED"):
        await confirm_reset(service, "ada", code)
    code = await reset_code(service, account)
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await confirm_reset(service, "ada", wrong(code))
    await confirm_reset(service, "ada", code)
