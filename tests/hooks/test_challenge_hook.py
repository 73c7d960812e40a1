"""The rules that a challenge hook is held to, against one in another process."""

from __future__ import annotations

import json

import grpc
import pytest
from structlog.testing import capture_logs

from authsvc.core.factors.custom_hook import ChallengeState, CustomChallenge, Parameters, Verdict
from authsvc.errors import HookUnavailable, NotAuthorized
from authsvc.store.db import Database
from tests.hooks.conftest import CALLER, MOST_ROUNDS, begun, user_named
from tests.hooks.scripted import SECRET_TEXT


async def test_rounds_end_in_passed(custom: CustomChallenge, database: Database) -> None:
    """Each right answer leads to the next challenge, and the last one passes."""
    user = await user_named(database, "ada")
    first = await begun(custom, user)
    assert first == ChallengeState((), Parameters({"question": "round 1?"}, {"answer": "1"}))
    second = await custom.answer(user, first, "1", caller=CALLER)
    assert second == ChallengeState((first.asked,), Parameters({"question": "round 2?"}, {"answer": "2"}))
    assert await custom.answer(user, second, "2", caller=CALLER) is Verdict.PASSED


async def test_wrong_answer_leads_nowhere(custom: CustomChallenge, database: Database) -> None:
    """A wrong answer, also one that was right in the round before, is wrong; the right one still works after it."""
    user = await user_named(database, "ada")
    first = await begun(custom, user)
    assert await custom.answer(user, first, "2", caller=CALLER) is Verdict.WRONG
    second = await custom.answer(user, first, "1", caller=CALLER)
    assert isinstance(second, ChallengeState)
    assert await custom.answer(user, second, "1", caller=CALLER) is Verdict.WRONG
    assert await custom.answer(user, second, "2", caller=CALLER) is Verdict.PASSED


async def test_hook_hears_who_signs_in_and_what_was_answered(custom: CustomChallenge, database: Database) -> None:
    """A hook hears of the user, the caller, the round, and the former challenges with both kinds of parameters."""
    user = await user_named(database, "2-echo")
    first = await begun(custom, user)
    second = await custom.answer(user, first, "1", caller=CALLER)
    assert isinstance(second, ChallengeState)
    assert json.loads(second.asked.public["seen"])["context"] == {
        "userId": str(user.user_id),
        "username": "2-Echo",
        "attributes": {"email": "ada@example.com", "email_verified": "false"},
        "clientIp": "192.0.2.7",
        "clientUserAgent": "app/1",
        "requestId": "r-1",
        "round": 2,
        "answered": [{"publicParameters": {"question": "round 1?"}, "privateParameters": {"answer": "1"}}],
    }


async def test_hook_may_need_nothing(custom: CustomChallenge, database: Database) -> None:
    """A hook that says NOT_NEEDED before any challenge lets the sign-in go on."""
    assert await custom.begin(await user_named(database, "1-not_needed"), CALLER) is Verdict.NOT_NEEDED


@pytest.mark.parametrize("number", [1, 2])
async def test_hook_may_deny(custom: CustomChallenge, database: Database, number: int) -> None:
    """A denied sign-in is told like a wrong password, in any round."""
    user = await user_named(database, f"{number}-denied")
    with pytest.raises(NotAuthorized):
        await custom.answer(user, await begun(custom, user), "1", caller=CALLER)


@pytest.mark.parametrize("act", ["most_parameters", "most_bytes"])
async def test_challenges_may_be_as_large_as_they_may(custom: CustomChallenge, database: Database, act: str) -> None:
    """Twenty parameters, and 4096 bytes, are taken."""
    state = await begun(custom, await user_named(database, f"1-{act}"))
    assert state.asked.public


LIES = (
    "unspecified",
    "unknown",
    "empty",
    "garbage",
    "not_utf8",
    "huge",
    "too_many_parameters",
    "too_many_bytes",
    "nameless",
    "control_public",
    "control_private",
    "control_name",
)


@pytest.mark.parametrize("name", [*(f"1-{act}" for act in (*LIES, "passed")), *(f"2-{act}" for act in LIES)])
async def test_a_lying_hook_signs_nobody_in(custom: CustomChallenge, database: Database, name: str) -> None:
    """What a hook must not answer is HOOK_UNAVAILABLE: in the first round, and after a right answer."""
    user = await user_named(database, name)
    with pytest.raises(HookUnavailable) as refused:
        await custom.answer(user, await begun(custom, user), "1", caller=CALLER)
    assert refused.value.retry_after


async def test_not_needed_after_a_challenge_is_a_lie(custom: CustomChallenge, database: Database) -> None:
    """A challenge that was asked can't be taken back."""
    user = await user_named(database, "2-not_needed")
    with pytest.raises(HookUnavailable):
        await custom.answer(user, await begun(custom, user), "1", caller=CALLER)


async def test_rounds_are_bounded(custom: CustomChallenge, database: Database) -> None:
    """A hook asks as many challenges as the setting says, and not one more."""
    user = await user_named(database, f"{MOST_ROUNDS + 1}-rounds")
    state = await begun(custom, user)
    for number in range(1, MOST_ROUNDS):
        following = await custom.answer(user, state, str(number), caller=CALLER)
        assert isinstance(following, ChallengeState)
        state = following
    with pytest.raises(HookUnavailable):
        await custom.answer(user, state, str(MOST_ROUNDS), caller=CALLER)


FAILING = [status.name.lower() for status in grpc.StatusCode if status is not grpc.StatusCode.OK]


@pytest.mark.parametrize("status", FAILING)
async def test_a_failing_hook_signs_nobody_in(custom: CustomChallenge, database: Database, status: str) -> None:
    """Whatever status a hook fails with, in either call, it is HOOK_UNAVAILABLE; its text gets nowhere."""
    first = await user_named(database, f"1-status-{status}")
    second = await user_named(database, f"verify-status-{status}")
    state = await begun(custom, second)
    with capture_logs() as logs:
        with pytest.raises(HookUnavailable) as failed:
            await custom.begin(first, CALLER)
        with pytest.raises(HookUnavailable):
            await custom.answer(second, state, "1", caller=CALLER)
    assert [entry["fault"] for entry in logs] == [status.upper()] * 2
    assert SECRET_TEXT not in f"{logs} {failed.value} {failed.value.metadata}"


@pytest.mark.parametrize("act", ["garbage", "huge"])
async def test_no_message_is_no_right_answer(custom: CustomChallenge, database: Database, act: str) -> None:
    """Bytes that are no valid VerifyChallengeResponse are HOOK_UNAVAILABLE."""
    user = await user_named(database, f"verify-{act}")
    state = await begun(custom, user)
    with pytest.raises(HookUnavailable):
        await custom.answer(user, state, "1", caller=CALLER)


async def test_an_empty_answer_is_a_wrong_one(custom: CustomChallenge, database: Database) -> None:
    """A VerifyChallengeResponse that says nothing says no."""
    user = await user_named(database, "verify-empty")
    assert await custom.answer(user, await begun(custom, user), "1", caller=CALLER) is Verdict.WRONG


async def test_state_opens_for_its_own_session_alone(custom: CustomChallenge, database: Database) -> None:
    """A sealed state comes back as it was, and is not readable without the keys."""
    state = await begun(custom, await user_named(database, "ada"))
    sealed = custom.seal(state, b"digest")
    assert custom.open(sealed, b"digest") == state
    assert b"round" not in sealed
