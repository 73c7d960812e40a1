"""The steps of a sign-in answered many ways at once on two servers: each session ends in one outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
import pytest_asyncio

from authsvc.dev.mailbox import code_in
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.admin_service_pb2 import SetUserPasswordRequest
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_ENABLED
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL, MFA_TYPE_TOTP
from authsvc.v1.tokens_pb2 import Tokens
from tests.client import Client, email_of, reasons, succeeded
from tests.hooks.process import HookProcess
from tests.hooks.puzzles import ASKED, EXAMPLE, Asked, solution
from tests.races.conftest import LOOSE, ROOMY, Arena, new_database, open_arena
from tests.races.gate import USER, gate
from tests.races.operators import operators
from tests.rpc.calls import step_of
from tests.service import PASSWORD, Failure, bearer, fails

pytestmark = pytest.mark.asyncio(loop_scope="session")

_T = TypeVar("_T")
# As many answers as a session takes at all, with the limits at their highest.
WAYS = int(LOOSE["CHALLENGES_MAX_WRONG"])
COOLDOWN_SECONDS = 1
SETTINGS = {
    **LOOSE,
    **ROOMY,
    "ACCOUNTS_MFA": "OPTIONAL",
    "ACCOUNTS_MFA_TYPES": "TOTP,EMAIL",
    "CODES_SIGN_IN_SENDS_PER_HOUR": "100",
    "CODES_SIGN_IN_COOLDOWN_SECONDS": str(COOLDOWN_SECONDS),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def arena(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """Run two servers where second factors are optional and of two kinds."""
    async with open_arena(await new_database(postgres), tmp_path_factory.mktemp("steps"), **SETTINGS) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def puzzling(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Arena]:
    """Run two servers with the example as their challenge hook."""
    with HookProcess(*EXAMPLE) as hook:
        settings = {**SETTINGS, "HOOKS_CHALLENGE_TARGET": hook.target, "HOOKS_CHALLENGE_TIMEOUT_SECONDS": "10"}
        async with open_arena(await new_database(postgres), tmp_path_factory.mktemp("hook"), **settings) as running:
            yield running


async def race(arena: Arena, name: str, call: Callable[[Client, int], Awaitable[_T]]) -> list[_T | Failure]:
    """Make `call` many times at once; all of them stand before the account's row, and go on together."""
    async with gate(arena.dsn, USER, name) as closed, asyncio.TaskGroup() as tasks:
        racing = tasks.create_task(arena.race(WAYS, call))
        await closed.open_for(WAYS)
    return racing.result()


async def with_mail(arena: Arena, name: str) -> list[str]:
    """Make an account whose mailbox is its second factor and has no mail to come; return its recovery codes."""
    await arena.client.confirmed(name)
    tokens = (await arena.client.sign_in(name)).tokens
    codes = await recovery_codes(arena, tokens)
    request = pb.UpdateMfaPreferenceRequest(email=MFA_PREFERENCE_ENABLED)
    await arena.client.stub.UpdateMfaPreference(request, metadata=bearer(tokens))
    await arena.subjects(name)
    return codes


async def recovery_codes(arena: Arena, tokens: Tokens) -> list[str]:
    """Make recovery codes."""
    request = pb.GenerateRecoveryCodesRequest()
    return list((await arena.client.stub.GenerateRecoveryCodes(request, metadata=bearer(tokens))).recovery_codes)


async def test_code_by_mail(arena: Arena, name: str) -> None:
    """One code that was sent by mail, given many times at once, signs in once."""
    await with_mail(arena, name)
    before = arena.mailbox.last_number()
    session = (await arena.client.sign_in(name)).session
    code = await arena.client.code(name, after=before)
    request = pb.ConfirmSignInRequest(session=session, email_code=code)
    outcomes = await race(arena, name, lambda client, _: client.stub.ConfirmSignIn(request))
    (winner,) = succeeded(outcomes)
    assert await arena.client.is_signed_in(winner.tokens)
    assert Counter(reasons(outcomes)) == {"SESSION_EXPIRED": WAYS - 1}


async def test_code_is_sent_again_once(arena: Arena, name: str) -> None:
    """Many calls at once that ask for another code get one; it is the right one."""
    await with_mail(arena, name)
    before = arena.mailbox.last_number()
    session = (await arena.client.sign_in(name)).session
    former = await arena.client.code(name, after=before)
    await asyncio.sleep(COOLDOWN_SECONDS)
    before = arena.mailbox.last_number()
    request = pb.ResendSignInCodeRequest(session=session)
    outcomes = await race(arena, name, lambda client, _: client.stub.ResendSignInCode(request))
    assert len(succeeded(outcomes)) == 1
    assert Counter(reasons(outcomes)) == {"LIMIT_EXCEEDED": WAYS - 1}
    code = await arena.client.code(name, after=before)
    assert [code_in(mail.message) for mail in arena.mailbox.read(email_of(name), after=before)] == [code]
    if code != former:
        async with fails("CODE_EXPIRED"):
            await arena.client.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, email_code=former))
    done = await arena.client.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, email_code=code))
    assert done.is_signed_in


