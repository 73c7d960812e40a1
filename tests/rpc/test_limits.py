"""Limits on calls by source and in all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from tests.clock import TICK
from tests.rpc.calls import NEW_PASSWORD, answer, step_of
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Service, fails

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)

Metadata = list[tuple[str, str]]
Call = Callable[[Service, Metadata, int], Awaitable[Any]]


def source(address: str) -> Metadata:
    """Return the metadata by which a trusted caller tells the end user's address."""
    return [("authsvc-client-ip", address)]


ADA, BOB = source("192.0.2.1"), source("192.0.2.2")


def sign_up(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Sign a new name up."""
    name = f"user-{number}"
    attributes = {"email": f"{name}@example.com"}
    request = pb.SignUpRequest(username=name, password=NEW_PASSWORD, attributes=attributes)
    return service.stub.SignUp(request, metadata=metadata)


def confirm_sign_up(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Try a code of a name."""
    request = pb.ConfirmSignUpRequest(username=f"user-{number}", confirmation_code="123456")
    return service.stub.ConfirmSignUp(request, metadata=metadata)


def resend(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Ask for a code of a name."""
    return service.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username=f"user-{number}"), metadata=metadata)


def sign_in(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Try a password of a name."""
    return service.stub.SignIn(pb.SignInRequest(username=f"user-{number}", password=PASSWORD), metadata=metadata)


def confirm_sign_in(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Try a code in a session."""
    request = pb.ConfirmSignInRequest(session=f"session-{number}", totp_code="123456")
    return service.stub.ConfirmSignIn(request, metadata=metadata)


def reset(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Ask for a reset code of a name."""
    return service.stub.ResetPassword(pb.ResetPasswordRequest(username=f"user-{number}"), metadata=metadata)


def confirm_reset(service: Service, metadata: Metadata, number: int) -> Awaitable[Any]:
    """Try a reset code of a name."""
    request = pb.ConfirmResetPasswordRequest(
        username=f"user-{number}", confirmation_code="12345678", new_password=NEW_PASSWORD
    )
    return service.stub.ConfirmResetPassword(request, metadata=metadata)


# The setting that limits each call, its window, and what the call says when it is not limited.
LIMITED: dict[Call, tuple[str, timedelta, str]] = {
    sign_up: ("sign_up", HOUR, ""),
    confirm_sign_up: ("sign_up_confirm", HOUR, "CODE_EXPIRED"),
    resend: ("resend", HOUR, ""),
    sign_in: ("sign_in", MINUTE, "NOT_AUTHORIZED"),
    confirm_sign_in: ("sign_in_confirm", MINUTE, "SESSION_EXPIRED"),
    reset: ("reset", HOUR, ""),
    confirm_reset: ("reset_confirm", HOUR, "CODE_EXPIRED"),
}


class Numbers:
    """Make each call about a name of its own, so that no limit of an account is met."""

    def __init__(self) -> None:
        self._last = 0

    async def passes(self, call: Call, service: Service, metadata: Metadata) -> None:
        """Assert that a call is not limited."""
        self._last += 1
        usual = LIMITED[call][2]
        if not usual:
            await call(service, metadata, self._last)
            return
        async with fails(usual):
            await call(service, metadata, self._last)

    async def is_limited(self, call: Call, service: Service, metadata: Metadata) -> timedelta:
        """Assert that a call is limited; return the wait that it tells."""
        self._last += 1
        async with fails("LIMIT_EXCEEDED") as failures:
            await call(service, metadata, self._last)
        assert failures[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failures[0].retry_after is not None
        return failures[0].retry_after


@pytest.fixture
def numbers() -> Numbers:
    """Begin to number names."""
    return Numbers()


@pytest.mark.parametrize("call", LIMITED, ids=lambda call: call.__name__)
async def test_limit_of_a_source(run: Run, numbers: Numbers, call: Call) -> None:
    """A source has so many calls in a window that begins with its first; RetryInfo is the end of the window."""
    name, window, _ = LIMITED[call]
    trust = {"trusted_callers": "127.0.0.0/8"}
    async with run(limits={f"{name}_per_source": 3}, server=trust) as service:
        await numbers.passes(call, service, ADA)
        service.clock.advance(window / 3)
        await numbers.passes(call, service, ADA)
        await numbers.passes(call, service, ADA)
        rest = window * 2 / 3
        for _ in range(3):
            wait = await numbers.is_limited(call, service, ADA)
            assert rest <= wait <= rest + timedelta(milliseconds=2)
        await numbers.passes(call, service, BOB)
        service.clock.advance(rest - TICK)
        await numbers.is_limited(call, service, ADA)
        service.clock.advance(TICK)
        for _ in range(3):
            await numbers.passes(call, service, ADA)
        await numbers.is_limited(call, service, ADA)


# A session that does not exist spends nothing of what is there for all: see tests/abuse.
@pytest.mark.parametrize(
    "call", [call for call in LIMITED if call is not confirm_sign_in], ids=lambda call: call.__name__
)
async def test_limit_in_all(run: Run, numbers: Numbers, call: Call) -> None:
    """All sources together have so many calls in a window."""
    name, window, _ = LIMITED[call]
    async with run(limits={f"{name}_global": 3}, server={"trusted_callers": "127.0.0.0/8"}) as service:
        for number in range(3):
            await numbers.passes(call, service, source(f"192.0.2.{number}"))
        wait = await numbers.is_limited(call, service, source("192.0.2.99"))
        assert window <= wait <= window + timedelta(milliseconds=2)
        service.clock.advance(window - TICK)
        await numbers.is_limited(call, service, source("192.0.2.99"))
        service.clock.advance(TICK)
        await numbers.passes(call, service, source("192.0.2.99"))


@pytest.mark.parametrize("call", [sign_up, resend, sign_in, reset], ids=lambda call: call.__name__)
async def test_a_limited_source_takes_nothing_from_others(run: Run, numbers: Numbers, call: Call) -> None:
    """Calls that are refused to one source are not counted against all: one source can't shut the others out."""
    name, _, _ = LIMITED[call]
    limits = {f"{name}_per_source": 2, f"{name}_global": 5}
    async with run(limits=limits, server={"trusted_callers": "127.0.0.0/8"}) as service:
        for _ in range(2):
            await numbers.passes(call, service, ADA)
        for _ in range(10):
            await numbers.is_limited(call, service, ADA)
        await numbers.passes(call, service, BOB)


# What callers may send without a token, with nothing in it, and the setting that limits it.
EMPTY: dict[str, tuple[str, Any]] = {
    "SignUp": ("sign_up", pb.SignUpRequest()),
    "ConfirmSignUp": ("sign_up_confirm", pb.ConfirmSignUpRequest()),
    "ResendSignUpCode": ("resend", pb.ResendSignUpCodeRequest()),
    "SignIn": ("sign_in", pb.SignInRequest()),
    "ConfirmSignIn": ("sign_in_confirm", pb.ConfirmSignInRequest()),
    "ResendSignInCode": ("resend", pb.ResendSignInCodeRequest()),
    "ResetPassword": ("reset", pb.ResetPasswordRequest()),
    "ConfirmResetPassword": ("reset_confirm", pb.ConfirmResetPasswordRequest()),
}


@pytest.mark.parametrize("method", EMPTY)
async def test_call_is_counted_before_it_is_read(run: Run, method: str) -> None:
    """A call that breaks rules counts as any other, and beyond the limit nobody is told which it breaks."""
    name, request = EMPTY[method]
    async with run(limits={f"{name}_per_source": 1}) as service:
        call = getattr(service.stub, method)
        async with fails("INVALID_FIELDS"):
            await call(request)
        async with fails("LIMIT_EXCEEDED"):
            await call(request)


NAMED: dict[str, Any] = {
    "ConfirmSignUp": pb.ConfirmSignUpRequest(username="ada@example.com", confirmation_code="123456"),
    "ResendSignUpCode": pb.ResendSignUpCodeRequest(username="ada@example.com"),
    "SignIn": pb.SignInRequest(username="ada@example.com", password=PASSWORD),
    "ResetPassword": pb.ResetPasswordRequest(username="ada@example.com"),
    "ConfirmResetPassword": pb.ConfirmResetPasswordRequest(
        username="ada@example.com", confirmation_code="12345678", new_password=NEW_PASSWORD
    ),
}


@pytest.mark.parametrize("method", NAMED)
async def test_nobody_is_looked_for_beyond_the_limit(run: Run, database: Database, method: str) -> None:
    """Whom an address stands for is asked after the call was counted: a flood costs no look at accounts."""
    name, empty = EMPTY[method]
    async with run(limits={f"{name}_per_source": 1}, accounts={"sign_in_by_email": True}) as service:
        call = getattr(service.stub, method)
        async with fails("INVALID_FIELDS"):
            await call(empty)
        async with database.transaction() as transaction:
            await transaction.execute("lock table users in access exclusive mode")
            async with fails("LIMIT_EXCEEDED"):
                await call(NAMED[method])


@pytest.fixture
async def few_sign_ins(run: Run) -> AsyncIterator[Service]:
    """Run a service that lets each source sign in twice a minute, and believes callers of this machine."""
    trust = {"trusted_callers": "127.0.0.0/8"}
    async with run(limits={"sign_in_per_source": 2}, server=trust, accounts={"mfa": "OFF"}) as service:
        yield service


async def test_success_clears_no_source(few_sign_ins: Service, numbers: Numbers) -> None:
    """A successful sign-in does not give its source more tries at others."""
    service = few_sign_ins
    await service.confirmed("ada")
    request = pb.SignInRequest(username="ada", password=PASSWORD)
    await numbers.passes(sign_in, service, ADA)
    assert step_of(await service.stub.SignIn(request, metadata=ADA)) == "DONE"
    await numbers.is_limited(sign_in, service, ADA)


async def test_ipv6_is_limited_by_its_64(few_sign_ins: Service, numbers: Numbers) -> None:
    """IPv6 addresses of one /64 are one source; of another they are another."""
    await numbers.passes(sign_in, few_sign_ins, source("2001:db8:0:1::1"))
    await numbers.passes(sign_in, few_sign_ins, source("2001:db8:0:1:ffff:ffff:ffff:ffff"))
    await numbers.is_limited(sign_in, few_sign_ins, source("2001:db8:0:1:1234::5"))
    await numbers.passes(sign_in, few_sign_ins, source("2001:db8:0:2::1"))


async def test_ipv4_in_ipv6_is_ipv4(few_sign_ins: Service, numbers: Numbers) -> None:
    """An IPv4 address written as an IPv6 one is the same source, and does not share it with all of IPv4."""
    await numbers.passes(sign_in, few_sign_ins, source("::ffff:192.0.2.1"))
    await numbers.passes(sign_in, few_sign_ins, source("192.0.2.1"))
    await numbers.is_limited(sign_in, few_sign_ins, source("::ffff:c000:201"))
    await numbers.passes(sign_in, few_sign_ins, source("::ffff:192.0.2.2"))


async def test_untrusted_caller_is_limited_by_its_own_address(run: Run, numbers: Numbers) -> None:
    """Who is not trusted can't escape a limit by telling addresses, in whatever header."""
    async with run(limits={"sign_in_per_source": 2}) as service:
        await numbers.passes(sign_in, service, ADA)
        await numbers.passes(sign_in, service, [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")])
        await numbers.is_limited(sign_in, service, BOB)


async def test_forwarded_headers_of_trusted_callers_mean_nothing(few_sign_ins: Service, numbers: Numbers) -> None:
    """Even a trusted caller's x-forwarded-for is not read."""
    for number in range(2):
        await numbers.passes(sign_in, few_sign_ins, [*ADA, ("x-forwarded-for", f"192.0.2.{number + 50}")])
    await numbers.is_limited(sign_in, few_sign_ins, [*ADA, ("x-forwarded-for", "192.0.2.99")])


async def test_signed_in_users_are_not_limited(few_sign_ins: Service, numbers: Numbers) -> None:
    """Limits of sign-ins don't touch tokens that are there already."""
    service = few_sign_ins
    await service.confirmed("ada")
    done = await service.stub.SignIn(pb.SignInRequest(username="ada", password=PASSWORD), metadata=ADA)
    await numbers.passes(sign_in, service, ADA)
    await numbers.is_limited(sign_in, service, ADA)
    metadata = [*ADA, ("authorization", f"Bearer {done.tokens.access_token}")]
    for _ in range(5):
        assert (await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=metadata)).is_signed_in
    refreshed = await service.stub.RefreshSession(
        pb.RefreshSessionRequest(refresh_token=done.tokens.refresh_token), metadata=ADA
    )
    assert refreshed.tokens.access_token


async def test_limited_call_is_not_evaluated(run: Run) -> None:
    """A call beyond the limit of its source does not use up a try at a code or a session."""
    async with run(limits={"sign_in_confirm_per_source": 2}) as service:
        account = await service.enrolled("ada")
        service.clock.advance(MINUTE)
        started = await service.sign_in("ada")
        for _ in range(2):
            async with fails("CODE_MISMATCH"):
                await answer(service, started.session, "1234567")
        for _ in range(5):
            async with fails("LIMIT_EXCEEDED"):
                await answer(service, started.session, "1234567")
        service.clock.advance(MINUTE)
        assert step_of(await answer(service, started.session, service.totp(account.secret))) == "DONE"
