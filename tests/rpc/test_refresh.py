"""Refresh tokens: rotated at every use, forgiving for half a minute, then a trap."""

from __future__ import annotations

import base64
from datetime import UTC, timedelta

import grpc
import pytest

from authsvc.core.janitor import Janitor
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from tests.clock import TICK
from tests.rpc.calls import confirm_reset, is_live, recipients, refresh, reset_code, settle, sign_out, update
from tests.service import PASSWORD, Account, Service, fails

GRACE = timedelta(seconds=30)
REUSED = "You were signed out for safety"


@pytest.fixture
async def account(service: Service) -> Account:
    """Make an account that is signed in."""
    return await service.enrolled("ada")


async def test_every_use_gives_a_new_token(service: Service, account: Account, database: Database) -> None:
    """Each refresh gives another opaque token of 256 bits; the database has digests alone."""
    tokens = [account.tokens.refresh_token]
    for _ in range(4):
        service.clock.advance(timedelta(minutes=1))
        tokens.append((await refresh(service, tokens[-1])).refresh_token)
    assert len(set(tokens)) == 5
    rows = await database.fetch("select digest, coalesce(sealed_successor, '') as sealed from refresh_tokens")
    stored = b"".join(bytes(row["digest"]) + bytes(row["sealed"]) for row in rows)
    for token in tokens:
        raw = base64.urlsafe_b64decode(token + "=")
        assert len(raw) == 32
        assert raw not in stored
        assert token.encode() not in stored


@pytest.mark.parametrize("late", [timedelta(), GRACE - TICK], ids=["at once", "a tick before the end"])
async def test_lost_answer_can_be_asked_for_again(service: Service, account: Account, late: timedelta) -> None:
    """For 30 seconds a repeat with the same token gives the same successor, which works."""
    first = await refresh(service, account.tokens.refresh_token)
    service.clock.advance(late)
    for _ in range(2):
        again = await refresh(service, account.tokens.refresh_token)
        assert again.refresh_token == first.refresh_token
        assert await is_live(service, again)
    assert await is_live(service, await refresh(service, first.refresh_token))


async def test_repeat_after_the_successor_was_used(service: Service, account: Account) -> None:
    """Within the grace a late repeat still gives the same successor, and the successor its own."""
    second = await refresh(service, account.tokens.refresh_token)
    third = await refresh(service, second.refresh_token)
    late = await refresh(service, account.tokens.refresh_token)
    assert late.refresh_token == second.refresh_token
    assert (await refresh(service, late.refresh_token)).refresh_token == third.refresh_token


@pytest.mark.parametrize("late", [GRACE, GRACE + TICK, timedelta(days=20)], ids=["at", "a tick after", "days after"])
async def test_reuse_ends_the_session_and_tells_the_user(
    service: Service, account: Account, database: Database, late: timedelta
) -> None:
    """A token that is used again after its grace ends its session, all tokens of it, and the user is told by mail."""
    mails = await settle(service, database)
    successor = await refresh(service, account.tokens.refresh_token)
    service.clock.advance(late)
    async with fails("REFRESH_TOKEN_REUSED") as failures:
        await refresh(service, account.tokens.refresh_token)
    assert failures[0].code is grpc.StatusCode.UNAUTHENTICATED
    assert failures[0].retry_after is None
    assert not await is_live(service, successor)
    for token in (successor.refresh_token, account.tokens.refresh_token):
        async with fails("TOKEN_REVOKED"):
            await refresh(service, token)
    arrived = (await settle(service, database))[len(mails) :]
    assert [mail["Subject"] for mail in arrived] == [REUSED]
    assert recipients(arrived) == ["ada@example.com"]


async def test_reuse_is_noticed_after_the_janitor(
    service: Service, account: Account, database: Database, ring: KeyRing
) -> None:
    """Tidying up wipes successors that can't be asked for any more; a reuse is noticed all the same."""
    successor = await refresh(service, account.tokens.refresh_token)
    service.clock.advance(GRACE - TICK)
    janitor = Janitor(database=database, ring=ring, settings=service.settings, clock=service.clock)
    await janitor.run_once()
    assert (await refresh(service, account.tokens.refresh_token)).refresh_token == successor.refresh_token
    service.clock.advance(TICK)
    await janitor.run_once()
    assert await database.fetchval("select count(*) from refresh_tokens where sealed_successor is not null") == 0
    async with fails("REFRESH_TOKEN_REUSED"):
        await refresh(service, account.tokens.refresh_token)


