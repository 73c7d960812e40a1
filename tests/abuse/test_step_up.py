"""A stolen token waits for its owner's proof: it gains nothing by it, whenever and wherever it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from authsvc.v1.tokens_pb2 import Tokens
from tests.races.gate import USER, gate
from tests.rpc.account_calls import delete_user, devices, prefer, reauthenticate, remove_device
from tests.rpc.attribute_calls import confirm_attribute, remove_attributes, set_attributes
from tests.rpc.calls import associate, fetch, is_live, recovery_codes, refresh, update, verify
from tests.service import PASSWORD, Account, Service, fails

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
Act = Callable[[Service, Tokens], Awaitable[object]]

SENSITIVE: dict[str, Act] = {
    "AssociateTotp": associate,
    "RemoveTotpDevice": lambda service, tokens: remove_device(service, tokens, "00000000-0000-4000-8000-000000000000"),
    "GenerateRecoveryCodes": recovery_codes,
    "UpdateMfaPreference": lambda service, tokens: prefer(service, tokens, totp="PREFERRED"),
    "UpdateUserAttributes": lambda service, tokens: set_attributes(service, tokens, email="thief@example.com"),
    "DeleteUserAttributes": lambda service, tokens: remove_attributes(service, tokens, "phone_number"),
    "UpdatePassword": lambda service, tokens: update(service, tokens, PASSWORD),
    "DeleteUser": delete_user,
}


@pytest.fixture
async def ada(service: Service) -> Account:
    """Make an account that is signed in."""
    return await service.enrolled("ada")


async def change_password(service: Service, account: Account, tokens: Tokens) -> Tokens:
    """Prove the user again by a new password."""
    return await update(service, tokens, PASSWORD)


async def step_up(service: Service, account: Account, tokens: Tokens) -> Tokens:
    """Prove the user again by the one there is."""
    return await reauthenticate(service, tokens, password=PASSWORD)


@pytest.mark.parametrize("late", [timedelta(), SECOND, HOUR], ids=["same second", "next second", "too old anyway"])
async def test_token_of_before_a_step_up(service: Service, ada: Account, late: timedelta) -> None:
    """RFC 9470, NIST SP 800-63B-4 section 5.2, ASVS 5 V7.5.3: a proof lifts no token that was there before it.

    Young ones neither, of the same second neither: their `auth_time` is whole seconds, which tell nothing apart.
    """
    service.clock.advance(late)
    stolen = await refresh(service, ada.tokens.refresh_token)
    renewed = await step_up(service, ada, stolen)
    for act in SENSITIVE.values():
        async with fails("REAUTHENTICATION_REQUIRED"):
            await act(service, stolen)
    # Elsewhere it is answered, and tells what it has always told.
    assert len(await devices(service, stolen)) == 1
    seen = await fetch(service, stolen)
    assert (await fetch(service, renewed)).auth_time.ToSeconds() - seen.auth_time.ToSeconds() == late.total_seconds()
    assert await recovery_codes(service, renewed)


async def test_token_of_before_a_new_password(service: Service, ada: Account) -> None:
    """ASVS 5 V7.4.3, V7.5.3: a new password is a proof as well; its session goes on with the tokens that it gave."""
    renewed = await change_password(service, ada, ada.tokens)
    for act in SENSITIVE.values():
        async with fails("REAUTHENTICATION_REQUIRED"):
            await act(service, ada.tokens)
    async with fails("TOKEN_REVOKED"):
        await refresh(service, ada.tokens.refresh_token)
    assert await recovery_codes(service, renewed)
    assert await is_live(service, await refresh(service, renewed.refresh_token))


async def test_recovered_factor_is_not_in_a_token_of_before(service: Service, ada: Account) -> None:
    """RFC 8176: `amr` is of the authentication that the token stands for, not of a later one."""
    code, *_ = await recovery_codes(service, ada.tokens)
    renewed = await reauthenticate(service, ada.tokens, recovery_code=code)
    assert list((await fetch(service, ada.tokens)).amr) == ["pwd", "otp", "mfa"]
    assert list((await fetch(service, renewed)).amr) == ["pwd", "otp", "recovery", "mfa"]


@pytest.mark.parametrize("prove", [step_up, change_password])
async def test_refresh_tokens_of_before(
    service: Service, ada: Account, prove: Callable[[Service, Account, Tokens], Awaitable[Tokens]]
) -> None:
    """RFC 9700 section 4.14.2: no refresh token of before a proof gives one that stands for it, in its grace neither.

    One whose successor can still be asked for again is no way around.
    """
    successor = await refresh(service, ada.tokens.refresh_token)
    service.clock.advance(SECOND)
    renewed = await prove(service, ada, successor)
    for former in (ada.tokens, successor):
        async with fails("TOKEN_REVOKED"):
            await refresh(service, former.refresh_token)
    assert await is_live(service, await refresh(service, renewed.refresh_token))
    # And later they are traps, as ever.
    service.clock.advance(timedelta(seconds=30))
    async with fails("REFRESH_TOKEN_REUSED"):
        await refresh(service, ada.tokens.refresh_token)


@pytest.mark.parametrize("name", [*SENSITIVE])
async def test_call_that_waits_for_the_proof(service: Service, ada: Account, database_url: str, name: str) -> None:
    """ASVS 5 V7.5.3: a call that passed the first look and waits for the account is looked at again under its lock."""
    act = SENSITIVE[name]
    async with gate(database_url, USER, "ada") as closed, asyncio.TaskGroup() as tasks:
        proving = tasks.create_task(reauthenticate(service, ada.tokens, password=PASSWORD))
        await closed.wait_for(1)

        async def steal() -> None:
            async with fails("REAUTHENTICATION_REQUIRED"):
                await act(service, ada.tokens)

        tasks.create_task(steal())
        await closed.open_for(2)
    assert await is_live(service, proving.result())


async def test_what_was_begun_before_is_not_finished_after(service: Service, ada: Account) -> None:
    """ASVS 5 V7.5.3: an authenticator and an address that a thief has begun to add die with the thief's token."""
    begun = await associate(service, ada.tokens)
    before = service.catcher.last_number()
    await set_attributes(service, ada.tokens, email="thief@example.com")
    code = await service.code("thief@example.com", after=before)
    renewed = await step_up(service, ada, ada.tokens)
    async with fails("REAUTHENTICATION_REQUIRED"):
        await verify(service, ada.tokens, begun.session, service.totp(begun.shared_secret))
    async with fails("REAUTHENTICATION_REQUIRED"):
        await confirm_attribute(service, ada.tokens, "email", code)
    # Neither was a try.
    await verify(service, renewed, begun.session, service.totp(begun.shared_secret))
    await confirm_attribute(service, renewed, "email", code)
