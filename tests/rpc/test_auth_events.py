"""What users see of what happened to their accounts, and that every flow tells it."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from authsvc.core.audit.trail import AuditKind
from authsvc.core.audit.verify import verify
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as admin
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_event_pb2 import AuthEvent, AuthEventKind
from authsvc.v1.error_reason_pb2 import ErrorReason
from authsvc.v1.tokens_pb2 import Tokens
from tests.admin.operator import Operator
from tests.clock import TICK
from tests.rpc.calls import (
    NEW_PASSWORD,
    answer,
    associate,
    confirm,
    confirm_reset,
    recovery_codes,
    refresh,
    resend,
    reset,
    reset_code,
    sign_out,
    update,
    wrong,
    wrong_totp,
)
from tests.rpc.calls import (
    verify as verify_totp,
)
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Account, Service, bearer, fails

ADA = (
    ("authsvc-client-ip", "192.0.2.7"),
    ("authsvc-client-user-agent", "Lynx/2.8"),
    ("authsvc-request-id", "call-1"),
)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account with an authenticator, signed in."""
    return await service.enrolled("ada")


async def page(service: Service, tokens: Tokens, size: int = 100, token: str = "") -> pb.ListAuthEventsResponse:
    """Ask for a page of the user's events."""
    request = pb.ListAuthEventsRequest(page_size=size, page_token=token)
    return await service.stub.ListAuthEvents(request, metadata=bearer(tokens))


async def told(service: Service, tokens: Tokens, count: int) -> list[str]:
    """Return the latest events, oldest first, each as its kind and what it was refused for."""
    return [line(event) for event in reversed((await page(service, tokens, count)).events)]


def line(event: AuthEvent) -> str:
    """Return an event in a few words."""
    kind = AuthEventKind.Name(event.kind).removeprefix("AUTH_EVENT_KIND_")
    reason = ErrorReason.Name(event.reason).removeprefix("ERROR_REASON_")
    return kind if reason == "UNSPECIFIED" else f"{kind} {reason}"


async def test_every_kind_is_in_the_proto() -> None:
    """Callers are told of every kind of event that is recorded, by its name."""
    named = {name.removeprefix("AUTH_EVENT_KIND_") for name in AuthEventKind.keys()}  # noqa: SIM118  # no dict
    assert named == {*AuditKind, "UNSPECIFIED"}


async def test_event_tells_who_when_from_where(run: Run) -> None:
    """An event has user, time, session, request id, address, agent and result of the call that it is of."""
    async with run(server={"trusted_callers": "127.0.0.0/8"}, accounts={"mfa": "OFF"}) as service:
        made = await service.confirmed("ada")
        service.clock.advance(timedelta(minutes=1))
        request = pb.SignInRequest(username="ada", password=PASSWORD)
        tokens = (await service.stub.SignIn(request, metadata=ADA)).tokens
        session = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=bearer(tokens))
        latest, *_ = (await page(service, tokens)).events
    assert latest.created_at.ToDatetime(UTC) == service.clock.now()
    assert (latest.user_id, latest.username, latest.actor) == (made.user_id, "ada", "user")
    assert (latest.client_ip, latest.client_user_agent) == ("192.0.2.7", "Lynx/2.8")
    assert (latest.request_id, latest.session_id) == ("call-1", session.session_id)
    assert dict(latest.details) == {"step": "DONE", "proved": "pwd"}
    assert line(latest) == "SIGN_IN"


async def test_way_to_an_account_is_told(service: Service) -> None:
    """Sign-up, codes asked for and wrong ones, confirmation, and every step of the first sign-in are told in order."""
    await service.sign_up("ada")
    code = await service.code("ada@example.com")
    async with fails("CODE_MISMATCH"):
        await confirm(service, "ada", wrong(code))
    before = service.catcher.last_number()
    await resend(service, "ada")
    async with fails("CODE_EXPIRED"):
        await confirm(service, "ada", code)
    await confirm(service, "ada", await service.code("ada@example.com", after=before))
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("ada", password="a wrong password")
    started = await service.sign_in("ada")
    secret = started.next_step.totp_setup.shared_secret
    async with fails("CODE_MISMATCH"):
        await answer(service, started.session, wrong_totp(service, secret))
    done = await answer(service, started.session, service.totp(secret))
    assert await told(service, done.tokens, 100) == [
        "SIGN_UP",
        "CONFIRM_SIGN_UP CODE_MISMATCH",
        "SEND_SIGN_UP_CODE",
        "CONFIRM_SIGN_UP CODE_EXPIRED",
        "CONFIRM_SIGN_UP",
        "SIGN_IN NOT_AUTHORIZED",
        "CONTINUE_SIGN_IN",
        "CONTINUE_SIGN_IN CODE_MISMATCH",
        "ADD_TOTP_DEVICE",
        "SIGN_IN",
    ]


