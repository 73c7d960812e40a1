"""Sessions of signed-in users: seen, listed, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest

from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.clock import TICK
from tests.rpc.calls import fetch, is_live, refresh, sign_out
from tests.rpc.conftest import Run
from tests.service import PASSWORD, Account, Service, bearer, fails

DAY = timedelta(days=1)


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account that is signed in."""
    return await service.enrolled("ada")


async def page(service: Service, tokens: Tokens, size: int = 0, token: str = "") -> pb.ListSessionsResponse:
    """List a page of the user's sessions."""
    request = pb.ListSessionsRequest(page_size=size, page_token=token)
    return await service.stub.ListSessions(request, metadata=bearer(tokens))


async def revoke(service: Service, tokens: Tokens, session_id: str) -> None:
    """End a session of the user."""
    await service.stub.RevokeSession(pb.RevokeSessionRequest(session_id=session_id), metadata=bearer(tokens))


async def session_id(service: Service, tokens: Tokens) -> str:
    """Return the id of the session that tokens belong to."""
    return (await fetch(service, tokens)).session_id


async def test_current_user(service: Service, account: Account) -> None:
    """GetCurrentUser tells id, name and status of the bearer."""
    user = await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=account.bearer)
    assert user == pb.GetCurrentUserResponse(
        user_id=account.user_id, username="ada", status=pb.UserStatus.USER_STATUS_CONFIRMED
    )


async def test_no_token_at_all(service: Service) -> None:
    """Without a token FetchAuthSession says that nobody is signed in; other calls of a bearer fail."""
    assert await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest()) == pb.FetchAuthSessionResponse()
    async with fails("TOKEN_INVALID") as failures:
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest())
    assert failures[0].code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Basic YWRhOmxvdmVsYWNl", "Bearer a.b.c", "Bearer two words", "x" * 5000]
)
async def test_headers_that_are_no_bearer(service: Service, authorization: str) -> None:
    """A header that carries no token of ours is no error for FetchAuthSession."""
    metadata = [("authorization", authorization)]
    seen = await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=metadata)
    assert seen == pb.FetchAuthSessionResponse()


async def test_scheme_is_case_insensitive(service: Service, account: Account) -> None:
    """The word Bearer may be written in any letter case (RFC 9110)."""
    metadata = [("authorization", f"bEARER  {account.tokens.access_token} ")]
    assert (await service.stub.FetchAuthSession(pb.FetchAuthSessionRequest(), metadata=metadata)).is_signed_in


async def test_sign_out(service: Service, account: Account) -> None:
    """SignOut ends this session at once, its refresh token too, and no other."""
    other = await service.sign_in_fully(account)
    await sign_out(service, account.tokens)
    assert not await is_live(service, account.tokens)
    assert await is_live(service, other)
    async with fails("TOKEN_REVOKED") as failures:
        await refresh(service, account.tokens.refresh_token)
    assert failures[0].code is grpc.StatusCode.UNAUTHENTICATED
    async with fails("TOKEN_REVOKED"):
        await sign_out(service, account.tokens)
    assert await is_live(service, await refresh(service, other.refresh_token))


async def test_sign_out_everywhere(service: Service, account: Account) -> None:
    """SignOut with global ends all of the user's sessions and nobody else's."""
    bob = await service.enrolled("bob")
    others = [await service.sign_in_fully(account) for _ in range(2)]
    await sign_out(service, others[0], everywhere=True)
    for tokens in (account.tokens, *others):
        assert not await is_live(service, tokens)
        async with fails("TOKEN_REVOKED"):
            await refresh(service, tokens.refresh_token)
    assert await is_live(service, bob.tokens)


async def test_disabling_is_seen_at_once(service: Service, account: Account, database: Database) -> None:
    """The tokens of a disabled account stand for nobody from that moment on, and again when it is enabled."""
    await database.execute("update users set disabled_at = created_at")
    assert not await is_live(service, account.tokens)
    async with fails("TOKEN_REVOKED"):
        await service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=account.bearer)
    await database.execute("update users set disabled_at = null")
    assert await is_live(service, account.tokens)


