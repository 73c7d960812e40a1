"""Rotation of signing keys and of master keys, with users signed in."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from pydantic import SecretStr

from authsvc.config import KeysSettings, Settings
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.clock import TICK, FakeClock
from tests.rpc.calls import (
    answer,
    associate,
    confirm,
    confirm_reset,
    is_live,
    refresh,
    reset,
    reset_code,
    step_of,
    verify,
)
from tests.rpc.conftest import Run
from tests.service import Account, Service, fails
from tests.signing_keys import signing_keys_of

MINUTE = timedelta(minutes=1)
# A process looks for keys that another one made this often.
NOTICE = timedelta(seconds=30)


@pytest.fixture
async def operator(database: Database, ring: KeyRing, settings: Settings, clock: FakeClock) -> SigningKeys:
    """Rotate keys from another process."""
    return signing_keys_of(database, ring, settings.tokens, clock)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account that is signed in."""
    return await service.enrolled("ada")


async def published(service: Service) -> list[str]:
    """Return the ids of the published keys."""
    return [key.kid for key in (await service.stub.GetSigningKeys(pb.GetSigningKeysRequest())).keys]


def kid_of(tokens: Tokens) -> str:
    """Return the id of the key that signed an access token, which is the one of its ID token too."""
    (kid,) = {jwt.get_unverified_header(token)["kid"] for token in (tokens.access_token, tokens.id_token)}
    return str(kid)


async def test_new_key_is_published_before_it_signs(service: Service, account: Account, operator: SigningKeys) -> None:
    """A rotated-in key is published within half a minute, first in the list, and signs from ten minutes on."""
    old = kid_of(account.tokens)
    new = (await operator.rotate()).kid
    service.clock.advance(NOTICE)
    assert await published(service) == [new, old]
    service.clock.advance(10 * MINUTE - NOTICE - TICK)
    tokens = await refresh(service, account.tokens.refresh_token)
    assert kid_of(tokens) == old
    service.clock.advance(TICK)
    tokens = await refresh(service, tokens.refresh_token)
    assert kid_of(tokens) == new
    assert await is_live(service, tokens)


async def test_old_key_is_published_for_as_long_as_its_tokens_live(
    service: Service, account: Account, operator: SigningKeys
) -> None:
    """The last token that the former key signed is good to its end; then the former key goes."""
    old = kid_of(account.tokens)
    new = (await operator.rotate()).kid
    service.clock.advance(10 * MINUTE - TICK)
    last = await refresh(service, account.tokens.refresh_token)
    assert kid_of(last) == old
    service.clock.advance(15 * MINUTE - timedelta(seconds=1))
    assert await is_live(service, last)
    assert await published(service) == [new, old]
    service.clock.advance(5 * MINUTE + timedelta(seconds=1) + NOTICE)
    assert await published(service) == [new]


async def test_immediate_rotation_ends_the_old_key(service: Service, account: Account, operator: SigningKeys) -> None:
    """After the rotation of a leaked key its tokens are refused within half a minute; refresh tokens go on."""
    new = (await operator.rotate(immediately=True)).kid
    service.clock.advance(NOTICE)
    assert await published(service) == [new]
    assert not await is_live(service, account.tokens)
    async with fails("TOKEN_INVALID"):
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=account.bearer)
    tokens = await refresh(service, account.tokens.refresh_token)
    assert kid_of(tokens) == new
    assert await is_live(service, tokens)


async def test_immediate_rotation_in_the_middle_of_another(
    service: Service, account: Account, operator: SigningKeys
) -> None:
    """A leaked key that another rotation has retired, but that still signs, ends at once too."""
    await operator.rotate()
    service.clock.advance(MINUTE)
    new = (await operator.rotate(immediately=True)).kid
    service.clock.advance(NOTICE)
    assert await published(service) == [new]
    assert not await is_live(service, account.tokens)
    assert kid_of(await refresh(service, account.tokens.refresh_token)) == new


async def test_rotation_to_another_algorithm(run: Run) -> None:
    """After a change of the algorithm the present key goes on; new keys are of the new algorithm."""
    async with run(tokens={"algorithm": "EdDSA"}) as service:
        account = await service.enrolled("ada")
    async with run(tokens={"algorithm": "ES256"}) as service:
        assert await is_live(service, account.tokens)
        tokens = await refresh(service, account.tokens.refresh_token)
        assert kid_of(tokens) == kid_of(account.tokens)


async def test_master_key_rotation_loses_nothing(
    settings: Settings, clock: FakeClock, master_key: MasterKey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With a new master key before the old one everything that was begun is finished, mail that waited included."""
    folder = tmp_path_factory.mktemp("mail")
    lines = f"{MasterKey.generate().line()}\n{master_key.line()}\n"
    rotated = settings.model_copy(update={"keys": KeysSettings(master=SecretStr(lines))})

    async with Service.run(settings, clock, folder) as service:
        account = await service.enrolled("ada")
        reset_password_code = await reset_code(service, account)
        added = await associate(service, account.tokens)
        await service.sign_up("bob")
        sign_up_code = await service.code("bob@example.com")
        service.next_totp_step()
        started = await service.sign_in("ada")
        used = account.tokens.refresh_token
        successor = await refresh(service, used)
        await service.catcher.stop()
        await service.sign_up("carl")

    async with Service.run(rotated, clock, folder) as service:
        assert await is_live(service, account.tokens)
        assert (await refresh(service, used)).refresh_token == successor.refresh_token
        assert await is_live(service, await refresh(service, successor.refresh_token))
        done = await answer(service, started.session, service.totp(account.secret))
        assert step_of(done) == "DONE"
        await verify(service, account.tokens, added.session, service.totp(added.shared_secret))
        await confirm(service, "bob", sign_up_code)
        await confirm_reset(service, "ada", reset_password_code)
        for _ in range(6):
            clock.advance(MINUTE / 2)
        await confirm(service, "carl", await service.code("carl@example.com"))


async def test_superseded_codes_of_the_former_master_key(
    settings: Settings, clock: FakeClock, master_key: MasterKey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A code that was replaced under another master key is told to be expired, not wrong."""
    folder = tmp_path_factory.mktemp("mail")
    lines = f"{MasterKey.generate().line()}\n{master_key.line()}\n"
    async with Service.run(settings, clock, folder) as service:
        await service.sign_up("ada")
        old = await service.code("ada@example.com")
    rotated = settings.model_copy(update={"keys": KeysSettings(master=SecretStr(lines))})
    async with Service.run(rotated, clock, folder) as service:
        before = service.catcher.last_number()
        await service.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username="ada"))
        code = await service.code("ada@example.com", after=before)
        async with fails("CODE_EXPIRED"):
            await confirm(service, "ada", old)
        await confirm(service, "ada", code)


async def test_made_up_addresses_survive_a_new_master_key(
    settings: Settings, clock: FakeClock, master_key: MasterKey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Names that don't exist are shown the same masked address after a rotation, as those that do are."""
    folder = tmp_path_factory.mktemp("mail")
    names = [f"nobody-{number}" for number in range(5)]
    async with Service.run(settings, clock, folder) as service:
        before = [await reset(service, name) for name in names]
    lines = f"{MasterKey.generate().line()}\n{master_key.line()}\n"
    rotated = settings.model_copy(update={"keys": KeysSettings(master=SecretStr(lines))})
    async with Service.run(rotated, clock, folder) as service:
        assert [await reset(service, name) for name in names] == before
    assert len(set(before)) > 1
