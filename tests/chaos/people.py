"""People who use a service that is being killed: they give up, try again, and keep a record of what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import grpc

from authsvc.dev.mailbox import code_in
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.chaos.ledger import Account, Ledger
from tests.client import email_of
from tests.mail.smtp_server import SmtpServer
from tests.service import bearer, failure_of

if TYPE_CHECKING:
    from authsvc.v1.auth_service_pb2_grpc import AuthServiceAsyncStub

# Nobody waits longer for a call; some for hardly at all, and so never hear of what was committed.
PATIENCE_SECONDS = 3.0
HASTE_SECONDS = 0.03
HASTY = 0.03
PAUSE_SECONDS = 0.05
# A mail may be under the lease of a server that is dead: its reader does without.
CODE_SECONDS = 4.0
RIGHT = "Tr0mbone-under-9-lakes"
# After so many wrong passwords a guesser takes another name: the lock of the former is no matter of this test.
GUESSES = 25

_CUT_OFF = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
)


@dataclass(frozen=True)
class Told:
    """Hold an answer, or the reason of a refusal; `is_repeated` if an earlier try may have been carried out."""

    answer: Any = None
    reason: str = ""
    is_repeated: bool = False


class Closed(Exception):
    """The test is over."""


@dataclass
class Crowd:
    """Hold what the people share."""

    stub: AuthServiceAsyncStub
    smtp: SmtpServer
    ledger: Ledger
    random: Random
    stop: asyncio.Event

    async def call(self, method: Callable[..., Awaitable[Any]], request: Any, tokens: Tokens | None = None) -> Told:
        """Call until there is an answer, or a refusal that is the caller's business."""
        is_repeated = False
        while True:
            if self.stop.is_set():
                raise Closed
            self.ledger.calls += 1
            timeout = HASTE_SECONDS if self.random.random() < HASTY else PATIENCE_SECONDS
            try:
                answer = await method(request, metadata=bearer(tokens) if tokens else (), timeout=timeout)
                return Told(answer=answer, is_repeated=is_repeated)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _CUT_OFF:
                    return Told(reason=failure_of(error).reason, is_repeated=is_repeated)
                # Refused before anything was done, or cut off after everything was: who calls can't know.
                is_repeated = True
                self.ledger.broken += 1
            await asyncio.sleep(PAUSE_SECONDS * (1 + self.random.random()))

    async def live(self, name: str) -> None:
        """Be one user after the other until the test is over."""
        number = 0
        try:
            while True:
                number += 1
                await self._life(f"{name}-{number}")
        except Closed:
            return

    async def guess(self, name: str) -> None:
        """Try wrong passwords of names that nobody has."""
        number = 0
        try:
            while True:
                number += 1
                victim = f"{name}-{number}"
                for _ in range(GUESSES):
                    told = await self.call(self.stub.SignIn, pb.SignInRequest(username=victim, password=f"{RIGHT}-not"))
                    assert told.reason == "NOT_AUTHORIZED", told
                    self.ledger.refused[victim] = self.ledger.refused.get(victim, 0) + 1
        except Closed:
            return

    async def _life(self, username: str) -> None:
        account = Account(username, [RIGHT])
        request = pb.SignUpRequest(
            username=username,
            password=RIGHT,
            attributes={"email": email_of(username)},
            request_id=f"request-of-{username}",
        )
        told = await self.call(self.stub.SignUp, request)
        assert not told.reason, (username, told)
        self.ledger.accounts[username] = account
        code = await self._code(username)
        if code is None:
            return
        told = await self.call(
            self.stub.ConfirmSignUp, pb.ConfirmSignUpRequest(username=username, confirmation_code=code)
        )
        # A code that was taken by a call whose answer was lost is none any more.
        assert not told.reason or told.is_repeated, (username, told)
        account.is_confirmed = True
        for _ in range(self.random.randrange(1, 4)):
            await self._visit(account)
        if self.random.random() < 0.2:
            await self._delete(account)

    async def _visit(self, account: Account) -> None:
        """Sign in, use the session, change the password now and then, and sign out."""
        tokens = await self._sign_in(account)
        refreshed = await self.call(
            self.stub.RefreshSession, pb.RefreshSessionRequest(refresh_token=tokens.refresh_token)
        )
        assert not refreshed.reason, (account, refreshed)
        account.spent.append(tokens.refresh_token)
        tokens = refreshed.answer.tokens
        if self.random.random() < 0.3:
            await self._change_password(account, tokens)
        told = await self.call(self.stub.SignOut, pb.SignOutRequest(), tokens)
        assert not told.reason or told.is_repeated, (account, told)
        account.ended.append(tokens.access_token)

    async def _sign_in(self, account: Account) -> Tokens:
        for password in list(account.passwords):
            told = await self.call(self.stub.SignIn, pb.SignInRequest(username=account.username, password=password))
            if not told.reason:
                account.passwords = [password]
                assert told.answer.is_signed_in
                tokens: Tokens = told.answer.tokens
                seen = await self.call(self.stub.FetchAuthSession, pb.FetchAuthSessionRequest(), tokens)
                assert seen.answer.is_signed_in, account
                return tokens
            assert told.reason == "NOT_AUTHORIZED", (account, told)
        raise AssertionError(f"no password that was acknowledged signs in: {account}")

    async def _change_password(self, account: Account, tokens: Tokens) -> None:
        (former,) = account.passwords
        new = f"{RIGHT}-{self.random.randrange(10**9)}"
        account.passwords = [former, new]
        request = pb.UpdatePasswordRequest(previous_password=former, proposed_password=new)
        told = await self.call(self.stub.UpdatePassword, request, tokens)
        if not told.reason:
            account.passwords = [new]
        else:
            assert told.is_repeated, (account, told)

    async def _delete(self, account: Account) -> None:
        tokens = await self._sign_in(account)
        account.may_be_deleted = True
        told = await self.call(self.stub.DeleteUser, pb.DeleteUserRequest(), tokens)
        assert not told.reason or told.is_repeated, (account, told)
        account.is_deleted = True

    async def _code(self, username: str) -> str | None:
        """Return the code of the mail, or None if that takes too long."""
        end = asyncio.get_running_loop().time() + CODE_SECONDS
        while asyncio.get_running_loop().time() < end:
            if self.stop.is_set():
                raise Closed
            for mail in self.smtp.received:
                if mail.recipient == email_of(username) and (code := code_in(mail.message)):
                    return code
            await asyncio.sleep(PAUSE_SECONDS)
        return None