async def test_list_of_sessions(run: Run) -> None:
    """ListSessions tells of each live session when, from where and how it began, latest first."""
    caller = [("authsvc-client-ip", "192.0.2.7"), ("authsvc-client-user-agent", "Lynx/2.8")]
    async with run(server={"trusted_callers": "127.0.0.0/8"}, accounts={"mfa": "OFF"}) as service:
        await service.confirmed("ada")
        began = service.clock.now()
        request = pb.SignInRequest(username="ada", password=PASSWORD)
        first = (await service.stub.SignIn(request, metadata=caller)).tokens
        service.clock.advance(timedelta(hours=1))
        second = (await service.sign_in("ada")).tokens
        latest, earliest = (await page(service, second)).sessions

    assert latest.is_current
    assert (latest.client_ip, latest.client_user_agent) == ("", "")
    assert not earliest.is_current
    assert str(earliest.session_id) != latest.session_id
    assert (earliest.client_ip, earliest.client_user_agent) == ("192.0.2.7", "Lynx/2.8")
    assert list(earliest.amr) == ["pwd"]
    times = [stamp.ToDatetime(UTC) for stamp in (earliest.created_at, earliest.last_used_at, earliest.expires_at)]
    assert times == [began, began, began + 30 * DAY]
    assert first.access_token != second.access_token


async def test_refresh_is_a_use(run: Run) -> None:
    """A refresh notes when and from where, and does not prolong the session."""
    caller = [("authsvc-client-ip", "2001:db8::7"), ("authsvc-client-user-agent", "w" * 300)]
    async with run(server={"trusted_callers": "127.0.0.0/8"}) as service:
        account = await service.enrolled("ada")
        began = service.clock.now()
        service.clock.advance(timedelta(minutes=5))
        request = pb.RefreshSessionRequest(refresh_token=account.tokens.refresh_token)
        tokens = (await service.stub.RefreshSession(request, metadata=caller)).tokens
        (session,) = (await page(service, tokens)).sessions
    assert (session.client_ip, session.client_user_agent) == ("2001:db8::7", "w" * 256)
    times = [stamp.ToDatetime(UTC) for stamp in (session.created_at, session.last_used_at, session.expires_at)]
    assert times == [began, began + timedelta(minutes=5), began + 30 * DAY]


async def test_untrusted_callers_tell_no_address(service: Service, account: Account) -> None:
    """What a caller who is not trusted says of its user is not believed, nor its own address taken for the user's."""
    service.next_totp_step()
    caller = [("authsvc-client-ip", "192.0.2.7"), ("authsvc-client-user-agent", "Lynx"), ("x-forwarded-for", "::1")]
    request = pb.RefreshSessionRequest(refresh_token=account.tokens.refresh_token)
    await service.stub.RefreshSession(request, metadata=caller)
    (session,) = (await page(service, account.tokens)).sessions
    assert (session.client_ip, session.client_user_agent) == ("", "")


async def test_pages(service: Service, account: Account) -> None:
    """Pages follow each other without a gap or a repeat; the last one has no token."""
    tokens = [account.tokens, *[await service.sign_in_fully(account) for _ in range(4)]]
    expected = [await session_id(service, each) for each in reversed(tokens)]
    found: list[str] = []
    token, sizes = "", []
    while True:
        answer = await page(service, tokens[0], 2, token)
        sizes.append(len(answer.sessions))
        found += [session.session_id for session in answer.sessions]
        token = answer.next_page_token
        if not token:
            break
    assert (found, sizes) == (expected, [2, 2, 1])
    assert (await page(service, tokens[0], 5)).next_page_token == ""


async def test_pages_while_sessions_come_and_go(service: Service, account: Account) -> None:
    """A session that begins or ends between two pages moves none of the others."""
    tokens = [account.tokens, *[await service.sign_in_fully(account) for _ in range(3)]]
    first = await page(service, account.tokens, 2)
    await sign_out(service, tokens[-1])
    await service.sign_in_fully(account)
    rest = await page(service, account.tokens, 2, first.next_page_token)
    ids = [session.session_id for session in rest.sessions]
    assert ids == [await session_id(service, each) for each in (tokens[1], tokens[0])]


async def test_default_and_largest_page(service: Service, account: Account, database: Database) -> None:
    """A page has 50 sessions unless told, at most 100."""
    await database.execute(
        """
        insert into sessions (session_id, user_id, origin_jti, amr, auth_time, created_at, last_used_at, expires_at)
        select gen_random_uuid(), user_id, gen_random_uuid(), amr, auth_time, created_at - number * interval '1 s',
               last_used_at, expires_at
          from sessions, generate_series(1, 120) number
        """
    )
    assert len((await page(service, account.tokens)).sessions) == 50
    whole = await page(service, account.tokens, 100)
    assert len(whole.sessions) == 100
    assert len((await page(service, account.tokens, 100, whole.next_page_token)).sessions) == 21
    for size in (-1, 101):
        async with fails("INVALID_FIELDS") as failures:
            await page(service, account.tokens, size)
        assert failures[0].violations == [("page_size", "RANGE")]


