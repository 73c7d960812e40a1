"""Steps in which the user chooses a second factor, to prove or to set up: right and abused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_type_pb2 import MFA_TYPE_EMAIL, MFA_TYPE_SMS, MFA_TYPE_TOTP, MFA_TYPE_UNSPECIFIED, MfaType
from tests.clock import TICK
from tests.rpc.account_calls import prefer
from tests.rpc.calls import answer, answer_mail, choose, step_of
from tests.rpc.conftest import Run
from tests.service import Account, Service, fails

MINUTE = timedelta(minutes=1)
SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SELECTION"
SETUP_SELECTION = "CONTINUE_SIGN_IN_WITH_MFA_SETUP_SELECTION"
BY_TOTP = "CONFIRM_SIGN_IN_WITH_TOTP_CODE"
BY_EMAIL = "CONFIRM_SIGN_IN_WITH_EMAIL_CODE"


@pytest.fixture
async def service(run: Run) -> AsyncIterator[Service]:
    """Run the service with authenticators and mail as second factors."""
    async with run(accounts={"mfa_types": ("TOTP", "EMAIL")}) as running:
        yield running


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account with both, of which none is preferred."""
    return await both(service)


async def both(service: Service, username: str = "ada") -> Account:
    """Make an account that has both second factors."""
    made = await service.confirmed(username)
    chosen = await choose(service, (await service.sign_in(username)).session, MFA_TYPE_TOTP)
    secret = chosen.next_step.totp_setup.shared_secret
    done = await answer(service, chosen.session, service.totp(secret))
    await prefer(service, done.tokens, email="ENABLED")
    service.next_totp_step()
    return Account(username, f"{username}@example.com", made.user_id, secret, done.tokens)


async def test_either_can_be_chosen(service: Service, account: Account) -> None:
    """Who has several second factors and prefers none chooses at each sign-in, and proves what was chosen."""
    started = await service.sign_in()
    assert step_of(started) == SELECTION
    assert list(started.next_step.allowed_mfa_types) == [MFA_TYPE_TOTP, MFA_TYPE_EMAIL]
    chosen = await choose(service, started.session, MFA_TYPE_TOTP)
    assert step_of(chosen) == BY_TOTP
    assert step_of(await answer(service, chosen.session, service.totp(account.secret))) == "DONE"

    started = await service.sign_in()
    before = service.catcher.last_number()
    chosen = await choose(service, started.session, MFA_TYPE_EMAIL)
    assert step_of(chosen) == BY_EMAIL
    done = await answer_mail(service, chosen.session, account.email, after=before)
    assert step_of(done) == "DONE"


@pytest.mark.parametrize(("preferred", "step"), [("totp", BY_TOTP), ("email", BY_EMAIL)])
async def test_a_preference_chooses(service: Service, account: Account, preferred: str, step: str) -> None:
    """Who prefers a second factor is asked for it."""
    await prefer(service, account.tokens, **{preferred: "PREFERRED"})
    assert step_of(await service.sign_in()) == step


@pytest.mark.parametrize("kind", [MFA_TYPE_SMS, MFA_TYPE_UNSPECIFIED, 99])
async def test_only_what_is_offered_can_be_chosen(service: Service, account: Account, kind: MfaType.ValueType) -> None:
    """A choice that is not offered is the caller's mistake: it is not counted, and the session goes on."""
    started = await service.sign_in()
    for _ in range(6):
        async with fails("INVALID_FIELDS") as failures:
            await choose(service, started.session, kind)
        assert [field for field, _ in failures[0].violations] == ["mfa_type"]
    assert step_of(await choose(service, started.session, MFA_TYPE_TOTP)) == BY_TOTP


async def test_a_code_is_no_choice(service: Service, account: Account) -> None:
    """A right code does not skip the choice."""
    started = await service.sign_in()
    async with fails("INVALID_FIELDS"):
        await answer(service, started.session, service.totp(account.secret))


