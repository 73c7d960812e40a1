"""The main flow as a calling service and its user walk through it, each outcome checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import grpc
import segno
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from authsvc.cli.demo_mail import wait_for_code
from authsvc.cli.demo_view import View
from authsvc.cli.failures import Failed, using
from authsvc.clock import Clock
from authsvc.crypto.tokens import new_handle, new_id
from authsvc.crypto.totp import PERIOD_SECONDS, TotpSecret
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc.v1.sign_in_step_pb2 import SignInStep, TotpSetup
from authsvc.v1.sign_up_step_pb2 import SignUpStep

CALL_SECONDS = 15
# A code of the step before is accepted as long as the server is in the present step: not used in its last seconds.
SAFE_SECONDS = 5

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
_Step = TypeVar("_Step")


class _Refused(Exception):
    """Carry the reason of an error that the service answered with."""

    def __init__(self, *, method: str, reason: str) -> None:
        super().__init__(f"{method} was refused with {reason}")
        self.reason = reason


class Walk:
    """Walk one new user through sign-up, sign-in, sign-out and the next sign-in."""

    def __init__(self, *, channel: grpc.aio.Channel, mail_url: str, view: View, clock: Clock) -> None:
        self._stub = AuthServiceStub(channel)
        self._mail_url = mail_url
        self._view = view
        self._clock = clock
        self._username = f"demo-{new_id().hex[:8]}"
        self._email = f"{self._username}@example.com"
        self._password = new_handle()

    async def run(self, qr_png: Path | None) -> None:
        """Run the whole flow.

        Raises:
            Failed: something did not come out as it should.
        """
        try:
            self._view.heading("A new user signs up; a code goes to the e-mail address.")
            await self._sign_up()
            self._view.heading("The first sign-in sets an authenticator app up, since a second factor is required.")
            secret, used = await self._set_up_authenticator(qr_png)
            self._view.heading("From now on a sign-in needs password and code.")
            used = await self._sign_in_again(secret, used)
            self._view.heading("Whoever saw that code can't use it a second time.")
            await self._replay(secret.code(used))
        except _Refused as error:
            raise Failed(str(error)) from error
        self._view.heading("Everything came out as it should.", "bold green")

    async def _sign_up(self) -> None:
        attributes = {"email": self._email}
        asked = pb.SignUpRequest(username=self._username, password=self._password, attributes=attributes)
        made = await self._call(self._stub.SignUp, asked)
        _expect(made.next_step.step, SignUpStep.SIGN_UP_STEP_CONFIRM_SIGN_UP, SignUpStep.Name)
        subject, code = await wait_for_code(self._mail_url, self._email, self._clock)
        self._view.code(f"Mail to {self._email}, “{subject}”:", code)
        confirmed = await self._call(
            self._stub.ConfirmSignUp, pb.ConfirmSignUpRequest(username=self._username, confirmation_code=code)
        )
        _expect(confirmed.next_step.step, SignUpStep.SIGN_UP_STEP_DONE, SignUpStep.Name)

    async def _set_up_authenticator(self, qr_png: Path | None) -> tuple[TotpSecret, int]:
        started = await self._sign_in(SignInStep.SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP)
        secret = self._show(started.next_step.totp_setup, qr_png)
        step = self._present_step()
        if self._seconds_left() >= SAFE_SECONDS:
            # So that the present code is left for the next sign-in, and nobody has to wait.
            step -= 1
            self._view.say(
                "    A user who types slowly: the code changes meanwhile, and is accepted for one step more."
            )
        tokens = await self._answer(started.session, secret.code(step))
        await self._fetch_session(tokens, is_signed_in=True)
        await self._call(self._stub.SignOut, pb.SignOutRequest(), tokens)
        await self._fetch_session(tokens, is_signed_in=False)
        return secret, step

    async def _sign_in_again(self, secret: TotpSecret, used: int) -> int:
        started = await self._sign_in(SignInStep.SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE)
        if self._present_step() <= used:
            seconds = math.ceil(self._seconds_left())
            self._view.say(f"    Each code works once. The authenticator shows the next one in {seconds} s …")
        # Again and again, since timers may wake a moment early.
        while self._present_step() <= used:
            await self._clock.sleep(timedelta(seconds=self._seconds_left()))
        step = self._present_step()
        tokens = await self._answer(started.session, secret.code(step))
        await self._fetch_session(tokens, is_signed_in=True)
        return step

    async def _replay(self, code: str) -> None:
        started = await self._sign_in(SignInStep.SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE)
        try:
            await self._answer(started.session, code)
        except _Refused as error:
            if error.reason != "CODE_ALREADY_USED":
                raise
        else:
            raise Failed("a code was accepted twice")

    async def _sign_in(self, expected: SignInStep.ValueType) -> pb.SignInResponse:
        asked = pb.SignInRequest(username=self._username, password=self._password)
        started = await self._call(self._stub.SignIn, asked)
        _expect(started.next_step.step, expected, SignInStep.Name)
        return started

    async def _answer(self, session: str, code: str) -> str:
        self._view.code("Authenticator:", code)
        asked = pb.ConfirmSignInRequest(session=session, totp_code=code)
        done = await self._call(self._stub.ConfirmSignIn, asked)
        _expect(done.next_step.step, SignInStep.SIGN_IN_STEP_DONE, SignInStep.Name)
        return done.tokens.access_token

    async def _fetch_session(self, access_token: str, *, is_signed_in: bool) -> None:
        seen = await self._call(self._stub.FetchAuthSession, pb.FetchAuthSessionRequest(), access_token)
        if seen.is_signed_in != is_signed_in or (is_signed_in and seen.username != self._username):
            raise Failed("FetchAuthSession does not tell who is signed in")

    def _show(self, setup: TotpSetup, qr_png: Path | None) -> TotpSecret:
        code = segno.make_qr(setup.setup_uri, error="L")
        self._view.qr(code, setup.setup_uri)
        if qr_png is not None:
            with using(qr_png):
                code.save(str(qr_png), kind="png", scale=8)
        return TotpSecret(setup.shared_secret)

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request, access_token: str = ""
    ) -> Response:
        name = type(request).__name__.removesuffix("Request")
        metadata = [("authorization", f"Bearer {access_token}")] if access_token else []
        self._view.request(name, request, has_token=bool(access_token))
        try:
            response = await method(request, metadata=metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            reason = _reason_of(error)
            if reason is None:
                raise Failed(f"{name}: {error.code().name}: {error.details()}") from error
            self._view.failure(error.code().name, reason, error.details() or "")
            raise _Refused(method=name, reason=reason) from error
        self._view.response(response)
        return response

    def _present_step(self) -> int:
        return int(self._clock.now().timestamp()) // PERIOD_SECONDS

    def _seconds_left(self) -> float:
        return PERIOD_SECONDS - self._clock.now().timestamp() % PERIOD_SECONDS


def _reason_of(error: grpc.aio.AioRpcError) -> str | None:
    """Return the reason that the service gave; None if the error is not of the service's making."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    info = ErrorInfo()
    if status is None or not any(detail.Unpack(info) for detail in status.details):
        return None
    return str(info.reason)


def _expect(step: _Step, expected: _Step, name_of: Callable[[_Step], str]) -> None:
    if step != expected:
        raise Failed(f"the step is not {name_of(expected)}")