async def test_page_token_is_of_one_user(service: Service, account: Account) -> None:
    """A page token of another user, or a made-up one, is a fault of the field."""
    await service.sign_in_fully(account)
    token = (await page(service, account.tokens, 1)).next_page_token
    eve = await service.enrolled("eve")
    altered = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
    for tokens, foreign in ((eve.tokens, token), (account.tokens, altered), (account.tokens, "\u00e9")):
        async with fails("INVALID_FIELDS") as failures:
            await page(service, tokens, 1, foreign)
        assert failures[0].violations == [("page_token", "PAGE_TOKEN")]


async def test_page_token_may_be_as_long_as_in_the_other_service(service: Service, account: Account) -> None:
    """A token of 2,048 characters is looked at, a longer one is not."""
    for length, rule in ((2048, "PAGE_TOKEN"), (2049, "LENGTH")):
        async with fails("INVALID_FIELDS") as failures:
            await page(service, account.tokens, 1, "x" * length)
        assert failures[0].violations == [("page_token", rule)]


async def test_revoke_another_session(service: Service, account: Account) -> None:
    """RevokeSession ends the named session of the user, at once and for good; a repeat is no error."""
    other = await service.sign_in_fully(account)
    named = await session_id(service, account.tokens)
    for _ in range(2):
        await revoke(service, other, named)
    assert not await is_live(service, account.tokens)
    async with fails("TOKEN_REVOKED"):
        await refresh(service, account.tokens.refresh_token)
    assert [session.session_id for session in (await page(service, other)).sessions] == [
        await session_id(service, other)
    ]


async def test_revoke_this_session(service: Service, account: Account) -> None:
    """A session may end itself."""
    await revoke(service, account.tokens, await session_id(service, account.tokens))
    assert not await is_live(service, account.tokens)


async def test_sessions_of_others_are_out_of_reach(service: Service, account: Account) -> None:
    """Nobody lists or ends another user's session; trying is answered like a session that is not there."""
    eve = await service.enrolled("eve")
    named = await session_id(service, account.tokens)
    await revoke(service, eve.tokens, named)
    await revoke(service, eve.tokens, str(uuid4()))
    assert await is_live(service, account.tokens)
    assert named not in [session.session_id for session in (await page(service, eve.tokens)).sessions]


@pytest.mark.parametrize("text", ["", "7", "not-a-uuid"])
async def test_session_ids_that_are_none(service: Service, account: Account, text: str) -> None:
    """What is no UUID is a fault of the field."""
    async with fails("INVALID_FIELDS") as failures:
        await revoke(service, account.tokens, text)
    assert [field for field, _ in failures[0].violations] == ["session_id"]


@pytest.mark.parametrize("early", [TICK, timedelta(), -TICK], ids=["a tick before", "at", "after"])
async def test_session_ends_thirty_days_after_its_sign_in(service: Service, account: Account, early: timedelta) -> None:
    """A session lives 30 days from its sign-in, however often it is refreshed; then its tokens and list entry end."""
    end = service.clock.now() + 30 * DAY
    service.clock.advance(29 * DAY)
    tokens = await refresh(service, account.tokens.refresh_token)
    service.clock.advance(DAY - timedelta(minutes=5))
    tokens = await refresh(service, tokens.refresh_token)
    watcher = await service.sign_in_fully(account)
    service.clock.advance(end - service.clock.now() - early)
    alive = early > timedelta()
    assert await is_live(service, tokens) is alive
    assert len((await page(service, watcher)).sessions) == 1 + alive
    if alive:
        await refresh(service, tokens.refresh_token)
        return
    for call in (
        service.stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=bearer(tokens)),
        service.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=tokens.refresh_token)),
    ):
        async with fails("TOKEN_EXPIRED") as failures:
            await call
        assert failures[0].code is grpc.StatusCode.UNAUTHENTICATED


async def test_auth_time_is_that_of_the_sign_in(service: Service, account: Account) -> None:
    """FetchAuthSession tells when the user proved themselves, not when tokens were last issued."""
    proved = service.clock.now()
    service.clock.advance(timedelta(hours=5))
    seen = await fetch(service, await refresh(service, account.tokens.refresh_token))
    assert seen.auth_time.ToDatetime(UTC) == proved
    expected = datetime.fromtimestamp(int(service.clock.now().timestamp()), UTC) + timedelta(minutes=15)
    assert seen.expires_at.ToDatetime(UTC) == expected
