"""Second factors that are sent: codes by mail and by SMS, right and abused. What holds for one holds for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from tests.clock import TICK
from tests.rpc.calls import confirm_reset, reset, step_of, wrong
from tests.rpc.conftest import Run
from tests.rpc.sent_codes import Sent, sending
from tests.service import bearer, fails
from tests.waiting import until

MINUTE = timedelta(minutes=1)
COOLDOWN = timedelta(seconds=30)


@pytest.fixture(params=["EMAIL", "SMS"])
async def sent(request: pytest.FixtureRequest, run: Run, database: Database, key: str) -> AsyncIterator[Sent]:
    """Run the service with codes of one medium as second factor, and an account that has it."""
    async with sending(run, database, key, request.param) as running:
        await running.user()
        yield running


async def test_code_signs_in(sent: Sent) -> None:
    """The code that was sent, to where the answer says, is the second factor."""
    started, code = await sent.asked()
    assert step_of(started) == sent.step
    delivery = started.next_step.code_delivery
    assert DeliveryMedium.Name(delivery.medium) == f"DELIVERY_MEDIUM_{sent.medium}"
    masked = {"EMAIL": ("a***@e***", "email"), "SMS": ("+*******0294", "phone_number")}
    assert (delivery.destination, delivery.attribute_name) == masked[sent.medium]
    done = await sent.answer(started.session, code)
    assert step_of(done) == "DONE"
    session = await sent.service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(done.tokens))
    assert list(session.amr) == ["pwd", sent.medium.lower(), "mfa"]


async def test_code_is_stored_as_a_digest(sent: Sent) -> None:
    """A code that waits for its answer is not in the database as it was sent."""
    _, code = await sent.asked()
    rows = await sent.database.fetch("select c::text as all from challenge_sessions c")
    assert rows
    assert all(code not in row["all"] for row in rows)
    assert all(code.encode().hex() not in row["all"] for row in rows)


async def test_alive_after_four_wrong_codes_dead_after_five(sent: Sent) -> None:
    """The right code works after four wrong ones; after five the session is over, and gets no other code."""
    started, code = await sent.asked()
    for _ in range(4):
        async with fails("CODE_MISMATCH"):
            await sent.answer(started.session, wrong(code))
    assert step_of(await sent.answer(started.session, code)) == "DONE"

    started, code = await sent.asked()
    for _ in range(5):
        async with fails("CODE_MISMATCH"):
            await sent.answer(started.session, wrong(code))
    sent.service.clock.advance(COOLDOWN)
    async with fails("SESSION_EXPIRED"):
        await sent.answer(started.session, code)
    async with fails("SESSION_EXPIRED"):
        await sent.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=started.session))


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_code_lives_as_long_as_its_session(sent: Sent, early: timedelta) -> None:
    """A code can be given for 3 minutes from the start of its step, though it was sent again meanwhile."""
    started, _ = await sent.asked()
    sent.service.clock.advance(2 * MINUTE)
    code = await sent.resent(started.session)
    sent.service.clock.advance(MINUTE - early)
    if early > timedelta():
        assert step_of(await sent.answer(started.session, code)) == "DONE"
        return
    async with fails("SESSION_EXPIRED"):
        await sent.answer(started.session, code)
    async with fails("SESSION_EXPIRED"):
        await sent.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=started.session))


async def test_code_is_good_once(sent: Sent) -> None:
    """A code that was used signs nobody in again: its session is over, and other sessions have other codes."""
    first, code = await sent.asked()
    second, other = await sent.asked()
    if code == other:
        pytest.skip("two equal codes, once in a million")
    assert step_of(await sent.answer(first.session, code)) == "DONE"
    async with fails("SESSION_EXPIRED"):
        await sent.answer(first.session, code)
    async with fails("CODE_MISMATCH"):
        await sent.answer(second.session, code)
    assert step_of(await sent.answer(second.session, other)) == "DONE"


async def test_code_of_another_user_is_wrong(sent: Sent) -> None:
    """What was sent to one user does not answer the sign-in of another, with either handle."""
    await sent.user("bob")
    mine, my_code = await sent.asked()
    theirs, their_code = await sent.asked("bob")
    if my_code == their_code:
        pytest.skip("two equal codes, once in a million")
    async with fails("CODE_MISMATCH"):
        await sent.answer(mine.session, their_code)
    async with fails("CODE_MISMATCH"):
        await sent.answer(theirs.session, my_code)


async def test_code_that_was_sent_again_is_expired(sent: Sent) -> None:
    """Of two codes of one session the later one is right, and the former one is told to be over."""
    started, former = await sent.asked()
    sent.service.clock.advance(COOLDOWN)
    code = await sent.resent(started.session)
    async with fails("CODE_EXPIRED"):
        await sent.answer(started.session, former)
    assert step_of(await sent.answer(started.session, code)) == "DONE"


async def test_sending_again_forgives_no_wrong_code(sent: Sent) -> None:
    """Five wrong codes end a session, however often a code was sent meanwhile."""
    started, code = await sent.asked()
    for number in range(5):
        if number == 3:
            sent.service.clock.advance(COOLDOWN)
            code = await sent.resent(started.session)
        async with fails("CODE_MISMATCH"):
            await sent.answer(started.session, wrong(code))
    sent.service.clock.advance(COOLDOWN)
    async with fails("SESSION_EXPIRED"):
        await sent.answer(started.session, code)


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_codes_are_sent_again_after_a_while(sent: Sent, early: timedelta) -> None:
    """Another code is sent 30 seconds after the former one, and the wait that is told ends then."""
    started, _ = await sent.asked()
    sent.service.clock.advance(COOLDOWN - early)
    if early <= timedelta():
        await sent.resent(started.session)
        return
    async with fails("LIMIT_EXCEEDED") as failures:
        await sent.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=started.session))
    assert failures[0].retry_after is not None
    sent.service.clock.advance(failures[0].retry_after)
    await sent.resent(started.session)


async def test_ten_codes_an_hour(sent: Sent) -> None:
    """An account is sent ten codes in an hour, in whatever sessions; then no sign-in goes on until the hour is over."""
    for _ in range(10):
        started, _ = await sent.asked()
    sent.service.clock.advance(COOLDOWN)
    async with fails("LIMIT_EXCEEDED"):
        await sent.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=started.session))
    async with fails("LIMIT_EXCEEDED") as failures:
        await sent.service.sign_in()
    wait = failures[0].retry_after
    assert wait is not None
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)
    sent.service.clock.advance(wait)
    started, code = await sent.asked()
    assert step_of(await sent.answer(started.session, code)) == "DONE"


async def test_wrong_codes_lock_over_all_sessions(sent: Sent) -> None:
    """From the fifth wrong code in a row on each costs a wait, in whatever sessions; a right one clears them."""
    for _ in range(5):
        started, code = await sent.asked()
        async with fails("CODE_MISMATCH"):
            await sent.answer(started.session, wrong(code))
    started, code = await sent.asked()
    async with fails("LIMIT_EXCEEDED") as failures:
        await sent.answer(started.session, code)
    assert failures[0].retry_after is not None
    sent.service.clock.advance(failures[0].retry_after)
    assert step_of(await sent.answer(started.session, code)) == "DONE"
    count = await sent.database.fetchval("select count(*) from failures where factor = $1", sent.medium)
    assert count == 0


async def test_address_that_was_changed_ends_its_codes(sent: Sent) -> None:
    """A code that went to a former address or number proves nothing of the present one."""
    started, code = await sent.asked()
    await sent.database.execute(
        """
        update users
           set email = 'new@example.com', email_key = 'new@example.com',
               attributes = jsonb_build_object('phone_number', '+14155559999')
        """
    )
    async with fails("CODE_MISMATCH"):
        await sent.answer(started.session, code)


async def test_disabled_account_is_sent_nothing(sent: Sent) -> None:
    """An account that is disabled during a sign-in gets no other code, and no further with the one it has."""
    started, code = await sent.asked()
    await sent.database.execute("update users set disabled_at = $1", sent.service.clock.now())
    sent.service.clock.advance(COOLDOWN)
    async with fails("USER_DISABLED"):
        await sent.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=started.session))
    async with fails("USER_DISABLED"):
        await sent.answer(started.session, code)


@pytest.mark.parametrize("session", ["nonsense", "A" * 43])
async def test_nothing_is_sent_for_a_made_up_session(sent: Sent, session: str) -> None:
    """A handle that was never given is answered like one that is over, and sends nothing."""
    async with fails("SESSION_EXPIRED"):
        await sent.service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=session))


async def test_codes_of_the_other_medium_are_another_kind_of_answer(sent: Sent) -> None:
    """A step takes a code under the name of its medium alone; under another it is not counted."""
    started, code = await sent.asked()
    other = pb.ConfirmSignInRequest(session=started.session)
    setattr(other, "sms_code" if sent.medium == "EMAIL" else "email_code", code)
    for _ in range(6):
        async with fails("INVALID_FIELDS"):
            await sent.service.stub.ConfirmSignIn(other)
    assert step_of(await sent.answer(started.session, code)) == "DONE"


async def test_sign_in_code_resets_no_password(sent: Sent) -> None:
    """A code for a sign-in is none for a reset, whether one was sent or could not be."""
    await reset(sent.service, "ada")
    _, code = await sent.asked()
    async with fails("CODE_MISMATCH"):
        await confirm_reset(sent.service, "ada", code)


async def test_steps_without_a_code_send_none(run: Run) -> None:
    """A session that waits for the code of an authenticator can't have one sent."""
    async with run(accounts={"mfa_types": ("TOTP",)}) as service:
        await service.enrolled("ada")
        started = await service.sign_in()
        async with fails("SESSION_EXPIRED"):
            await service.stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=started.session))


async def test_wrong_passwords_at_the_same_moment_hold_no_sign_in_up(sent: Sent) -> None:
    """While a sign-in stores its step, tries at the same account take no counter away that its code is counted by."""
    waiting = "select count(*) from pg_locks where not granted"
    tries: list[asyncio.Task[None]] = []

    async def guess() -> None:
        async with fails("NOT_AUTHORIZED"):
            await sent.service.sign_in("ada", password="not the password")

    async def is_held() -> bool:
        return int(await sent.database.fetchval(waiting)) == 1

    async def are_there() -> bool:
        return all(each.done() for each in tries) or int(await sent.database.fetchval(waiting)) > len(tries)

    async with sent.database.transaction() as transaction:
        await transaction.execute("lock table totp_devices in access exclusive mode")
        signing_in = asyncio.create_task(sent.asked())
        await until(is_held)
        # As many as there are connections for counting.
        connections = sent.service.settings.database.throttle_pool_size
        tries.extend(asyncio.create_task(guess()) for _ in range(connections))
        await until(are_there)
    started, code = await signing_in
    assert step_of(started) == sent.step
    await asyncio.gather(*tries)
    assert step_of(await sent.answer(started.session, code)) == "DONE"
