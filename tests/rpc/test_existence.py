"""Names that don't exist, and addresses that are taken, are answered like others, over whole sequences of calls."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from tests.admin.operator import Operator
from tests.rpc.calls import NEW_PASSWORD, recipients, resend, reset, settle
from tests.rpc.conftest import Run
from tests.service import Service, fails, failure_of

MASK = re.compile(r"[a-z]\*\*\*@[a-z]\*\*\*")

Seen = dict[str, object]


@dataclass(frozen=True)
class Asker:
    """Hold a service, and the name that a stranger asks it about."""

    service: Service
    username: str

    def sign_in(self) -> Awaitable[Any]:
        """Try a password."""
        return self.service.stub.SignIn(pb.SignInRequest(username=self.username, password="a wrong password"))

    def confirm(self) -> Awaitable[Any]:
        """Try a sign-up code."""
        request = pb.ConfirmSignUpRequest(username=self.username, confirmation_code="424242")
        return self.service.stub.ConfirmSignUp(request)

    def resend(self) -> Awaitable[Any]:
        """Ask for a sign-up code."""
        return self.service.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username=self.username))

    def reset(self) -> Awaitable[Any]:
        """Ask for a reset code."""
        return self.service.stub.ResetPassword(pb.ResetPasswordRequest(username=self.username))

    def confirm_reset(self) -> Awaitable[Any]:
        """Try a reset code."""
        return self._confirm_reset("42424242", NEW_PASSWORD)

    def confirm_reset_weakly(self) -> Awaitable[Any]:
        """Try a reset code with a password that the policy refuses."""
        return self._confirm_reset("42424242", "password123")

    def confirm_reset_with_own_words(self) -> Awaitable[Any]:
        """Try a reset code with a password made of the name."""
        return self._confirm_reset("42424242", f"xx-{self.username}-77-yy")

    def _confirm_reset(self, code: str, new_password: str) -> Awaitable[Any]:
        request = pb.ConfirmResetPasswordRequest(
            username=self.username, confirmation_code=code, new_password=new_password
        )
        return self.service.stub.ConfirmResetPassword(request)


Ask = Callable[[Asker], Awaitable[Any]]


async def seen(call: Any) -> Seen:
    """Return everything that a stranger sees of a call but random ids and the letters of masks."""
    try:
        response = MessageToDict(await call)
        text = MASK.sub("MASK", str(response)).replace(str(response.get("userId")), "ID")
        text = text.replace(str(response.get("session")), "SESSION")
        outcome: Seen = {"response": text}
    except grpc.aio.AioRpcError as error:
        failure = failure_of(error)
        outcome = {
            "status": (failure.code, failure.text, failure.reason),
            "violations": failure.violations,
            "metadata": sorted(failure.metadata),
            "closed": failure.metadata.get("closed"),
            "retry_after": failure.retry_after,
        }
    sent = [*await call.initial_metadata(), *await call.trailing_metadata()]
    return {**outcome, "headers": sorted(key for key, _ in sent)}


SEQUENCES: dict[str, Sequence[Ask]] = {
    "passwords": [Asker.sign_in] * 9,
    "sign-up codes": [*[Asker.resend] * 2, *[Asker.confirm] * 7, *[Asker.resend] * 5, *[Asker.confirm] * 3],
    "reset codes": [*[Asker.reset] * 2, *[Asker.confirm_reset] * 7, *[Asker.reset] * 5, *[Asker.confirm_reset] * 3],
    "weak new passwords": [
        Asker.confirm_reset_weakly,
        Asker.confirm_reset_with_own_words,
        Asker.reset,
        Asker.confirm_reset_weakly,
        Asker.confirm_reset_with_own_words,
        Asker.confirm_reset,
    ],
    "all of them": [
        Asker.reset,
        Asker.sign_in,
        Asker.resend,
        Asker.confirm_reset,
        *[Asker.sign_in] * 5,
        Asker.confirm,
        Asker.confirm_reset_weakly,
        *[Asker.confirm_reset] * 5,
        Asker.reset,
        Asker.sign_in,
    ],
    "codes that nobody asked for": [*[Asker.confirm_reset] * 7, Asker.reset, Asker.confirm_reset],
}
STANDINGS = ("confirmed", "unconfirmed", "disabled", "enrolled")


async def make(service: Service, operator: Operator, standing: str) -> None:
    """Make an account, named as it stands."""
    if standing == "unconfirmed":
        await service.sign_up(standing)
    elif standing == "enrolled":
        await service.enrolled(standing)
    else:
        await service.confirmed(standing)
        if standing == "disabled":
            await operator.call("DisableUser", admin.DisableUserRequest(username=standing))


@pytest.mark.parametrize("seconds_between", [0, 40])
@pytest.mark.parametrize("sequence", SEQUENCES)
async def test_unknown_names_are_answered_like_known_ones(
    service: Service, operator: Operator, sequence: str, seconds_between: int
) -> None:
    """A stranger sees the same answers, limits and waits for an account of any standing and for no account at all."""
    for standing in STANDINGS:
        await make(service, operator, standing)
    askers = [Asker(service, name) for name in (*STANDINGS, "no-such-name")]
    for number, ask in enumerate(SEQUENCES[sequence]):
        *known, unknown = [await seen(ask(asker)) for asker in askers]
        for standing, answer in zip(STANDINGS, known, strict=True):
            assert answer == unknown, f"call {number} tells a {standing} account"
        service.clock.advance(timedelta(seconds=seconds_between))


async def test_confirmed_name_has_no_sign_up_code(service: Service) -> None:
    """Tries at a sign-up code that was never issued are answered alike for a confirmed account and for none."""
    await service.confirmed("ada")
    for _ in range(8):
        known = await seen(Asker(service, "ada").confirm())
        assert known == await seen(Asker(service, "no-such-name").confirm())


async def test_made_up_destination_is_always_the_same(run: Run) -> None:
    """A name that does not exist has one masked destination, at every call and after a restart."""
    async with run() as service:
        masks = {await reset(service, "nobody"), await resend(service, "NOBODY")}
    async with run() as service:
        masks.add(await reset(service, "nobody"))
    assert len(masks) == 1
    assert MASK.fullmatch(masks.pop())


async def test_no_mail_for_names_that_do_not_exist(service: Service, database: Database) -> None:
    """Nothing is mailed for a name that nobody has."""
    for _ in range(3):
        await reset(service, "nobody")
        await resend(service, "nobody-example")
    assert recipients(await settle(service, database)) == []


async def test_taken_address_is_answered_like_a_new_one(service: Service, database: Database) -> None:
    """Who signs up with a taken address sees the same as anybody else, whatever is called until it expires."""
    await service.enrolled("ada")

    def sign_up(username: str, email: str) -> Any:
        attributes = {"email": email}
        request = pb.SignUpRequest(username=username, password=NEW_PASSWORD, attributes=attributes)
        return service.stub.SignUp(request)

    async def look() -> None:
        taken = await seen(sign_up("newcomer-one", "ada@example.com"))
        assert taken == await seen(sign_up("newcomer-two", "someone@example.com"))

    await look()
    await look()  # USERNAME_EXISTS
    asks = [Asker.resend, *[Asker.confirm] * 6, Asker.reset, Asker.confirm_reset, Asker.sign_in, Asker.resend]
    for ask in asks:
        taken = await seen(ask(Asker(service, "newcomer-one")))
        assert taken == await seen(ask(Asker(service, "newcomer-two")))
    for username in ("newcomer-one", "newcomer-two"):
        told = await service.sign_in(username, password=NEW_PASSWORD)
        assert str(told.next_step).strip() == "step: SIGN_IN_STEP_CONFIRM_SIGN_UP"
    await settle(service, database)
    service.clock.advance(timedelta(hours=24))
    await look()


async def test_lock_of_a_name_ends_with_its_sign_up(service: Service) -> None:
    """What was guessed at a name before anybody had it does not lock out whoever signs up under it."""
    for reason in [*["NOT_AUTHORIZED"] * 5, "LIMIT_EXCEEDED"]:
        async with fails(reason):
            await service.sign_in("ada")
    await service.confirmed("ada")
    await service.sign_in("ada")
