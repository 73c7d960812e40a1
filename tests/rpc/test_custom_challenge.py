"""Sign-ins with a custom challenge: the hook runs in a process of its own, as an operator's would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
from structlog.testing import capture_logs

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.hooks.process import HookProcess
from tests.hooks.puzzles import ASKED, Asked, custom, methods, rightly, solution
from tests.rpc.calls import answer, step_of
from tests.rpc.conftest import Asking, Run
from tests.service import PASSWORD, Service, bearer, fails

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def puzzling(asking: Asking, example: HookProcess) -> AsyncIterator[Service]:
    """Run the service with the example as its hook, and with one confirmed account."""
    async with asking(example) as service:
        await service.confirmed("ada")
        yield service


async def test_two_rounds_sign_in(puzzling: Service) -> None:
    """Each right answer leads on, by a session of its own, and the last one to tokens that tell of it."""
    first = await puzzling.sign_in()
    assert step_of(first) == ASKED
    assert first.next_step.public_parameters["question"].startswith("How much is ")
    second = await rightly(puzzling, first)
    assert step_of(second) == ASKED
    assert second.next_step.public_parameters["question"].startswith("Write ")
    assert second.session != first.session
    done = await rightly(puzzling, second)
    assert step_of(done) == "DONE"
    assert methods(done.tokens) == ["pwd", "custom"]
    fetched = await puzzling.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(done.tokens))
    assert fetched.is_signed_in


async def test_answer_is_shown_to_nobody(puzzling: Service, database: Database) -> None:
    """Private parameters are in no answer to the caller, and not readable in the database."""
    first = await puzzling.sign_in()
    assert dict(first.next_step.public_parameters).keys() == {"question"}
    second = await rightly(puzzling, first)
    rows = await database.fetch("select sealed_state from challenge_sessions where sealed_state is not null")
    assert len(rows) == 1
    assert solution(second).encode() not in bytes(rows[0]["sealed_state"])


async def test_no_answer_is_kept_or_logged(puzzling: Service, database: Database) -> None:
    """Neither a right nor a wrong answer is in a log line, nor in any table once the sign-in is over."""
    with capture_logs() as logs:
        second = await rightly(puzzling, await puzzling.sign_in())
        async with fails("CODE_MISMATCH"):
            await custom(puzzling, second.session, "my wrong guess")
        await rightly(puzzling, second)
    assert logs
    tables = await database.fetch("select table_name from information_schema.tables where table_schema = 'public'")
    kept = [
        str(row["all"])
        for table in tables
        for row in await database.fetch(f'select t::text as all from "{table["table_name"]}" t')  # noqa: S608  # ours
    ]
    assert len(kept) > 5
    for secret in (solution(second), "my wrong guess"):
        assert secret not in str(logs)
        assert not [row for row in kept if secret in row or secret.encode().hex() in row]


async def test_it_comes_after_the_second_factor(asking: Asking, example: HookProcess, run: Run) -> None:
    """Who has not proved the second factor is asked nothing by the hook."""
    async with run(accounts={"mfa": "REQUIRED"}) as service:
        account = await service.enrolled("ada")
    async with asking(example, accounts={"mfa": "REQUIRED"}) as service:
        service.next_totp_step()
        started = await service.sign_in()
        assert step_of(started) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
        asked = await answer(service, started.session, service.totp(account.secret))
        assert step_of(asked) == ASKED
        done = await rightly(service, await rightly(service, asked))
        assert methods(done.tokens) == ["pwd", "otp", "custom", "mfa"]


async def test_the_office_is_asked_nothing(asking: Asking, example: HookProcess) -> None:
    """A hook that needs nothing, here by the address that a trusted caller tells, lets the sign-in end."""
    async with asking(example, server={"trusted_callers": "127.0.0.0/8"}) as service:
        await service.confirmed("ada")
        request = pb.SignInRequest(username="ada", password=PASSWORD)
        done = await service.stub.SignIn(request, metadata=[("authsvc-client-ip", "192.0.2.7")])
        assert step_of(done) == "DONE"
        assert methods(done.tokens) == ["pwd"]
        elsewhere = await service.stub.SignIn(request, metadata=[("authsvc-client-ip", "198.51.100.7")])
        assert step_of(elsewhere) == ASKED


@pytest.mark.parametrize("rounds", [0, 1])
async def test_alive_after_four_wrong_answers_dead_after_five(puzzling: Service, rounds: int) -> None:
    """A round takes the right answer after four wrong ones, and none after five."""
    for wrong in (4, 5):
        asked: Asked = await puzzling.sign_in()
        for _ in range(rounds):
            asked = await rightly(puzzling, asked)
        for _ in range(wrong):
            async with fails("CODE_MISMATCH") as failures:
                await custom(puzzling, asked.session, "wrong")
            assert failures[0].code is grpc.StatusCode.INVALID_ARGUMENT
        puzzling.clock.advance(timedelta(seconds=2))
        if wrong == 4:
            last = await rightly(puzzling, asked)
            while step_of(last) == ASKED:
                last = await rightly(puzzling, last)
        else:
            async with fails("SESSION_EXPIRED"):
                await rightly(puzzling, asked)


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_each_round_lives_for_three_minutes(puzzling: Service, early: timedelta) -> None:
    """A challenge can be answered for 3 minutes from when it was asked."""
    first = await puzzling.sign_in()
    puzzling.clock.advance(2 * MINUTE)
    second = await rightly(puzzling, first)
    puzzling.clock.advance(3 * MINUTE - early)
    if early > timedelta():
        assert step_of(await rightly(puzzling, second)) == "DONE"
        return
    async with fails("SESSION_EXPIRED"):
        await rightly(puzzling, second)


async def test_single_use(puzzling: Service) -> None:
    """A session that was answered rightly can't be answered again, neither during the next round nor after the last."""
    first = await puzzling.sign_in()
    second = await rightly(puzzling, first)
    async with fails("SESSION_EXPIRED"):
        await rightly(puzzling, first)
    await rightly(puzzling, second)
    for asked in (first, second):
        async with fails("SESSION_EXPIRED"):
            await rightly(puzzling, asked)


