"""People at addresses of their own: owners on their devices, strangers, and what each of them can do."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

import grpc

from authsvc.v1 import auth_service_pb2 as pb
from tests.rpc.calls import NEW_PASSWORD, step_of
from tests.service import PASSWORD, Account, Service, fails, failure_of

HOME, CAFE, LAIR = "192.0.2.1", "198.51.100.7", "203.0.113.66"
WRONG = "Not-the-password-7"


@dataclass
class Person:
    """Somebody at an address, with a device that keeps what it is given, or without."""

    service: Service
    address: str
    device_token: str = ""
    keeps: bool = True

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """Return what a trusted caller tells of them."""
        return [("authsvc-client-ip", self.address)]

    async def sign_in(self, username: str = "ada", password: str = PASSWORD) -> pb.SignInResponse:
        """Try a password."""
        request = pb.SignInRequest(username=username, password=password, device_token=self.device_token)
        return self._kept(await self.service.stub.SignIn(request, metadata=self.metadata))

    async def answer(self, session: str, totp_code: str) -> pb.ConfirmSignInResponse:
        """Give the code of an authenticator."""
        request = pb.ConfirmSignInRequest(session=session, totp_code=totp_code)
        response = await self.service.stub.ConfirmSignIn(request, metadata=self.metadata)
        self.device_token = (response.device_token if self.keeps else "") or self.device_token
        return response

    async def sign_in_fully(self, account: Account, password: str = PASSWORD) -> pb.ConfirmSignInResponse:
        """Sign in with an authenticator's next code."""
        self.service.next_totp_step()
        started = await self.sign_in(account.username, password)
        done = await self.answer(started.session, self.service.totp(account.secret))
        assert step_of(done) == "DONE"
        return done

    async def reset(self, username: str = "ada") -> pb.ResetPasswordResponse:
        """Ask for a reset code."""
        request = pb.ResetPasswordRequest(username=username, device_token=self.device_token)
        return await self.service.stub.ResetPassword(request, metadata=self.metadata)

    async def reset_by_mail(self, account: Account) -> tuple[str, str]:
        """Ask for a reset code and read it; return its session and it."""
        before = self.service.catcher.last_number()
        session = (await self.reset(account.username)).session
        return session, await self.service.code(account.email, after=before)

    async def confirm_reset(
        self, code: str, *, session: str = "", username: str = "ada", password: str = NEW_PASSWORD
    ) -> None:
        """Set a new password."""
        request = pb.ConfirmResetPasswordRequest(
            username=username,
            confirmation_code=code,
            new_password=password,
            session=session,
            device_token=self.device_token,
        )
        await self.service.stub.ConfirmResetPassword(request, metadata=self.metadata)

    async def guess(self, username: str = "ada") -> None:
        """Try a wrong password that is evaluated."""
        async with fails("NOT_AUTHORIZED"):
            await self.sign_in(username, WRONG)

    async def is_shut_out(self, username: str = "ada", password: str = PASSWORD) -> dict[str, str]:
        """Assert that no password is evaluated; return what else is told."""
        async with fails("LIMIT_EXCEEDED") as failures:
            await self.sign_in(username, password)
        return failures[0].metadata

    def _kept(self, response: pb.SignInResponse) -> pb.SignInResponse:
        self.device_token = (response.device_token if self.keeps else "") or self.device_token
        return response


async def outcome(call: Awaitable[object]) -> str:
    """Return the reason for which a call fails; OK if it does not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return failure_of(error).reason
    return "OK"


async def enrolled_at(service: Service, address: str, username: str = "ada") -> tuple[Account, Person]:
    """Make an account with an authenticator, whose owner has signed in from an address; return it and them there."""
    await service.confirmed(username)
    owner = Person(service, address)
    started = await owner.sign_in(username)
    secret = started.next_step.totp_setup.shared_secret
    done = await owner.answer(started.session, service.totp(secret))
    assert owner.device_token
    assert step_of(done) == "DONE"
    return Account(username, f"{username}@example.com", "", secret, done.tokens), owner