async def test_second_factors_are_told(service: Service, account: Account) -> None:
    """A used-up code, a further authenticator, a wrong first code of it and new recovery codes are told."""
    started = await service.sign_in("ada")
    async with fails("CODE_ALREADY_USED"):
        await answer(service, started.session, service.totp(account.secret))
    pending = await associate(service, account.tokens)
    async with fails("CODE_MISMATCH"):
        await verify_totp(service, account.tokens, pending.session, wrong_totp(service, pending.shared_secret))
    await verify_totp(service, account.tokens, pending.session, service.totp(pending.shared_secret))
    codes = await recovery_codes(service, account.tokens)
    service.next_totp_step()
    started = await service.sign_in("ada")
    request = pb.ConfirmSignInRequest(session=started.session, recovery_code=codes[0])
    tokens = (await service.stub.ConfirmSignIn(request)).tokens
    assert await told(service, tokens, 8) == [
        "CONTINUE_SIGN_IN",
        "CONTINUE_SIGN_IN CODE_ALREADY_USED",
        "ADD_TOTP_DEVICE CODE_MISMATCH",
        "ADD_TOTP_DEVICE",
        "GENERATE_RECOVERY_CODES",
        "CONTINUE_SIGN_IN",
        "USE_RECOVERY_CODE",
        "SIGN_IN",
    ]


async def test_passwords_are_told(service: Service, account: Account) -> None:
    """Wrong and right changes and resets of the password are told."""
    async with fails("NOT_AUTHORIZED"):
        await update(service, account.tokens, "not my password")
    await update(service, account.tokens, PASSWORD)
    code = await reset_code(service, account)
    async with fails("CODE_MISMATCH"):
        await confirm_reset(service, "ada", wrong(code))
    await confirm_reset(service, "ada", code, PASSWORD)
    tokens = await service.sign_in_fully(account)
    assert await told(service, tokens, 7) == [
        "UPDATE_PASSWORD NOT_AUTHORIZED",
        "UPDATE_PASSWORD",
        "RESET_PASSWORD",
        "CONFIRM_RESET_PASSWORD CODE_MISMATCH",
        "CONFIRM_RESET_PASSWORD",
        "CONTINUE_SIGN_IN",
        "SIGN_IN",
    ]


async def test_ends_of_sessions_are_told(service: Service, account: Account) -> None:
    """Signing out, ending another session, and a refresh token used twice are told once each."""
    one, two, three = [await service.sign_in_fully(account) for _ in range(3)]
    await sign_out(service, one)
    request = pb.FetchAuthSessionRequest()
    session_id = (await service.stub.FetchAuthSession(request, metadata=bearer(two))).session_id
    for _ in range(2):
        await service.stub.RevokeSession(
            pb.RevokeSessionRequest(session_id=session_id), metadata=bearer(account.tokens)
        )
    await refresh(service, three.refresh_token)
    service.clock.advance(timedelta(seconds=31))
    for reason in ("REFRESH_TOKEN_REUSED", "TOKEN_REVOKED"):
        async with fails(reason):
            await refresh(service, three.refresh_token)
    events = (await page(service, account.tokens, 3)).events
    assert [line(event) for event in events] == [
        "REFRESH_TOKEN_REUSED REFRESH_TOKEN_REUSED",
        "REVOKE_SESSION",
        "SIGN_OUT",
    ]
    assert dict(events[1].details) == {"revoked_session_id": session_id}
    await sign_out(service, account.tokens, everywhere=True)
    tokens = await service.sign_in_fully(account)
    *_, ended = (await page(service, tokens, 3)).events
    assert (line(ended), dict(ended.details)) == ("SIGN_OUT", {"scope": "GLOBAL"})