async def test_answers_are_good_for_their_own_session_alone(puzzling: Service) -> None:
    """What another user, or another sign-in of the same one, was asked is not what this one is asked."""
    await puzzling.confirmed("bob")
    mine, others, later = await puzzling.sign_in(), await puzzling.sign_in("bob"), await puzzling.sign_in()
    while len({solution(mine), solution(others), solution(later)}) < 3:
        others, later = await puzzling.sign_in("bob"), await puzzling.sign_in()
    for foreign in (others, later):
        async with fails("CODE_MISMATCH"):
            await custom(puzzling, mine.session, solution(foreign))
    assert step_of(await rightly(puzzling, mine)) == ASKED


async def test_a_state_moved_to_another_session_is_no_good(puzzling: Service, database: Database) -> None:
    """Who can write to the database can't give a sign-in a challenge whose answer they know."""
    mine = await puzzling.sign_in()
    await puzzling.sign_in()
    await database.execute(
        """
        update challenge_sessions c
           set sealed_state = (select o.sealed_state from challenge_sessions o where o.digest <> c.digest)
        """
    )
    async with fails("INTERNAL"):
        await rightly(puzzling, mine)


OTHERS = {
    "totp_code": pb.ConfirmSignInRequest(totp_code="123456"),
    "sms_code": pb.ConfirmSignInRequest(sms_code="123456"),
    "email_code": pb.ConfirmSignInRequest(email_code="123456"),
    "recovery_code": pb.ConfirmSignInRequest(recovery_code="aaaa-bbbb-cccc-dddd"),
    "new_password": pb.ConfirmSignInRequest(new_password=PASSWORD),
}


@pytest.mark.parametrize("request_", OTHERS.values(), ids=OTHERS)
async def test_other_kinds_of_answers_are_not_counted(puzzling: Service, request_: pb.ConfirmSignInRequest) -> None:
    """An answer of another kind is the caller's mistake: the session is as before."""
    asked = await puzzling.sign_in()
    request_.session = asked.session
    for _ in range(6):
        async with fails("INVALID_FIELDS"):
            await puzzling.stub.ConfirmSignIn(request_)
    assert step_of(await rightly(puzzling, asked)) == ASKED


@pytest.mark.parametrize("text", ["", "x" * 2049])
async def test_answers_have_a_length(puzzling: Service, text: str) -> None:
    """An answer that is empty or too long is not handed on, nor counted."""
    asked = await puzzling.sign_in()
    async with fails("INVALID_FIELDS") as failures:
        await custom(puzzling, asked.session, text)
    assert [field for field, _ in failures[0].violations] == ["custom_answer"]


async def test_other_steps_take_no_custom_answer(service: Service) -> None:
    """A custom answer to a step that waits for a code is the caller's mistake."""
    await service.enrolled("ada")
    started = await service.sign_in()
    async with fails("INVALID_FIELDS"):
        await custom(service, started.session, "42")


async def test_wrong_answers_lock(puzzling: Service) -> None:
    """From the fifth wrong answer in a row on each costs a wait, over all sessions; a passed challenge clears them."""
    for _ in range(5):
        asked = await puzzling.sign_in()
        async with fails("CODE_MISMATCH"):
            await custom(puzzling, asked.session, "wrong")
    asked = await puzzling.sign_in()
    async with fails("LIMIT_EXCEEDED") as failures:
        await rightly(puzzling, asked)
    assert failures[0].retry_after is not None
    puzzling.clock.advance(failures[0].retry_after)
    assert step_of(await rightly(puzzling, await rightly(puzzling, asked))) == "DONE"
    asked = await puzzling.sign_in()
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await custom(puzzling, asked.session, "wrong")
    assert step_of(await rightly(puzzling, asked)) == ASKED


async def test_a_right_answer_to_an_easy_round_clears_nothing(puzzling: Service) -> None:
    """Guesses at the second round lock, though the first one is answered rightly before each of them."""
    for _ in range(5):
        second = await rightly(puzzling, await puzzling.sign_in())
        async with fails("CODE_MISMATCH"):
            await custom(puzzling, second.session, "wrong")
    async with fails("LIMIT_EXCEEDED"):
        await rightly(puzzling, await puzzling.sign_in())


async def test_right_answers_are_no_failures(asking: Asking, scripted: HookProcess) -> None:
    """A sign-in may have more rounds than failures lock: right answers are not counted."""
    async with asking(scripted, hooks={"challenge_max_rounds": 8}) as service:
        await service.confirmed("8-rounds")
        asked: Asked = await service.sign_in("8-rounds")
        for _ in range(4):
            async with fails("CODE_MISMATCH"):
                await custom(service, asked.session, "wrong")
        for number in range(1, 9):
            assert step_of(asked) == ASKED
            asked = await custom(service, asked.session, str(number))
        assert step_of(asked) == "DONE"


async def test_a_disabled_account_is_told_after_a_right_answer(puzzling: Service, database: Database) -> None:
    """An account that is disabled between two rounds gets no further."""
    second = await rightly(puzzling, await puzzling.sign_in())
    await database.execute("update users set disabled_at = $1", puzzling.clock.now())
    async with fails("USER_DISABLED"):
        await rightly(puzzling, second)
    assert not await database.fetchval("select count(*) from sessions")