async def test_a_choice_is_made_once(service: Service, account: Account) -> None:
    """A session is over with its choice: another one is made in another sign-in."""
    started = await service.sign_in()
    chosen = await choose(service, started.session, MFA_TYPE_TOTP)
    for kind in (MFA_TYPE_TOTP, MFA_TYPE_EMAIL):
        async with fails("SESSION_EXPIRED"):
            await choose(service, started.session, kind)
    async with fails("INVALID_FIELDS"):
        await choose(service, chosen.session, MFA_TYPE_EMAIL)


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_a_choice_has_three_minutes(service: Service, account: Account, early: timedelta) -> None:
    """A choice can be made for 3 minutes, and what was chosen proved for 3 more."""
    started = await service.sign_in()
    service.clock.advance(3 * MINUTE - early)
    if early > timedelta():
        chosen = await choose(service, started.session, MFA_TYPE_TOTP)
        service.clock.advance(3 * MINUTE - TICK)
        assert step_of(await answer(service, chosen.session, service.totp(account.secret))) == "DONE"
        return
    async with fails("SESSION_EXPIRED"):
        await choose(service, started.session, MFA_TYPE_TOTP)


async def test_a_choice_is_good_for_its_own_sign_in(service: Service, account: Account) -> None:
    """The session of one user, once chosen, is not answered by the authenticator of another."""
    bob = await both(service, "bob")
    mine = await choose(service, (await service.sign_in()).session, MFA_TYPE_TOTP)
    if service.totp(bob.secret) == service.totp(account.secret):
        pytest.skip("two equal codes, once in a million")
    async with fails("CODE_MISMATCH"):
        await answer(service, mine.session, service.totp(bob.secret))


async def test_what_is_gone_meanwhile_can_not_be_chosen(service: Service, account: Account) -> None:
    """A factor that was disabled since the choice was offered is not offered any more."""
    started = await service.sign_in()
    await prefer(service, account.tokens, email="DISABLED")
    async with fails("INVALID_FIELDS"):
        await choose(service, started.session, MFA_TYPE_EMAIL)
    assert step_of(await choose(service, started.session, MFA_TYPE_TOTP)) == BY_TOTP


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_a_choice_of_what_to_set_up_has_fifteen_minutes(service: Service, early: timedelta) -> None:
    """What to set up can be chosen for 15 minutes."""
    await service.confirmed("ada")
    started = await service.sign_in()
    assert step_of(started) == SETUP_SELECTION
    service.clock.advance(15 * MINUTE - early)
    if early > timedelta():
        chosen = await choose(service, started.session, MFA_TYPE_TOTP)
        assert step_of(chosen) == "CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
        return
    async with fails("SESSION_EXPIRED"):
        await choose(service, started.session, MFA_TYPE_TOTP)


async def test_what_to_set_up_is_chosen_once(service: Service) -> None:
    """A session that was used to choose what to set up chooses nothing else."""
    await service.confirmed("ada")
    started = await service.sign_in()
    await choose(service, started.session, MFA_TYPE_TOTP)
    async with fails("SESSION_EXPIRED"):
        await choose(service, started.session, MFA_TYPE_EMAIL)


@pytest.mark.parametrize("kind", [MFA_TYPE_TOTP, MFA_TYPE_EMAIL])
async def test_a_second_sign_in_sets_nothing_else_up(service: Service, kind: MfaType.ValueType) -> None:
    """Once one sign-in has set a factor up, others that were half-way there set none up: a password is not enough."""
    await service.confirmed("ada")
    choosing = await service.sign_in()
    before = service.catcher.last_number()
    late = await choose(service, (await service.sign_in()).session, kind)
    code = await service.code("ada@example.com", after=before) if kind == MFA_TYPE_EMAIL else ""
    first = await choose(service, (await service.sign_in()).session, MFA_TYPE_TOTP)
    secret = first.next_step.totp_setup.shared_secret
    assert step_of(await answer(service, first.session, service.totp(secret))) == "DONE"

    async with fails("SESSION_EXPIRED"):
        await choose(service, choosing.session, MFA_TYPE_EMAIL)
    async with fails("SESSION_EXPIRED"):
        if kind == MFA_TYPE_EMAIL:
            await service.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=late.session, email_code=code))
        else:
            secret = late.next_step.totp_setup.shared_secret
            await answer(service, late.session, service.totp(secret))