async def test_disabled_account_is_told_of_after_the_password_proved_right(
    service: Service, account: Account, operator: Operator
) -> None:
    """A right password at a disabled account is a refusal with its own reason, seen once the account is enabled."""
    await operator.call("DisableUser", admin.DisableUserRequest(username="ada"))
    async with fails("USER_DISABLED"):
        await service.sign_in("ada")
    await operator.call("EnableUser", admin.EnableUserRequest(username="ada"))
    tokens = await service.sign_in_fully(account)
    events = ["SIGN_IN USER_DISABLED", "ADMIN_ENABLE_USER", "CONTINUE_SIGN_IN", "SIGN_IN"]
    assert await told(service, tokens, 4) == events


async def test_tries_beyond_a_limit_are_not_told(service: Service, account: Account) -> None:
    """While a lock holds nothing is evaluated, so nothing is recorded."""
    for reason in [*["NOT_AUTHORIZED"] * 5, *["LIMIT_EXCEEDED"] * 3]:
        async with fails(reason):
            await service.sign_in("ada", password="a wrong password")
    assert await told(service, account.tokens, 6) == ["SIGN_IN", *["SIGN_IN NOT_AUTHORIZED"] * 5]


async def test_names_that_do_not_exist_are_nobody_s_events(service: Service, database: Database) -> None:
    """Tries at a name that nobody has are recorded without user and without the name."""
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("eve")
    await reset(service, "eve")
    await resend(service, "eve")
    async with fails("CODE_MISMATCH"):
        await confirm_reset(service, "eve", "42424242")
    rows = await database.fetch("select kind, user_id, username from audit_events order by created_at, kind")
    assert sorted(tuple(row) for row in rows) == [
        ("CONFIRM_RESET_PASSWORD", None, ""),
        ("RESET_PASSWORD", None, ""),
        ("SEND_SIGN_UP_CODE", None, ""),
        ("SIGN_IN", None, ""),
    ]


async def test_users_see_their_own_events_alone(service: Service, account: Account) -> None:
    """Neither another user's events nor that user's page tokens are any good to a user."""
    bob = await service.enrolled("bob")
    events = (await page(service, account.tokens)).events
    assert {event.user_id for event in events} == {account.user_id}
    token = (await page(service, bob.tokens, 1)).next_page_token
    async with fails("INVALID_FIELDS") as seen:
        await page(service, account.tokens, 1, token)
    assert seen[0].violations == [("page_token", "PAGE_TOKEN")]


async def test_pages_stay_right_while_events_are_added(service: Service, account: Account) -> None:
    """Paging through gives each event once, also when new ones come in between."""
    whole = [event.event_id for event in (await page(service, account.tokens)).events]
    seen: list[str] = []
    token = ""
    while True:
        answered = await page(service, account.tokens, 2, token)
        seen += [event.event_id for event in answered.events]
        token = answered.next_page_token
        if not token:
            break
        await reset(service, "ada")
    assert seen == whole


async def test_users_see_ninety_days(run: Run) -> None:
    """What happened is told for ninety days, to the tick."""
    tokens = {"access_ttl": timedelta(hours=24)}
    async with run(accounts={"mfa": "OFF"}, tokens=tokens) as service:
        await service.confirmed("ada")
        service.clock.advance(timedelta(days=90))
        signed_in = (await service.sign_in("ada")).tokens
        assert await told(service, signed_in, 100) == ["SIGN_UP", "CONFIRM_SIGN_UP", "SIGN_IN"]
        service.clock.advance(TICK)
        assert await told(service, signed_in, 100) == ["SIGN_IN"]


async def test_trail_of_a_life_verifies(service: Service, account: Account, database: Database, ring: KeyRing) -> None:
    """All that the service itself records verifies."""
    await update(service, account.tokens, PASSWORD)
    async with fails("NOT_AUTHORIZED"):
        await service.sign_in("nobody")
    await service.sign_in("ada", password=NEW_PASSWORD)
    reports = [report async for report in verify(database, ring)]
    assert [fault for report in reports for fault in report.faults] == []
    assert sum(report.events for report in reports) > 6