async def test_recovery_code_in_many_sign_ins(arena: Arena, name: str) -> None:
    """One recovery code, given to many sign-ins at once, signs in once."""
    code, *_ = await with_mail(arena, name)
    sessions = [(await arena.client.sign_in(name)).session for _ in range(WAYS)]
    outcomes = await race(
        arena,
        name,
        lambda client, number: client.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=sessions[number], recovery_code=code)
        ),
    )
    (winner,) = succeeded(outcomes)
    assert await arena.client.is_signed_in(winner.tokens)
    assert Counter(reasons(outcomes)) == {"CODE_MISMATCH": WAYS - 1}


async def test_recovery_codes_in_one_sign_in(arena: Arena, name: str) -> None:
    """One sign-in that is given ten recovery codes at once uses one of them up."""
    codes = await with_mail(arena, name)
    session = (await arena.client.sign_in(name)).session
    outcomes = await race(
        arena,
        name,
        lambda client, number: client.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=session, recovery_code=codes[number % len(codes)])
        ),
    )
    assert len(succeeded(outcomes)) == 1
    assert set(reasons(outcomes)) <= {"SESSION_EXPIRED", "CODE_MISMATCH"}
    async with arena.database() as connection:
        left = await connection.fetchval(
            "select count(*) from recovery_codes join users using (user_id) where username_key = $1", name
        )
    assert left == len(codes) - 1


async def test_choice(arena: Arena, name: str) -> None:
    """One sign-in in which both factors are chosen at once goes on with one of them, in one session."""
    await with_mail(arena, name)
    tokens = await signed_in_by_mail(arena, name)
    await arena.client.add_authenticator(tokens)
    session = (await arena.client.sign_in(name)).session
    kinds = (MFA_TYPE_TOTP, MFA_TYPE_EMAIL)
    outcomes = await race(
        arena,
        name,
        lambda client, number: client.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=session, mfa_type=kinds[number // 2 % 2])
        ),
    )
    (winner,) = succeeded(outcomes)
    assert Counter(reasons(outcomes)) == {"SESSION_EXPIRED": WAYS - 1}
    async with arena.database() as connection:
        steps = await connection.fetch(
            "select step from challenge_sessions join users using (user_id) where username_key = $1", name
        )
    assert [row["step"] for row in steps] == [step_of(winner)]


async def signed_in_by_mail(arena: Arena, name: str) -> Tokens:
    """Sign in with a code by mail."""
    before = arena.mailbox.last_number()
    session = (await arena.client.sign_in(name)).session
    code = await arena.client.code(name, after=before)
    return (await arena.client.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, email_code=code))).tokens


async def test_new_password(arena: Arena, name: str) -> None:
    """One temporary password replaced by many at once is replaced by one, which is the only right one."""
    await arena.client.confirmed(name)
    async with operators(arena, name) as (operator, _):
        temporary = SetUserPasswordRequest(username=name, password=PASSWORD, temporary=True)
        await operator.call("SetUserPassword", temporary)
    session = (await arena.client.sign_in(name)).session

    async def renew(client: Client, number: int) -> int:
        await client.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, new_password=f"{PASSWORD}-{number}"))
        return number

    outcomes = await race(arena, name, renew)
    (winner,) = succeeded(outcomes)
    assert Counter(reasons(outcomes)) == {"SESSION_EXPIRED": WAYS - 1}
    assert (await arena.client.sign_in(name, f"{PASSWORD}-{winner}")).is_signed_in
    for password in (PASSWORD, f"{PASSWORD}-{winner ^ 1}"):
        async with fails("NOT_AUTHORIZED"):
            await arena.client.sign_in(name, password)


@pytest.mark.serial  # two more servers, whose connections would add to those of the other races
async def test_custom_answer(puzzling: Arena, name: str) -> None:
    """The right answer to a custom challenge, given many times at once, leads on once: in each round."""
    await puzzling.client.confirmed(name)
    asked: Asked = await puzzling.client.sign_in(name)
    for _ in range(2):
        assert step_of(asked) == ASKED
        answer = pb.ConfirmSignInRequest(session=asked.session, custom_answer=solution(asked))

        async def give(client: Client, _: int, answer: pb.ConfirmSignInRequest = answer) -> pb.ConfirmSignInResponse:
            return await client.stub.ConfirmSignIn(answer)

        outcomes = await race(puzzling, name, give)
        (asked,) = succeeded(outcomes)
        assert Counter(reasons(outcomes)) == {"SESSION_EXPIRED": WAYS - 1}
    assert await puzzling.client.is_signed_in(asked.tokens)
    async with puzzling.database() as connection:
        query = "select count(*) from sessions join users using (user_id) where username_key = $1"
        assert await connection.fetchval(query, name) == 1


@pytest.mark.serial  # two more servers, whose connections would add to those of the other races
async def test_wrong_custom_answers(puzzling: Arena, name: str) -> None:
    """Of many wrong answers at once each is counted before the hook hears it, and no more are heard than may be."""
    await puzzling.client.confirmed(name)
    asked = await puzzling.client.sign_in(name)
    request = pb.ConfirmSignInRequest(session=asked.session, custom_answer="wrong")
    outcomes = await puzzling.race(WAYS * 2, lambda client, _: client.stub.ConfirmSignIn(request))
    assert Counter(reasons(outcomes)) == {"CODE_MISMATCH": WAYS, "SESSION_EXPIRED": WAYS}
