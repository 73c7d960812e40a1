"""A calling team's user, in real time: calls, mail, an authenticator. The server may be another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
import pyotp

from authsvc.dev.mailbox import Mailbox, code_in
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.service import PASSWORD, Failure, bearer, failure_of
from tests.waiting import until

if TYPE_CHECKING:
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

STEP_SECONDS = 30
_T = TypeVar("_T")


async def at_once(calls: Iterable[Awaitable[_T]]) -> list[_T | Failure]:
    """Wait for calls that run side by side; of those that failed return what their status says."""
    outcomes: list[_T | Failure] = []
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, grpc.aio.AioRpcError):
            outcomes.append(failure_of(outcome))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            outcomes.append(outcome)
    return outcomes


def succeeded(outcomes: Iterable[_T | Failure]) -> list[_T]:
    """Return the answers among outcomes."""
    return [outcome for outcome in outcomes if not isinstance(outcome, Failure)]


def reasons(outcomes: Iterable[object]) -> list[str]:
    """Return why calls failed, in order; those that did not are left out."""
    return [outcome.reason for outcome in outcomes if isinstance(outcome, Failure)]


class Authenticator:
    """Make TOTP codes, each time step's at most once, as the server asks of its users."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._last_step = 0

    async def code(self) -> str:
        """Return the code of a later time step than ever before; it is good for at least half a minute.

        The server takes the next step's code too, so only every third call has to wait.
        """
        now = time.time()
        step = max(self._last_step + 1, int(now) // STEP_SECONDS)
        await asyncio.sleep((step - 1) * STEP_SECONDS - now)
        self._last_step = step
        return pyotp.TOTP(self.secret).at(step * STEP_SECONDS)

    def codes_around_now(self) -> set[str]:
        """Return all codes that the server could take for right in the next minute."""
        return {pyotp.TOTP(self.secret).at(int(time.time()) + STEP_SECONDS * steps) for steps in range(-1, 4)}


@dataclass(frozen=True)
class User:
    """Hold a confirmed account with an authenticator, and its first session."""

    username: str
    user_id: str
    authenticator: Authenticator
    tokens: Tokens

    @property
    def email(self) -> str:
        """Return where this user's mail goes."""
        return email_of(self.username)

    @property
    def bearer(self) -> list[tuple[str, str]]:
        """Return the metadata of this user's first session."""
        return bearer(self.tokens)


def email_of(username: str) -> str:
    """Return the address that a user of that name has."""
    return f"{username.lower()}@example.com"


class Client:
    """Take users through the flows."""

    def __init__(self, stub: AuthServiceAsyncStub, mailbox: Mailbox) -> None:
        self.stub = stub
        self.mailbox = mailbox

    async def sign_up(self, username: str, password: str = PASSWORD) -> pb.SignUpResponse:
        """Ask for an account."""
        attributes = {"email": email_of(username)}
        return await self.stub.SignUp(pb.SignUpRequest(username=username, password=password, attributes=attributes))

    async def code(self, username: str, *, after: int = 0) -> str:
        """Read the code of the first mail to a user, after the given number of mails, that has one."""
        codes: list[str] = []

        async def has_come() -> bool:
            mails = self.mailbox.read(email_of(username), after=after)
            codes.extend(code for mail in mails if (code := code_in(mail.message)))
            return bool(codes)

        await until(has_come)
        return codes[0]

    async def confirm(self, username: str, code: str) -> pb.ConfirmSignUpResponse:
        """Confirm an account."""
        return await self.stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username=username, confirmation_code=code))

    async def resend(self, username: str) -> pb.ResendSignUpCodeResponse:
        """Ask for another code."""
        return await self.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username=username))

    async def confirmed(self, username: str, password: str = PASSWORD) -> pb.SignUpResponse:
        """Make an account and confirm it."""
        before = self.mailbox.last_number()
        made = await self.sign_up(username, password)
        await self.confirm(username, await self.code(username, after=before))
        return made

    async def sign_in(self, username: str, password: str = PASSWORD) -> pb.SignInResponse:
        """Start a sign-in."""
        return await self.stub.SignIn(pb.SignInRequest(username=username, password=password))

    async def answer(self, session: str, totp_code: str) -> pb.ConfirmSignInResponse:
        """Answer a step with a TOTP code."""
        return await self.stub.ConfirmSignIn(pb.ConfirmSignInRequest(session=session, totp_code=totp_code))

    async def enrolled(self, username: str, password: str = PASSWORD) -> User:
        """Make a confirmed account, set its authenticator up, sign it in."""
        made = await self.confirmed(username, password)
        started = await self.sign_in(username, password)
        authenticator = Authenticator(started.next_step.totp_setup.shared_secret)
        done = await self.answer(started.session, await authenticator.code())
        assert done.is_signed_in
        return User(username, made.user_id, authenticator, done.tokens)

    async def associate(self, tokens: Tokens) -> tuple[str, Authenticator]:
        """Begin to set one more authenticator up; return the session that waits for its first code."""
        begun = await self.stub.AssociateTotp(pb.AssociateTotpRequest(), metadata=bearer(tokens))
        return begun.session, Authenticator(begun.shared_secret)

    async def verify(self, tokens: Tokens, session: str, totp_code: str) -> pb.VerifyTotpResponse:
        """Finish to set an authenticator up."""
        request = pb.VerifyTotpRequest(session=session, totp_code=totp_code)
        return await self.stub.VerifyTotp(request, metadata=bearer(tokens))

    async def add_authenticator(self, tokens: Tokens) -> Authenticator:
        """Set one more authenticator up."""
        session, authenticator = await self.associate(tokens)
        await self.verify(tokens, session, await authenticator.code())
        return authenticator

    async def is_signed_in(self, tokens: Tokens | str) -> bool:
        """Ask whether an access token stands for a live session."""
        seen = await self.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(tokens))
        return seen.is_signed_in

    async def refresh(self, refresh_token: str) -> Tokens:
        """Rotate a refresh token."""
        answer = await self.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=refresh_token))
        return answer.tokens
