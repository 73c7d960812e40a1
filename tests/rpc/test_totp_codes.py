"""Codes of authenticators: which are right, and only once."""

from __future__ import annotations

from datetime import datetime, timedelta

import grpc
import pytest

from tests.clock import NOON, TICK, FakeClock
from tests.rpc.calls import answer, associate, step_of, verify, wrong_totp
from tests.rpc.conftest import Run
from tests.service import STEP, Account, Service, fails

# The beginning of the time step that the clock starts in.
BEGIN = NOON.replace(second=0)


def set_to(clock: FakeClock, moment: datetime) -> None:
    """Move the clock on to a moment."""
    assert moment >= clock.now()
    clock.advance(moment - clock.now())


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account with an authenticator whose last code is some steps old."""
    account = await service.enrolled("ada")
    set_to(service.clock, BEGIN + 10 * STEP)
    return account


@pytest.mark.parametrize("steps", [-1, 0, 1])
async def test_steps_beside_the_present_one(service: Service, account: Account, steps: int) -> None:
    """The code of the present time step is right, and that of the one before and the one after."""
    started = await service.sign_in("ada")
    assert step_of(await answer(service, started.session, service.totp(account.secret, steps=steps))) == "DONE"


@pytest.mark.parametrize("steps", [-3, -2, 2, 3])
async def test_steps_further_off(service: Service, account: Account, steps: int) -> None:
    """Codes two steps and more off are wrong."""
    started = await service.sign_in("ada")
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, service.totp(account.secret, steps=steps))


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_end_of_a_code(service: Service, account: Account, early: timedelta) -> None:
    """A code works until a minute after its time step began, that is one step longer than it is shown."""
    code = service.totp(account.secret)
    set_to(service.clock, BEGIN + 12 * STEP - early)
    started = await service.sign_in("ada")
    if early > timedelta():
        assert step_of(await answer(service, started.session, code)) == "DONE"
        return
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, code)


async def test_spaces_are_accepted(service: Service, account: Account) -> None:
    """A code may be typed with the spaces that apps show."""
    started = await service.sign_in("ada")
    code = service.totp(account.secret)
    assert step_of(await answer(service, started.session, f"{code[:3]} {code[3:]}")) == "DONE"


@pytest.mark.parametrize("digits", ["12345", "1234567"])
async def test_other_lengths_are_wrong(service: Service, account: Account, digits: str) -> None:
    """Five or seven digits are a wrong code."""
    started = await service.sign_in("ada")
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, digits)


async def test_replay_in_another_session(service: Service, account: Account) -> None:
    """A code that was accepted is refused in every other session, and the session takes the next code."""
    first, second = await service.sign_in("ada"), await service.sign_in("ada")
    await answer(service, first.session, service.totp(account.secret))
    async with fails("CODE_ALREADY_USED") as failures:
        await answer(service, second.session, service.totp(account.secret))
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert step_of(await answer(service, second.session, service.totp(account.secret, steps=1))) == "DONE"


async def test_codes_before_the_last_accepted(service: Service, account: Account) -> None:
    """After a code of the next step the present one and those before are refused, although never used."""
    first = await service.sign_in("ada")
    await answer(service, first.session, service.totp(account.secret, steps=1))
    second = await service.sign_in("ada")
    for steps in (1, 0, -1):
        async with fails("CODE_ALREADY_USED"):
            await answer(service, second.session, service.totp(account.secret, steps=steps))
    set_to(service.clock, BEGIN + 12 * STEP)
    assert step_of(await answer(service, second.session, service.totp(account.secret))) == "DONE"


async def test_enrolment_code_is_used_up(service: Service) -> None:
    """The code that enrolled an authenticator, and those before it, sign nobody in."""
    account = await service.enrolled("ada")
    started = await service.sign_in("ada")
    for steps in (0, -1):
        async with fails("CODE_ALREADY_USED"):
            await answer(service, started.session, service.totp(account.secret, steps=steps))
    assert step_of(await answer(service, started.session, service.totp(account.secret, steps=1))) == "DONE"


async def test_code_used_for_another_purpose(service: Service) -> None:
    """The code that proved a further authenticator is used up for sign-ins."""
    account = await service.enrolled("ada")
    added = await associate(service, account.tokens)
    await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
    started = await service.sign_in("ada")
    async with fails("CODE_ALREADY_USED"):
        await answer(service, started.session, service.totp(added.shared_secret))


async def test_replay_is_refused_after_a_restart(run: Run) -> None:
    """What was used is remembered by the database, not by the process."""
    async with run() as service:
        account = await service.enrolled("ada")
    async with run() as service:
        started = await service.sign_in("ada")
        async with fails("CODE_ALREADY_USED"):
            await answer(service, started.session, service.totp(account.secret))


async def test_wrong_codes_count_across_sessions(service: Service, account: Account) -> None:
    """Wrong codes are counted for the account: a new session does not start the count again."""
    for _ in range(5):
        started = await service.sign_in("ada")
        async with fails("CODE_MISMATCH"):
            await answer(service, started.session, wrong_totp(service, account.secret))
    started = await service.sign_in("ada")
    async with fails("LIMIT_EXCEEDED") as failures:
        await answer(service, started.session, service.totp(account.secret))
    assert failures[0].retry_after is not None
    service.clock.advance(timedelta(seconds=1))
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_lock_costs_no_answer(service: Service, account: Account) -> None:
    """While codes are locked the session's answers are not used up."""
    for _ in range(5):
        started = await service.sign_in("ada")
        async with fails("CODE_MISMATCH"):
            await answer(service, started.session, wrong_totp(service, account.secret))
    started = await service.sign_in("ada")
    for _ in range(10):
        async with fails("LIMIT_EXCEEDED"):
            await answer(service, started.session, wrong_totp(service, account.secret))
    service.clock.advance(timedelta(seconds=1))
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_wrong_codes_of_setups_count_for_their_session(service: Service, account: Account) -> None:
    """Wrong codes at VerifyTotp count together with others of the same session, and stop no sign-in."""
    added = await associate(service, account.tokens)
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await verify(service, account.tokens, added.session, wrong_totp(service, added.shared_secret))
    other = await associate(service, account.tokens)
    async with fails("LIMIT_EXCEEDED"):
        await verify(service, account.tokens, other.session, service.totp(other.shared_secret))
    service.next_totp_step()
    started = await service.sign_in("ada")
    assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"


async def test_right_code_starts_the_count_again(service: Service, account: Account) -> None:
    """A right code forgets the wrong ones before it."""
    for _ in range(2):
        for _ in range(4):
            started = await service.sign_in("ada")
            async with fails("CODE_MISMATCH"):
                await answer(service, started.session, wrong_totp(service, account.secret))
        await service.sign_in_fully(account)
