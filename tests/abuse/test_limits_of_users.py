"""Whoever is signed in may call often, but not without end."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from authsvc.v1 import auth_service_pb2 as pb
from tests.client import at_once, reasons
from tests.clock import FakeClock
from tests.rpc.conftest import Run, run
from tests.service import Service, fails

__all__ = ["run"]

FEW = 10
# Waits are told in whole milliseconds, beyond their end.
ROUNDED = timedelta(milliseconds=1)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# Of those that change something, and of those that don't.
READS = ("FetchAuthSession", "GetCurrentUser", "ListSessions", "FetchUserAttributes", "ListAuthEvents")
CHANGES: dict[str, dict[str, Any]] = {
    "GenerateRecoveryCodes": {},
    "UpdateUserAttributes": {"attributes": {"nickname": "Ada"}},
    "DeleteUserAttributes": {"names": ["nickname"]},
    "AssociateTotp": {},
}


async def call(service: Service, method: str, metadata: list[tuple[str, str]], **fields: Any) -> Any:
    """Call a method by its name."""
    return await getattr(service.stub, method)(getattr(pb, f"{method}Request")(**fields), metadata=metadata)


@pytest.mark.parametrize("method", READS)
async def test_calls_of_one_session_are_bounded(run: Run, clock: FakeClock, method: str) -> None:
    """After so many calls within a minute a session waits for the next one's time; other users are asked for nothing.

    OWASP ASVS 5, 2.4.1: anti-automation controls are in place against excessive calls.
    """
    async with run(limits={"calls_per_session": FEW}) as service:
        user, other = await service.enrolled("ada"), await service.enrolled("bob")
        outcomes = await at_once(call(service, method, user.bearer) for _ in range(3 * FEW))
        assert Counter(reasons(outcomes)) == {"LIMIT_EXCEEDED": 2 * FEW}
        async with fails("LIMIT_EXCEEDED") as failed:
            await call(service, method, user.bearer)
        wait = failed[0].retry_after
        assert wait == MINUTE / FEW + ROUNDED
        await call(service, method, other.bearer)
        clock.advance(wait)
        await call(service, method, user.bearer)
        async with fails("LIMIT_EXCEEDED"):
            await call(service, method, user.bearer)


@pytest.mark.parametrize("method", CHANGES)
async def test_changes_of_one_session_are_bounded(run: Run, clock: FakeClock, method: str) -> None:
    """After so many changes within an hour a session changes nothing, and can still be ended; another one goes on.

    OWASP ASVS 5, 2.4.1.
    """
    async with run(limits={"changes_per_session": FEW, "changes_per_user": FEW + 1}) as service:
        user = await service.enrolled("ada")
        outcomes = await at_once(call(service, method, user.bearer, **CHANGES[method]) for _ in range(2 * FEW))
        assert Counter(reasons(outcomes))["LIMIT_EXCEEDED"] == FEW
        clock.advance(MINUTE)
        async with fails("LIMIT_EXCEEDED") as failed:
            await call(service, method, user.bearer, **CHANGES[method])
        assert failed[0].retry_after == HOUR - MINUTE + ROUNDED
        await call(service, "SignOut", user.bearer)


async def test_sessions_of_one_user_share_a_bound(run: Run, clock: FakeClock) -> None:
    """Whoever begins more sessions gets more calls, and more changes, up to the bound of the user. ASVS 5, 2.4.1."""
    async with run(limits={"changes_per_session": FEW, "changes_per_user": FEW + 1}) as service:
        user = await service.enrolled("ada")
        service.next_totp_step()
        started = await service.sign_in("ada")
        request = pb.ConfirmSignInRequest(session=started.session, totp_code=service.totp(user.secret))
        second = (await service.stub.ConfirmSignIn(request)).tokens
        await at_once(call(service, "GenerateRecoveryCodes", user.bearer) for _ in range(FEW))
        metadata = [("authorization", f"Bearer {second.access_token}")]
        await call(service, "GenerateRecoveryCodes", metadata)
        async with fails("LIMIT_EXCEEDED"):
            await call(service, "GenerateRecoveryCodes", metadata)


async def test_refreshes_are_bounded(run: Run) -> None:
    """A session is refreshed so often in an hour, and no more. OWASP ASVS 5, 2.4.1."""
    async with run(limits={"changes_per_session": FEW}) as service:
        tokens = (await service.enrolled("ada")).tokens
        for _ in range(FEW):
            tokens = (
                await service.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=tokens.refresh_token))
            ).tokens
        async with fails("LIMIT_EXCEEDED"):
            await service.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=tokens.refresh_token))
