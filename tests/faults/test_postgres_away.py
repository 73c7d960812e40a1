"""Postgres is not there yet, has another schema, or does not answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import psutil
import pytest
from pydantic import SecretStr

from authsvc.clock import SystemClock
from authsvc.config import DatabaseSettings
from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import Mailbox
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.store.db import Database
from authsvc.store.migrate import migrate, read_migrations
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.mfa_preference_pb2 import MFA_PREFERENCE_ENABLED
from tests.client import Client, at_once
from tests.processes import ServerProcess, environment, free_port, serving
from tests.service import PASSWORD, Failure
from tests.starts import run

HANDLE = "x" * 43


async def call_everything(server: ServerProcess, metadata: list[tuple[str, str]]) -> Sequence[object]:
    """Call every RPC that needs the database, all with good fields, and return what came of each."""
    stub, code = server.stub, "12345678"
    attributes = {"email": "eve@example.com"}
    calls: list[Awaitable[object]] = [
        stub.SignUp(pb.SignUpRequest(username="eve", password=PASSWORD, attributes=attributes)),
        stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username="eve", confirmation_code=code)),
        stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username="eve")),
        stub.SignIn(pb.SignInRequest(username="eve", password=PASSWORD)),
        stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=HANDLE, totp_code="123456")),
        stub.AssociateTotp(pb.AssociateTotpRequest(), metadata=metadata),
        stub.VerifyTotp(pb.VerifyTotpRequest(session=HANDLE, totp_code="123456"), metadata=metadata),
        stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=metadata),
        stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=HANDLE)),
        stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=metadata),
        stub.SignOut(pb.SignOutRequest(), metadata=metadata),
        stub.ListSessions(pb.ListSessionsRequest(), metadata=metadata),
        stub.RevokeSession(pb.RevokeSessionRequest(session_id=str(uuid.uuid4())), metadata=metadata),
        stub.GetSigningKeys(pb.GetSigningKeysRequest()),
        stub.ResetPassword(pb.ResetPasswordRequest(username="eve")),
        stub.ConfirmResetPassword(
            pb.ConfirmResetPasswordRequest(username="eve", confirmation_code=code, new_password=PASSWORD)
        ),
        stub.UpdatePassword(
            pb.UpdatePasswordRequest(previous_password=PASSWORD, proposed_password=f"{PASSWORD}-new"),
            metadata=metadata,
        ),
        stub.ResendSignInCode(pb.ResendSignInCodeRequest(session=HANDLE)),
        stub.FetchMfaPreference(pb.FetchMfaPreferenceRequest(), metadata=metadata),
        stub.UpdateMfaPreference(pb.UpdateMfaPreferenceRequest(totp=MFA_PREFERENCE_ENABLED), metadata=metadata),
        stub.ListTotpDevices(pb.ListTotpDevicesRequest(), metadata=metadata),
        stub.RemoveTotpDevice(pb.RemoveTotpDeviceRequest(device_id=str(uuid.uuid4())), metadata=metadata),
        stub.GenerateRecoveryCodes(pb.GenerateRecoveryCodesRequest(), metadata=metadata),
        stub.FetchUserAttributes(pb.FetchUserAttributesRequest(), metadata=metadata),
        stub.UpdateUserAttributes(pb.UpdateUserAttributesRequest(attributes={"name": "Eve"}), metadata=metadata),
        stub.DeleteUserAttributes(pb.DeleteUserAttributesRequest(names=["name"]), metadata=metadata),
        stub.SendUserAttributeVerificationCode(
            pb.SendUserAttributeVerificationCodeRequest(name="email"), metadata=metadata
        ),
        stub.ConfirmUserAttribute(
            pb.ConfirmUserAttributeRequest(name="email", confirmation_code="123456"), metadata=metadata
        ),
        stub.Reauthenticate(pb.ReauthenticateRequest(password=PASSWORD), metadata=metadata),
        stub.DeleteUser(pb.DeleteUserRequest(), metadata=metadata),
        stub.ListAuthEvents(pb.ListAuthEventsRequest(), metadata=metadata),
    ]
    assert len(calls) == len(pb.DESCRIPTOR.services_by_name["AuthService"].methods)
    return await at_once(calls)


def assert_unavailable(outcomes: Sequence[object]) -> None:
    """See that every call was told to come back later, because of the database."""
    for outcome in outcomes:
        assert isinstance(outcome, Failure), outcome
        assert outcome.reason == "DATABASE_UNAVAILABLE"
        assert outcome.retry_after is not None
        assert outcome.retry_after > timedelta()


async def test_every_call_without_postgres(
    mortal: EmbeddedPostgres, mortal_environment: dict[str, str], mailbox: Mailbox, tmp_path: Path
) -> None:
    """A server is started before its Postgres: every RPC says at once that the database is away; then all is well."""
    async with serving(server := ServerProcess(mortal_environment, tmp_path / "server.log")):
        user = await Client(server.stub, mailbox).enrolled("ada")
    await asyncio.to_thread(mortal.stop)
    async with ServerProcess(mortal_environment, tmp_path / "server.log") as server:
        assert await server.health() == "NOT_SERVING"
        started = time.monotonic()
        assert_unavailable(await call_everything(server, user.bearer))
        assert time.monotonic() - started < 2
        await asyncio.to_thread(mortal.start)
        await server.wait_for_health("SERVING")
        assert await Client(server.stub, mailbox).is_signed_in(user.tokens)


@pytest.fixture
async def empty_database_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Make a database without our schema."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres.dsn())
    await admin.execute(f"create database {name} strategy file_copy")
    yield postgres.dsn(name)
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.mark.parametrize("applied", [0, 1, 2])
async def test_schema_behind(empty_database_url: str, master_key: MasterKey, tmp_path: Path, applied: int) -> None:
    """With a schema that is missing or behind, a server does not serve; `authsvc migrate` is all that it takes."""
    database = await Database.open(DatabaseSettings(url=SecretStr(empty_database_url)), size=1)
    await migrate(database, read_migrations()[:applied], SystemClock())
    await database.close()
    env = environment(empty_database_url, master_key=master_key.line(), smtp_port=free_port())
    async with ServerProcess(env, tmp_path / "server.log") as server:
        await server.wait_for_event("not serving")
        assert await server.health() == "NOT_SERVING"
        sign_up = server.stub.SignUp(
            pb.SignUpRequest(username="ada", password=PASSWORD, attributes={"email": "ada@example.com"})
        )
        assert_unavailable(await at_once([sign_up]))
        (await asyncio.to_thread(run, "migrate", environment=env)).check_returncode()
        await server.wait_for_health("SERVING")


@contextmanager
def standing_still(cluster: Path) -> Iterator[None]:
    """Stop the processes of a Postgres, as a machine that hangs does: connections stay, answers don't come."""
    postmaster = psutil.Process(int((cluster / "postmaster.pid").read_text().split()[0]))
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@pytest.mark.serial
async def test_postgres_that_does_not_answer(
    mortal: EmbeddedPostgres,
    postgres_folder: Path,
    mortal_environment: dict[str, str],
    mailbox: Mailbox,
    tmp_path: Path,
) -> None:
    """Postgres hangs: every call is answered when its time is up, and once Postgres goes on, so does the server."""
    server = ServerProcess(
        {
            **mortal_environment,
            "AUTHSVC_DATABASE_CONNECT_TIMEOUT_SECONDS": "1",
            "AUTHSVC_DATABASE_ACQUIRE_TIMEOUT_SECONDS": "1",
            "AUTHSVC_DATABASE_STATEMENT_TIMEOUT_SECONDS": "1",
        },
        tmp_path / "server.log",
    )
    async with serving(server):
        client = Client(server.stub, mailbox)
        user = await client.enrolled("ada")
        with standing_still(postgres_folder / "data"):
            started = time.monotonic()
            outcomes = [*await call_everything(server, user.bearer), *await call_everything(server, user.bearer)]
            # A statement's time and a connection's, twice, and something for a busy machine.
            assert time.monotonic() - started < 6
            # The signing keys are known for a while, all else is asked for.
            failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
            assert len(failures) >= len(outcomes) - 2
            assert_unavailable(failures)
            await server.wait_for_health("NOT_SERVING")
        await server.wait_for_health("SERVING")
        assert await client.is_signed_in(user.tokens)
