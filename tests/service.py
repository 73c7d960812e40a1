"""The service under test with a client, a mailbox and an authenticator: what a calling team would write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Self, cast

import grpc
import pyotp
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from pydantic import SecretStr

from authsvc.app import App
from authsvc.config import Settings
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import code_in
from authsvc.telemetry.metrics import Metrics
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc.v1.tokens_pb2 import Tokens
from tests.clock import FakeClock

PASSWORD = "Tr0mbone-under-9-lakes"
SMS_KEY = "the-key-under-which-SMS-are-signed-in-tests"
STEP = timedelta(seconds=30)


@dataclass(frozen=True)
class Failure:
    """Hold what the status of a failed call says."""

    code: grpc.StatusCode
    text: str
    reason: str
    metadata: dict[str, str]
    violations: list[tuple[str, str]]
    retry_after: timedelta | None


@asynccontextmanager
async def fails(reason: str) -> AsyncIterator[list[Failure]]:
    """Assert that a call fails with `reason`; what else its status says is in the list afterwards."""
    seen: list[Failure] = []
    try:
        yield seen
    except grpc.aio.AioRpcError as error:
        seen.append(failure_of(error))
        assert seen[0].reason == reason, f"failed with {seen[0]} instead of {reason}"
    else:
        raise AssertionError(f"did not fail with {reason}")


def failure_of(error: grpc.aio.AioRpcError) -> Failure:
    """Read the status of a failed call, which must have exactly one ErrorInfo of ours."""
    # It has all that a Call is asked for here.
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None, f"no status details: {error.code()} {error.details()}"
    infos, bad, retry = [], BadRequest(), None
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            infos.append(info)
        detail.Unpack(bad)
        delay = RetryInfo()
        if detail.Unpack(delay):
            retry = delay.retry_delay.ToTimedelta()
    assert len(infos) == 1
    assert infos[0].domain == "authsvc"
    assert infos[0].metadata["request_id"]
    return Failure(
        error.code(),
        error.details() or "",
        infos[0].reason,
        dict(infos[0].metadata),
        [(violation.field, violation.reason) for violation in bad.field_violations],
        retry,
    )


def bearer(tokens: Tokens | str) -> list[tuple[str, str]]:
    """Return the metadata of a signed-in user."""
    access_token = tokens if isinstance(tokens, str) else tokens.access_token
    return [("authorization", f"Bearer {access_token}")]


@dataclass(frozen=True)
class Account:
    """Hold a confirmed account with an authenticator."""

    username: str
    email: str
    user_id: str
    secret: str
    tokens: Tokens

    @property
    def bearer(self) -> list[tuple[str, str]]:
        """Return the metadata of this user."""
        return bearer(self.tokens)


class Service:
    """Hold a running service and what a test needs to use it."""

    def __init__(self, settings: Settings, clock: FakeClock, catcher: MailCatcher, channel: grpc.aio.Channel) -> None:
        self.settings = settings
        self.clock = clock
        self.catcher = catcher
        self.channel = channel
        self.stub = AuthServiceStub(channel)
        self.metrics: Metrics

    @classmethod
    @asynccontextmanager
    async def run(
        cls, settings: Settings, clock: FakeClock, folder: Path, *, has_sms: bool = True
    ) -> AsyncIterator[Self]:
        """Start everything, wait until it serves, stop everything; without a webhook for SMS if not `has_sms`."""
        stop = asyncio.Event()
        metrics = Metrics()
        async with MailCatcher(folder=folder, sms_keys=[SMS_KEY]) as catcher, asyncio.TaskGroup() as tasks:
            settings = settings.model_copy(
                update={
                    "server": settings.server.model_copy(update={"port": 0}),
                    "mail": settings.mail.model_copy(
                        update={"smtp_host": "127.0.0.1", "smtp_port": catcher.port, "smtp_tls": "none"}
                    ),
                    "sms": settings.sms.model_copy(
                        update={"webhook_url": catcher.sms_url, "webhook_secret": SecretStr(SMS_KEY)} if has_sms else {}
                    ),
                }
            )
            async with App.open(settings, clock, metrics) as app:
                port = await app.start()
                running = tasks.create_task(app.run(stop, last_words=timedelta()))
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    service = cls(settings, clock, catcher, channel)
                    service.metrics = metrics
                    try:
                        await service.wait_until_serving()
                        yield service
                    finally:
                        # After a failed test too: a server that nobody stops outlives its event loop.
                        stop.set()
                        await running

    async def wait_until_serving(self) -> None:
        """Return once keys are published: the database answers and the schema is there."""
        for _ in range(200):
            with contextlib.suppress(grpc.aio.AioRpcError):
                if (await self.stub.GetSigningKeys(pb.GetSigningKeysRequest())).keys:
                    return
            await asyncio.sleep(0.02)
        raise AssertionError("the service does not serve")

    async def mail(self, address: str, *, after: int = 0) -> EmailMessage:
        """Wait for the first mail to `address` after the given number of mails."""
        return await self.catcher.wait_for(address, after=after)

    async def code(self, address: str, *, after: int = 0) -> str:
        """Wait for a mail with a code and read it; mails without one are passed over."""
        while (code := code_in(await self.mail(address, after=after))) is None:
            after += 1
        return code

    async def sms_code(self, number: str, *, after: int = 0) -> str:
        """Wait for the first SMS to `number` after the given number of messages, and read its code."""
        return await self.code(number, after=after)

    def totp(self, secret: str, *, steps: int = 0) -> str:
        """Return the authenticator's code, some time steps from now."""
        return pyotp.TOTP(secret).at(self.clock.now() + steps * STEP)

    def next_totp_step(self) -> None:
        """Move the clock on by one time step, so that a code can be used again."""
        self.clock.advance(STEP)

    async def sign_up(self, username: str, *, password: str = PASSWORD, email: str | None = None) -> pb.SignUpResponse:
        """Ask for an account."""
        attributes = {"email": email or f"{username}@example.com"}
        return await self.stub.SignUp(pb.SignUpRequest(username=username, password=password, attributes=attributes))

    async def confirmed(self, username: str, *, password: str = PASSWORD) -> pb.SignUpResponse:
        """Make an account and confirm it with the code of its mail."""
        email = f"{username}@example.com"
        before = self.catcher.last_number()
        made = await self.sign_up(username, password=password, email=email)
        code = await self.code(email, after=before)
        await self.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username=username, confirmation_code=code))
        return made

    async def enrolled(self, username: str = "ada", *, password: str = PASSWORD) -> Account:
        """Make a confirmed account, set its authenticator up, sign it in."""
        made = await self.confirmed(username, password=password)
        before = self.catcher.last_number()
        first = await self.stub.SignIn(pb.SignInRequest(username=username, password=password))
        secret = first.next_step.totp_setup.shared_secret
        done = await self.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=first.session, totp_code=self.totp(secret))
        )
        assert done.is_signed_in
        email = f"{username}@example.com"
        # The notice of the new factor, so that what comes next is about what comes next.
        await self.mail(email, after=before)
        return Account(username, email, made.user_id, secret, done.tokens)

    async def sign_in(self, username: str = "ada", *, password: str = PASSWORD) -> pb.SignInResponse:
        """Start a sign-in."""
        return await self.stub.SignIn(pb.SignInRequest(username=username, password=password))

    async def sign_in_fully(self, account: Account) -> Tokens:
        """Sign an enrolled account in with the next code of its authenticator."""
        self.next_totp_step()
        started = await self.sign_in(account.username)
        done = await self.stub.ConfirmSignIn(
            pb.ConfirmSignInRequest(session=started.session, totp_code=self.totp(account.secret))
        )
        assert done.is_signed_in
        return done.tokens
