"""What is left of accounts whose master key was lost, as docs/deploy.md tells operators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from authsvc.app import READINESS_INTERVAL, App
from authsvc.config import KeysSettings, Settings
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.rpc.server import AUTH_SERVICE
from authsvc.store.db import Database
from authsvc.telemetry.metrics import Metrics
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.sign_in_step_pb2 import SignInStep
from tests.clock import FakeClock
from tests.mail.post_office import PostOffice
from tests.service import Account, Service, fails
from tests.signing_keys import signing_keys_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def account(settings: Settings, clock: FakeClock, tmp_path: Path) -> Account:
    """Make an account with an authenticator, under the key that is going to be lost."""
    async with Service.run(settings, clock, tmp_path / "before") as service:
        return await service.enrolled()


@pytest.fixture
def new_key() -> MasterKey:
    """Make the key that takes the place of the lost one."""
    return MasterKey.generate()


@pytest.fixture
def with_new_key(settings: Settings, new_key: MasterKey) -> Settings:
    """Make settings for the same database with the new key alone."""
    return settings.model_copy(update={"keys": KeysSettings(master=SecretStr(new_key.line()))})


@asynccontextmanager
async def health(settings: Settings, clock: FakeClock) -> AsyncIterator[Any]:
    """Run the service, whether it can serve or not, and lend a stub of its health service."""
    stop = asyncio.Event()
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    async with asyncio.TaskGroup() as tasks, App.open(settings, clock, Metrics()) as app:
        port = await app.start()
        running = tasks.create_task(app.run(stop))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield health_pb2_grpc.HealthStub(channel)
        stop.set()
        await running


async def rotate(database: Database, settings: Settings, key: MasterKey, clock: FakeClock) -> None:
    """Do what `authsvc keys rotate --now` does."""
    await signing_keys_of(database, KeyRing(keys=(key,)), settings.tokens, clock).rotate(immediately=True)


@pytest.mark.usefixtures("account")
async def test_server_with_another_master_key_does_not_serve(
    with_new_key: Settings, new_key: MasterKey, clock: FakeClock, database: Database
) -> None:
    """A master key that does not open the signing key keeps a replica out of service until there is a key it opens."""
    request = health_pb2.HealthCheckRequest(service=AUTH_SERVICE)
    async with health(with_new_key, clock) as stub, asyncio.timeout(20):
        watch = stub.Watch(request)
        assert (await watch.read()).status == NOT_SERVING
        # Time enough to look whether it could serve.
        await asyncio.sleep(0.5)
        assert (await stub.Check(request)).status == NOT_SERVING
        await rotate(database, with_new_key, new_key, clock)
        clock.advance(READINESS_INTERVAL)
        assert (await watch.read()).status == SERVING
        watch.cancel()


@pytest.mark.usefixtures("account")
async def test_server_with_another_master_key_leaves_mail_alone(
    settings: Settings, with_new_key: Settings, ring: KeyRing, clock: FakeClock, database: Database
) -> None:
    """Mail that this replica could not render is not claimed by it, not even between its start and its first look."""
    office = PostOffice(database, ring, clock, settings.mail)
    await office.owe("grace@example.com")
    async with health(with_new_key, clock) as stub:
        request = health_pb2.HealthCheckRequest(service=AUTH_SERVICE)
        await asyncio.sleep(0.5)
        assert (await stub.Check(request)).status == NOT_SERVING
    (waiting,) = [row for row in await office.rows() if row.state == "QUEUED"]
    assert (waiting.attempts, waiting.is_leased) == (0, False)


async def test_passwords_outlive_the_master_key(
    account: Account,
    with_new_key: Settings,
    new_key: MasterKey,
    clock: FakeClock,
    database: Database,
    tmp_path: Path,
) -> None:
    """With a new key passwords are still right, sessions have ended, and authenticators must be set up again."""
    await rotate(database, with_new_key, new_key, clock)
    async with Service.run(with_new_key, clock, tmp_path / "after") as service:
        assert not (
            await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=account.bearer)
        ).is_signed_in
        async with fails("TOKEN_INVALID"):
            await service.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=account.tokens.refresh_token))
        locked_out = await service.sign_in(account.username)
        assert locked_out.next_step.step == SignInStep.SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE
        async with fails("INTERNAL"):
            await service.stub.ConfirmSignIn(
                pb.ConfirmSignInRequest(session=locked_out.session, totp_code=service.totp(account.secret, steps=1))
            )

        await database.execute("delete from totp_devices")

        started = await service.sign_in(account.username)
        assert started.next_step.step == SignInStep.SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP
        secret = started.next_step.totp_setup.shared_secret
        done = await service.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(secret))
        )
        assert done.is_signed_in
