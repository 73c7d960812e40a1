"""What becomes of sign-ins when the challenge hook is away, slow, denies or lies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import timedelta

import grpc
import pytest

from authsvc.clock import monotonic
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.hooks.process import HookProcess
from tests.hooks.puzzles import ASKED, EXAMPLE, Asked, custom, rightly
from tests.rpc.account_calls import recorded
from tests.rpc.calls import step_of
from tests.rpc.conftest import Asking, Run
from tests.service import PASSWORD, Service, fails


async def test_a_killed_hook_closes_sign_in(asking: Asking) -> None:
    """Without the hook nobody gets in: the sign-in in progress has ended, and no other one starts."""
    with HookProcess(*EXAMPLE) as hook:
        async with asking(hook) as service:
            await service.confirmed("ada")
            asked = await service.sign_in()
            hook.kill()
            async with fails("HOOK_UNAVAILABLE") as failures:
                await rightly(service, asked)
            assert failures[0].code is grpc.StatusCode.UNAVAILABLE
            assert failures[0].retry_after
            async with fails("HOOK_UNAVAILABLE") as failures:
                await service.sign_in()
            assert failures[0].retry_after
            hook.start()
            async with fails("SESSION_EXPIRED"):
                await rightly(service, asked)
            assert step_of(await rightly(service, await begin_again(service))) == ASKED


async def test_what_a_hook_that_is_away_ended_is_recorded(asking: Asking, database: Database) -> None:
    """The trail has the sign-in and the answer that could not be decided, not only that they got so far."""
    kinds = ("SIGN_IN", "CONTINUE_SIGN_IN")
    with HookProcess(*EXAMPLE) as hook:
        async with asking(hook) as service:
            await service.confirmed("ada")
            asked = await service.sign_in()
            hook.kill()
            async with fails("HOOK_UNAVAILABLE"):
                await rightly(service, asked)
            answered = {"step": ASKED, "answer": "custom_answer"}
            assert (await recorded(database, *kinds))[1:] == [("CONTINUE_SIGN_IN", "HOOK_UNAVAILABLE", answered)]
            async with fails("HOOK_UNAVAILABLE"):
                await service.sign_in()
            assert (await recorded(database, *kinds))[-1] == ("SIGN_IN", "HOOK_UNAVAILABLE", {})


async def test_a_hook_may_be_restarted_between_rounds(asking: Asking) -> None:
    """A new process goes on where the old one was, and sign-ins that it never saw are finished by it."""
    with HookProcess(*EXAMPLE) as hook:
        async with asking(hook) as service:
            await service.confirmed("ada")
            await service.confirmed("bob")
            asked: Asked = await service.sign_in()
            for _ in range(2):
                hook.kill()
                hook.start()
                # Until the connection is there again, other sign-ins fail.
                await begin_again(service, "bob")
                asked = await rightly(service, asked)
            assert step_of(asked) == "DONE"


async def begin_again(service: Service, username: str = "ada") -> pb.SignInResponse:
    """Start a sign-in, as often as it takes a hook that was away to be found."""
    deadline = monotonic() + 5
    while monotonic() < deadline:
        with contextlib.suppress(grpc.aio.AioRpcError):
            return await service.sign_in(username)
    raise AssertionError("the hook is not found")


@pytest.mark.parametrize("lie", ["passed", "unknown", "garbage", "too_many_parameters", "status-internal"])
async def test_a_lying_hook_closes_sign_in(asking: Asking, scripted: HookProcess, database: Database, lie: str) -> None:
    """What a hook must not say signs nobody in, and leaves no session that could be answered."""
    async with asking(scripted) as service:
        await service.confirmed(f"1-{lie}")
        async with fails("HOOK_UNAVAILABLE"):
            await service.sign_in(f"1-{lie}")
        if lie == "passed":
            return
        await service.confirmed(f"2-{lie}")
        asked = await service.sign_in(f"2-{lie}")
        async with fails("HOOK_UNAVAILABLE"):
            await custom(service, asked.session, "1")
        async with fails("SESSION_EXPIRED"):
            await custom(service, asked.session, "1")
        assert not await database.fetchval("select count(*) from sessions")


async def test_a_denied_sign_in_is_like_a_wrong_password(asking: Asking, scripted: HookProcess) -> None:
    """What the hook denies is NOT_AUTHORIZED, from the start or after an answer, and has ended."""
    async with asking(scripted) as service:
        await service.confirmed("1-denied")
        async with fails("NOT_AUTHORIZED") as denied:
            await service.sign_in("1-denied")
        async with fails("NOT_AUTHORIZED") as wrong:
            await service.sign_in("1-denied", password="not the password")
        assert (denied[0].code, denied[0].text) == (wrong[0].code, wrong[0].text)
        await service.confirmed("2-denied")
        asked = await service.sign_in("2-denied")
        async with fails("NOT_AUTHORIZED"):
            await custom(service, asked.session, "1")
        async with fails("SESSION_EXPIRED"):
            await custom(service, asked.session, "1")


async def test_a_slow_hook_holds_nothing(asking: Asking, scripted: HookProcess) -> None:
    """Sign-ins that wait for a slow hook hold neither a connection nor a place in the hash queue."""
    few: dict[str, dict[str, object]] = {
        "hooks": {"challenge_timeout": timedelta(seconds=3)},
        "database": {"pool_size": 2},
        "passwords": {"hash_queue": 2, "hash_threads": 1},
    }
    async with asking(scripted, **few) as service:
        await service.confirmed("1-slow")
        await service.confirmed("ada")
        async with asyncio.TaskGroup() as tasks:
            waiting = []
            for _ in range(4):
                waiting.append(tasks.create_task(outcome_of(service.sign_in("1-slow"))))
                await asyncio.sleep(0.1)
            started = monotonic()
            assert step_of(await service.sign_in("ada")) == ASKED
            assert monotonic() - started < 1.5
            assert not any(task.done() for task in waiting)
        assert {task.result() for task in waiting} == {grpc.StatusCode.UNAVAILABLE}


async def outcome_of(call: Awaitable[object]) -> grpc.StatusCode:
    """Return the status that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_the_callers_deadline_is_kept(asking: Asking, scripted: HookProcess) -> None:
    """A call ends when its own time is over, though the hook has more."""
    async with asking(scripted) as service:
        await service.confirmed("1-slow")
        started = monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as over:
            await service.stub.SignIn(pb.SignInRequest(username="1-slow", password=PASSWORD), timeout=0.5)
        assert over.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert monotonic() - started < 5


async def test_a_hook_that_was_taken_away_ends_its_sign_ins(asking: Asking, example: HookProcess, run: Run) -> None:
    """A challenge that is waiting when the setting is removed can't be answered; a new sign-in asks none."""
    async with asking(example) as service:
        await service.confirmed("ada")
        asked = await service.sign_in()
    async with run(accounts={"mfa": "OFF"}) as service:
        async with fails("SESSION_EXPIRED"):
            await rightly(service, asked)
        assert step_of(await service.sign_in()) == "DONE"


async def test_wrong_passwords_never_reach_the_hook(asking: Asking) -> None:
    """A hook that is away is not found out without the password."""
    with HookProcess(*EXAMPLE) as hook:
        async with asking(hook) as service:
            await service.confirmed("ada")
            hook.kill()
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in(password="not the password")
            async with fails("NOT_AUTHORIZED"):
                await service.sign_in("nobody")
