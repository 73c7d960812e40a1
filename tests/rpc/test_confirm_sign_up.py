"""Confirmation of a sign-up by the code of its mail."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from authsvc.v1.sign_up_step_pb2 import SignUpStep
from tests.clock import TICK
from tests.rpc.calls import confirm, confirm_reset, resend, reset_code, step_of, wrong
from tests.rpc.conftest import Run
from tests.service import Service, fails

DAY = timedelta(hours=24)


@pytest.fixture
async def code(service: Service) -> str:
    """Sign ada up and read the code in her mail."""
    await service.sign_up("ada")
    return await service.code("ada@example.com")


async def test_code_is_eight_digits(service: Service, code: str) -> None:
    """The code has 8 digits and confirms the account under any spelling of its name, spaces or not."""
    assert len(code) == 8
    done = await confirm(service, "ADA", f" {code[:4]} {code[4:]} ")
    assert done.next_step.step == SignUpStep.SIGN_UP_STEP_DONE
    assert not done.next_step.HasField("code_delivery")
    assert step_of(await service.sign_in("ada")) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_code_lives_a_day(service: Service, code: str, early: timedelta) -> None:
    """The code works until 24 hours after it was made."""
    service.clock.advance(DAY - early)
    if early > timedelta():
        await confirm(service, "ada", code)
        return
    async with fails("CODE_EXPIRED") as failures:
        await confirm(service, "ada", code)
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION
    assert step_of(await service.sign_in("ada")) == "CONFIRM_SIGN_UP"


async def test_four_wrong_codes_leave_a_try(service: Service, code: str) -> None:
    """After four wrong codes the right one still works."""
    for _ in range(4):
        async with fails("CODE_MISMATCH") as failures:
            await confirm(service, "ada", wrong(code))
        assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
    await confirm(service, "ada", code)


async def test_five_wrong_codes_burn_it(service: Service, code: str) -> None:
    """After five wrong codes the right one is worth nothing; a new one has five tries of its own."""
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await confirm(service, "ada", wrong(code))
    service.clock.advance(timedelta(seconds=1))
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", code)

    before = service.catcher.last_number()
    await resend(service, "ada")
    fresh = await service.code("ada@example.com", after=before)
    service.clock.advance(timedelta(seconds=2))
    async with fails("CODE_MISMATCH"):
        await confirm(service, "ada", wrong(fresh))
    service.clock.advance(timedelta(seconds=4))
    await confirm(service, "ada", fresh)


async def test_wrong_codes_lock(service: Service, code: str) -> None:
    """From the fifth wrong code on the name waits; a try meanwhile is neither evaluated nor counted."""
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await confirm(service, "ada", wrong(code))
    for _ in range(3):
        async with fails("LIMIT_EXCEEDED") as failures:
            await confirm(service, "ada", code)
        assert failures[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failures[0].retry_after is not None
        assert timedelta(seconds=1) <= failures[0].retry_after < timedelta(seconds=1.1)
    service.clock.advance(timedelta(seconds=1))
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", code)


async def test_code_is_single_use(service: Service, code: str) -> None:
    """A used code is worth nothing, the account being confirmed."""
    await confirm(service, "ada", code)
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", code)


async def test_superseded_codes_are_expired(service: Service, code: str) -> None:
    """Former codes are answered as expired, not as wrong; the newest one works."""
    former = [code]
    for _ in range(3):
        before = service.catcher.last_number()
        await resend(service, "ada")
        former.append(await service.code("ada@example.com", after=before))
    newest = former.pop()
    for old in former:
        async with fails("CODE_EXPIRED"):
            await confirm(service, "ada", old)
    await confirm(service, "ada", newest)


async def test_code_never_issued(service: Service) -> None:
    """A name that nobody signed up has no code to be right."""
    async with fails("CODE_EXPIRED") as failures:
        await confirm(service, "nobody", "123456")
    assert failures[0].code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("text", ["12345a", "\u0661\u0662\u0663\u0664\u0665\u0666", "-12345", "1", "1" * 13])
async def test_what_is_no_code(service: Service, code: str, text: str) -> None:
    """What can't be a code is a fault of the field and costs no try."""
    for _ in range(6):
        async with fails("INVALID_FIELDS") as failures:
            await confirm(service, "ada", text)
        assert failures[0].violations == [("confirmation_code", "DIGITS")]
    await confirm(service, "ada", code)


async def test_both_fields_at_once(service: Service) -> None:
    """An empty request names both fields."""
    async with fails("INVALID_FIELDS") as failures:
        await confirm(service, "", "")
    assert failures[0].violations == [("username", "REQUIRED"), ("confirmation_code", "REQUIRED")]


async def test_codes_are_of_one_account(service: Service, code: str) -> None:
    """The code of one account is a wrong one for another."""
    await service.sign_up("bob")
    bobs = await service.code("bob@example.com")
    assert code != bobs
    async with fails("CODE_MISMATCH"):
        await confirm(service, "bob", code)
    await confirm(service, "bob", bobs)
    await confirm(service, "ada", code)


async def test_codes_are_of_one_purpose(run: Run) -> None:
    """A code for a new password, of the same length, does not confirm a sign-up, nor the other way round."""
    async with run(codes={"reset_digits": 6}) as service:
        account = await service.enrolled("bob")
        async with fails("CODE_EXPIRED"):
            await confirm(service, "bob", await reset_code(service, account))
        await service.sign_up("ada")
        sign_up_code = await service.code("ada@example.com")
        async with fails("CODE_EXPIRED"):
            await confirm_reset(service, "ada", sign_up_code)