async def test_reuse_of_any_ancestor(service: Service, account: Account) -> None:
    """The oldest token of a session is as good a trap as the last one."""
    tokens = account.tokens
    for _ in range(3):
        service.clock.advance(timedelta(hours=1))
        tokens = await refresh(service, tokens.refresh_token)
    async with fails("REFRESH_TOKEN_REUSED"):
        await refresh(service, account.tokens.refresh_token)
    assert not await is_live(service, tokens)


async def test_reuse_ends_one_session_alone(service: Service, account: Account) -> None:
    """The user's other sessions go on."""
    other = await service.sign_in_fully(account)
    await refresh(service, account.tokens.refresh_token)
    service.clock.advance(timedelta(minutes=1))
    async with fails("REFRESH_TOKEN_REUSED"):
        await refresh(service, account.tokens.refresh_token)
    assert await is_live(service, other)
    assert await is_live(service, await refresh(service, other.refresh_token))


async def test_grace_is_over_with_the_session(service: Service, account: Account) -> None:
    """Within the grace too a token of an ended session gives nothing."""
    successor = await refresh(service, account.tokens.refresh_token)
    await sign_out(service, successor)
    async with fails("TOKEN_REVOKED"):
        await refresh(service, account.tokens.refresh_token)


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
async def test_disabled_account(service: Service, account: Account, database: Database, used: bool) -> None:
    """A disabled account refreshes nothing, and goes on when it is enabled."""
    if used:
        await refresh(service, account.tokens.refresh_token)
    await database.execute("update users set disabled_at = created_at")
    async with fails("USER_DISABLED") as failures:
        await refresh(service, account.tokens.refresh_token)
    assert failures[0].code is grpc.StatusCode.PERMISSION_DENIED
    await database.execute("update users set disabled_at = null")
    assert await is_live(service, await refresh(service, account.tokens.refresh_token))


@pytest.mark.parametrize("token", ["nonsense", "A" * 43, "\u00e9"])
async def test_tokens_that_were_never_issued(service: Service, token: str) -> None:
    """A made-up token is invalid."""
    async with fails("TOKEN_INVALID") as failures:
        await refresh(service, token)
    assert failures[0].code is grpc.StatusCode.UNAUTHENTICATED


async def test_other_tokens_refresh_nothing(service: Service, account: Account) -> None:
    """An access or ID token is no refresh token."""
    for token in (account.tokens.access_token, account.tokens.id_token):
        async with fails("INVALID_FIELDS") as failures:
            await refresh(service, token)
        assert failures[0].violations == [("refresh_token", "LENGTH")]
    async with fails("INVALID_FIELDS") as failures:
        await refresh(service, "")
    assert failures[0].violations == [("refresh_token", "REQUIRED")]


async def test_access_tokens_of_before_go_on(service: Service, account: Account) -> None:
    """A refresh does not end the access token that was in use."""
    await refresh(service, account.tokens.refresh_token)
    assert await is_live(service, account.tokens)


async def test_password_changes(service: Service, account: Account) -> None:
    """An update ends the refresh tokens of other sessions, a reset those of all."""
    other = await service.sign_in_fully(account)
    renewed = await update(service, other, PASSWORD)
    async with fails("TOKEN_REVOKED"):
        await refresh(service, account.tokens.refresh_token)
    other = await refresh(service, renewed.refresh_token)
    await confirm_reset(service, "ada", await reset_code(service, account), "Another-5-lemons-tree")
    async with fails("TOKEN_REVOKED"):
        await refresh(service, other.refresh_token)


async def test_access_token_ends_with_its_session(service: Service, account: Account) -> None:
    """An access token issued shortly before the session's end names that end, for those who verify it themselves."""
    service.clock.advance(service.settings.tokens.refresh_ttl - timedelta(minutes=2))
    tokens = await refresh(service, account.tokens.refresh_token)
    left = tokens.access_token_expires_at.ToDatetime(UTC) - service.clock.now()
    assert timedelta(minutes=2) - timedelta(seconds=1) < left <= timedelta(minutes=2)
