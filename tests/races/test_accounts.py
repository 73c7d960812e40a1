"""Names, addresses and codes of new accounts, claimed at once on two servers."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.client import Client, at_once, reasons, succeeded
from tests.races.conftest import Arena
from tests.races.gate import gate
from tests.service import PASSWORD, fails
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAYS = 50
ROUNDS = 20


async def test_sign_ups_of_one_name(arena: Arena, name: str) -> None:
    """Fifty people want one name at once, in two spellings: one gets it, with one code and that one's password."""

    async def sign_up(client: Client, number: int) -> int:
        await client.sign_up(name.upper() if number % 3 else name, f"{PASSWORD}-{number}")
        return number

    outcomes = await arena.race(WAYS, sign_up)
    (winner,) = succeeded(outcomes)
    assert Counter(reasons(outcomes)) == {"USERNAME_EXISTS": WAYS - 1}
    assert await arena.subjects(name) == ["Your verification code"]
    await arena.client.confirm(name, await arena.client.code(name))
    assert (await arena.client.sign_in(name, f"{PASSWORD}-{winner}")).session
    async with fails("NOT_AUTHORIZED"):
        await arena.client.sign_in(name, f"{PASSWORD}-{winner ^ 1}")


async def test_sign_ups_of_an_expired_name(arena: Arena, name: str) -> None:
    """Fifty people want a name at once whose first owner never confirmed it: one gets it."""
    first = await arena.client.sign_up(name)
    async with arena.database() as connection:
        await connection.execute(
            "update users set reserved_until = reserved_until - interval '2 days' where username_key = $1", name
        )
    outcomes = await arena.race(WAYS, lambda client, number: client.sign_up(name, f"{PASSWORD}-{number}"))
    (winner,) = succeeded(outcomes)
    assert winner.user_id != first.user_id
    assert Counter(reasons(outcomes)) == {"USERNAME_EXISTS": WAYS - 1}
    async with arena.database() as connection:
        kept = await connection.fetch("select user_id from users where username_key = $1", name)
    assert [str(row["user_id"]) for row in kept] == [winner.user_id]


async def test_resent_code_and_a_name_taken_over(arena: Arena, name: str) -> None:
    """A code is resent for a name that is signed up anew meanwhile: no code goes to the old address."""
    await arena.client.sign_up(name)
    await arena.client.code(name)
    async with arena.database() as connection:
        await connection.execute(
            "update users set reserved_until = reserved_until - interval '2 days' where username_key = $1", name
        )
    before = arena.mailbox.last_number()
    anew = f"{name}-anew@example.com"
    request = pb.SignUpRequest(username=name, password=PASSWORD, attributes={"email": anew})
    lock = "lock table passwords in exclusive mode"
    async with gate(arena.dsn, lock) as closed, asyncio.TaskGroup() as tasks:
        signing_up, resending = arena.clients
        tasks.create_task(at_once([signing_up.stub.SignUp(request)]))
        await closed.wait_for(1)
        tasks.create_task(resending.resend(name))
        await closed.open_for(2)

    async def both_are_sent() -> bool:
        async with arena.database() as connection:
            return not await connection.fetchval("select count(*) from outbox where state = 'QUEUED'")

    await until(both_are_sent)
    assert {mail.recipient for mail in arena.mailbox.read(after=before)} == {anew}


async def test_confirmations_of_one_address(arena: Arena, name: str) -> None:
    """Two accounts with one address are confirmed at once, each with its own good code: one has the address then."""
    address = f"{name}@example.com"
    names = [f"{name}-{number}" for number in range(2)]
    codes = []
    for username in names:
        before = arena.mailbox.last_number()
        await arena.client.stub.SignUp(
            pb.SignUpRequest(username=username, password=PASSWORD, attributes={"email": address})
        )
        codes.append(await arena.client.code(name, after=before))
    lock = "select from users where email = $1 for update"
    async with gate(arena.dsn, lock, address) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(2, lambda client, number: client.confirm(names[number], codes[number])))
        await closed.open_for(2)
    outcomes = racing.result()
    assert len(succeeded(outcomes)) == 1
    assert reasons(outcomes) == ["CODE_EXPIRED"]
    async with arena.database() as connection:
        owners = await connection.fetch(
            "select username from users where email = $1 and email_verified_at is not null", address
        )
    assert len(owners) == 1


async def test_resent_code_and_confirmation(arena: Arena, name: str) -> None:
    """A code is sent again while the first one confirms: the account is confirmed, or the code is over; no deadlock."""
    for number in range(ROUNDS):
        username = f"{name}-{number}"
        await arena.client.sign_up(username)
        code = await arena.client.code(username)
        confirming, resending = arena.clients
        async with asyncio.TaskGroup() as tasks:
            confirmed = tasks.create_task(at_once([confirming.confirm(username, code)]))
            tasks.create_task(resending.resend(username))
        assert set(reasons(confirmed.result())) <= {"CODE_EXPIRED"}


async def test_reset_codes_asked_for_and_used(arena: Arena, name: str) -> None:
    """Codes are asked for while one is used: it is used or was replaced, and nothing deadlocks."""
    for number in range(ROUNDS):
        username = f"{name}-{number}"
        await arena.client.confirmed(username)
        before = arena.mailbox.last_number()
        ask = pb.ResetPasswordRequest(username=username)
        await arena.client.stub.ResetPassword(ask)
        code = await arena.client.code(username, after=before)
        use = pb.ConfirmResetPasswordRequest(
            username=username, confirmation_code=code, new_password=f"{PASSWORD}-{number}"
        )
        using, asking = arena.clients
        async with asyncio.TaskGroup() as tasks:
            used = tasks.create_task(at_once([using.stub.ConfirmResetPassword(use)]))
            asked = tasks.create_task(at_once([asking.stub.ResetPassword(ask) for _ in range(4)]))
        assert set(reasons(used.result())) <= {"CODE_EXPIRED"}
        assert reasons(asked.result()) == []


async def test_one_request_asked_for_at_once(arena: Arena, name: str) -> None:
    """One sign-up is asked for twenty times at once with its request id: one account, one mail, one answer to all."""

    async def ask(client: Client, _number: int) -> str:
        attributes = {"email": f"{name}@example.com"}
        request = pb.SignUpRequest(
            username=name, password=PASSWORD, attributes=attributes, request_id=f"request-of-{name}"
        )
        made = await client.stub.SignUp(request)
        return f"{made.user_id} {made.next_step}"

    outcomes = await arena.race(ROUNDS, ask)
    assert not reasons(outcomes)
    assert len(set(succeeded(outcomes))) == 1
    assert await arena.subjects(name) == ["Your verification code"]
    async with arena.database() as connection:
        assert await connection.fetchval("select count(*) from users where username_key = $1", name) == 1
