"""Recovery codes in the place of second factors, right and abused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.account_calls import prefer
from tests.rpc.attribute_calls import NUMBER
from tests.rpc.calls import answer, seed_failures, step_of, wrong_totp
from tests.rpc.conftest import Run
from tests.service import Account, Service, bearer, fails

MINUTE = timedelta(minutes=1)
NEVER_GIVEN = "aaaa-bbbb-cccc-dddd"


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account with an authenticator."""
    return await service.enrolled("ada")


async def codes_of(service: Service, account: Account) -> list[str]:
    """Generate recovery codes."""
    generated = await service.stub.GenerateRecoveryCodes(pb.GenerateRecoveryCodesRequest(), metadata=account.bearer)
    return list(generated.recovery_codes)


async def recover(service: Service, session: str, code: str) -> pb.ConfirmSignInResponse:
    """Answer a step with a recovery code."""
    return await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, recovery_code=code))


async def test_recovery_code_stands_for_an_authenticator(service: Service, account: Account) -> None:
    """A recovery code answers the step of an authenticator, and its user is told by mail how many are left."""
    code = (await codes_of(service, account))[3]
    before = service.catcher.last_number()
    started = await service.sign_in()
    assert step_of(started) == "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    done = await recover(service, started.session, code)
    assert step_of(done) == "DONE"
    session = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(done.tokens))
    assert list(session.amr) == ["pwd", "recovery", "mfa"]
    mail = str(await service.mail(account.email, after=before))
    assert code not in mail


TYPED: dict[str, Callable[[str], str]] = {
    "in capitals": str.upper,
    "without hyphens": lambda code: code.replace("-", ""),
    "with spaces": lambda code: f" {code.replace('-', ' ')} ",
}


@pytest.mark.parametrize("typed", TYPED.values(), ids=TYPED)
async def test_recovery_code_is_read_as_it_is_typed(
    service: Service, account: Account, typed: Callable[[str], str]
) -> None:
    """Letter case, hyphens and spaces don't matter."""
    code = (await codes_of(service, account))[0]
    assert step_of(await recover(service, (await service.sign_in()).session, typed(code))) == "DONE"


@pytest.mark.parametrize(
    ("factors", "step"),
    [
        (["email"], "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"),
        (["sms"], "CONFIRM_SIGN_IN_WITH_SMS_CODE"),
        (["sms", "email"], "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"),
    ],
)
async def test_recovery_code_stands_for_any_factor(run: Run, key: str, factors: list[str], step: str) -> None:
    """Wherever a second factor is asked for, or chosen, a recovery code will do; where one is set up, it won't."""
    async with run(accounts={"mfa": "OPTIONAL", "mfa_types": ("TOTP", "SMS", "EMAIL")}) as service:
        await service.confirmed("ada")
        account = Account("ada", "ada@example.com", "", "", (await service.sign_in()).tokens)
        code = (await codes_of(service, account))[0]
        operator = Operator(service.channel, key)
        await operator.update("ada", attributes={"phone_number": NUMBER}, phone_number_verified=True)
        await prefer(service, account.tokens, **dict.fromkeys(factors, "ENABLED"))
        started = await service.sign_in()
        assert step_of(started) == step
        assert step_of(await recover(service, started.session, code)) == "DONE"


async def test_recovery_code_sets_nothing_up(service: Service) -> None:
    """Who has no second factor has to set one up: a recovery code is another kind of answer then."""
    await service.confirmed("ada")
    started = await service.sign_in()
    async with fails("INVALID_FIELDS"):
        await recover(service, started.session, NEVER_GIVEN)


async def test_each_code_is_good_once(service: Service, account: Account) -> None:
    """A code that was used is wrong; the nine others are not."""
    used, *others = await codes_of(service, account)
    first = await service.sign_in()
    await recover(service, first.session, used)
    async with fails("SESSION_EXPIRED"):
        await recover(service, first.session, others[0])
    async with fails("CODE_MISMATCH"):
        await recover(service, (await service.sign_in()).session, used)
    for code in others:
        assert step_of(await recover(service, (await service.sign_in()).session, code)) == "DONE"


async def test_codes_of_others_and_former_ones_are_wrong(service: Service, account: Account) -> None:
    """Another user's code, and one of a set that was replaced, is wrong, and stays what it was."""
    bob = await service.enrolled("bob")
    theirs = (await codes_of(service, bob))[0]
    former = (await codes_of(service, account))[0]
    code = (await codes_of(service, account))[0]
    session = (await service.sign_in()).session
    for wrong in (theirs, former, NEVER_GIVEN):
        async with fails("CODE_MISMATCH"):
            await recover(service, session, wrong)
    assert step_of(await recover(service, session, code)) == "DONE"
    assert step_of(await recover(service, (await service.sign_in("bob")).session, theirs)) == "DONE"


async def test_wrong_codes_end_the_session_and_lock(service: Service, account: Account) -> None:
    """Five wrong codes, of an authenticator or of recovery, end a session; five of recovery lock recovery alone."""
    codes = await codes_of(service, account)
    session = (await service.sign_in()).session
    for number in range(5):
        async with fails("CODE_MISMATCH"):
            if number % 2:
                await answer(service, session, wrong_totp(service, account.secret))
            else:
                await recover(service, session, NEVER_GIVEN)
    async with fails("SESSION_EXPIRED"):
        await recover(service, session, codes[0])
    for _ in range(2):
        async with fails("CODE_MISMATCH"):
            await recover(service, (await service.sign_in()).session, NEVER_GIVEN)
    session = (await service.sign_in()).session
    async with fails("LIMIT_EXCEEDED") as failures:
        await recover(service, session, codes[0])
    service.next_totp_step()
    assert failures[0].retry_after is not None
    assert step_of(await answer(service, session, service.totp(account.secret))) == "DONE"


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_recovery_is_as_late_as_other_answers(service: Service, account: Account, early: timedelta) -> None:
    """A recovery code that comes after the step's 3 minutes is not used up."""
    code = (await codes_of(service, account))[0]
    session = (await service.sign_in()).session
    service.clock.advance(3 * MINUTE - early)
    if early > timedelta():
        assert step_of(await recover(service, session, code)) == "DONE"
        return
    async with fails("SESSION_EXPIRED"):
        await recover(service, session, code)
    assert step_of(await recover(service, (await service.sign_in()).session, code)) == "DONE"


async def test_recovery_opens_a_closed_factor(service: Service, account: Account, database: Database) -> None:
    """A recovery code lets in whose authenticator was closed by wrong tries, and opens it again."""
    code = (await codes_of(service, account))[0]
    await seed_failures(service, database, "TOTP", 100)
    service.next_totp_step()
    session = (await service.sign_in()).session
    async with fails("LIMIT_EXCEEDED") as failures:
        await answer(service, session, service.totp(account.secret))
    assert failures[0].metadata["closed"] == "true"
    assert step_of(await recover(service, session, code)) == "DONE"
    session = (await service.sign_in()).session
    assert step_of(await answer(service, session, service.totp(account.secret))) == "DONE"
