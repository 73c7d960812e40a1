"""The client of the challenge hook and the rules that it is held to, against hooks in other processes."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from authsvc.clock import monotonic
from authsvc.config import HooksSettings
from authsvc.core.caller import Caller
from authsvc.core.custom_challenge import ChallengeState, CustomChallenge, Parameters, Verdict
from authsvc.crypto.sealing import KeyRing
from authsvc.errors import HookUnavailable, NotAuthorized
from authsvc.rpc.challenge_hook import ChallengeHookClient
from authsvc.store import users
from authsvc.store.db import Database
from authsvc.store.users import User
from tests.cli.certificates import Issued, issue
from tests.clock import NOON
from tests.hooks.process import HookProcess
from tests.hooks.scripted import SECRET_TEXT
from tests.processes import free_port
from tests.store.rows import insert_user

CALLER = Caller(source="192.0.2.7", ip="192.0.2.7", user_agent="app/1", request_id="r-1")
TIMEOUT = timedelta(milliseconds=300)
MOST_ROUNDS = 3
Challenging = Callable[..., AbstractAsyncContextManager[CustomChallenge]]


@pytest.fixture(scope="module")
def hook() -> Iterator[HookProcess]:
    """Run a scripted hook."""
    with HookProcess() as running:
        yield running


@pytest.fixture
def challenging(ring: KeyRing) -> Challenging:
    """Return what asks the hook at a target, with some settings changed."""

    @asynccontextmanager
    async def asking(target: str, **changes: object) -> AsyncIterator[CustomChallenge]:
        values = {"challenge_target": target, "challenge_timeout": TIMEOUT, **changes}
        client = ChallengeHookClient(HooksSettings.model_validate(values))
        try:
            yield CustomChallenge(client, ring, MOST_ROUNDS)
        finally:
            await client.close()

    return asking


@pytest.fixture
async def custom(hook: HookProcess, challenging: Challenging) -> AsyncIterator[CustomChallenge]:
    """Ask the scripted hook, which has all the time that it needs."""
    async with challenging(hook.target, challenge_timeout=timedelta(seconds=10)) as asking:
        yield asking


async def user_named(database: Database, name: str) -> User:
    """Make an account; its name tells the scripted hook what to do."""
    await insert_user(database, name, now=NOON, email="ada@example.com")
    user = await users.find(database, username_key=name)
    assert user is not None
    return user


async def begun(custom: CustomChallenge, user: User) -> ChallengeState:
    """Begin and return the first challenge."""
    state = await custom.begin(user, CALLER)
    assert isinstance(state, ChallengeState)
    return state


async def test_rounds_end_in_passed(custom: CustomChallenge, database: Database) -> None:
    """Each right answer leads to the next challenge, and the last one passes."""
    user = await user_named(database, "ada")
    first = await begun(custom, user)
    assert first == ChallengeState((), Parameters({"question": "round 1?"}, {"answer": "1"}))
    second = await custom.answer(user, first, "1", CALLER)
    assert second == ChallengeState((first.asked,), Parameters({"question": "round 2?"}, {"answer": "2"}))
    assert await custom.answer(user, second, "2", CALLER) is Verdict.PASSED


async def test_wrong_answer_leads_nowhere(custom: CustomChallenge, database: Database) -> None:
    """A wrong answer, also one that was right in the round before, is wrong; the right one still works after it."""
    user = await user_named(database, "ada")
    first = await begun(custom, user)
    assert await custom.answer(user, first, "2", CALLER) is Verdict.WRONG
    second = await custom.answer(user, first, "1", CALLER)
    assert isinstance(second, ChallengeState)
    assert await custom.answer(user, second, "1", CALLER) is Verdict.WRONG
    assert await custom.answer(user, second, "2", CALLER) is Verdict.PASSED


async def test_hook_hears_who_signs_in_and_what_was_answered(custom: CustomChallenge, database: Database) -> None:
    """A hook hears of the user, the caller, the round, and the former challenges with both kinds of parameters."""
    user = await user_named(database, "2-echo")
    first = await begun(custom, user)
    second = await custom.answer(user, first, "1", CALLER)
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
        await custom.answer(user, await begun(custom, user), "1", CALLER)


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
        await custom.answer(user, await begun(custom, user), "1", CALLER)
    assert refused.value.retry_after


async def test_not_needed_after_a_challenge_is_a_lie(custom: CustomChallenge, database: Database) -> None:
    """A challenge that was asked can't be taken back."""
    user = await user_named(database, "2-not_needed")
    with pytest.raises(HookUnavailable):
        await custom.answer(user, await begun(custom, user), "1", CALLER)


async def test_rounds_are_bounded(custom: CustomChallenge, database: Database) -> None:
    """A hook asks as many challenges as the setting says, and not one more."""
    user = await user_named(database, "9-challenge")
    state = await begun(custom, user)
    asked = (Parameters({}, {"answer": "x"}),) * MOST_ROUNDS
    last = await custom.answer(user, ChallengeState(asked[: MOST_ROUNDS - 2], state.asked), "1", CALLER)
    assert isinstance(last, ChallengeState)
    assert len(last.answered) + 1 == MOST_ROUNDS
    with pytest.raises(HookUnavailable):
        await custom.answer(user, ChallengeState(asked[: MOST_ROUNDS - 1], state.asked), "1", CALLER)


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
            await custom.answer(second, state, "1", CALLER)
    assert [entry["fault"] for entry in logs] == [status.upper()] * 2
    assert SECRET_TEXT not in f"{logs} {failed.value} {failed.value.metadata}"


@pytest.mark.parametrize("act", ["garbage", "huge"])
async def test_no_message_is_no_right_answer(custom: CustomChallenge, database: Database, act: str) -> None:
    """Bytes that are no valid VerifyChallengeResponse are HOOK_UNAVAILABLE."""
    user = await user_named(database, f"verify-{act}")
    state = await begun(custom, user)
    with pytest.raises(HookUnavailable):
        await custom.answer(user, state, "1", CALLER)


async def test_an_empty_answer_is_a_wrong_one(custom: CustomChallenge, database: Database) -> None:
    """A VerifyChallengeResponse that says nothing says no."""
    user = await user_named(database, "verify-empty")
    assert await custom.answer(user, await begun(custom, user), "1", CALLER) is Verdict.WRONG


async def test_a_slow_hook_is_not_waited_for(hook: HookProcess, challenging: Challenging, database: Database) -> None:
    """Each call ends at its deadline."""
    async with challenging(hook.target) as custom:
        first = await user_named(database, "1-slow")
        second = await user_named(database, "verify-slow")
        state = await begun(custom, second)
        started = monotonic()
        with pytest.raises(HookUnavailable):
            await custom.begin(first, CALLER)
        with pytest.raises(HookUnavailable):
            await custom.answer(second, state, "1", CALLER)
        assert TIMEOUT.total_seconds() * 2 <= monotonic() - started < 5


async def test_a_hook_that_is_away_is_told_at_once(challenging: Challenging, database: Database) -> None:
    """Without a hook a call does not wait for its deadline, and works soon after the hook is there."""
    user = await user_named(database, "ada")
    hook = HookProcess(port=free_port())
    async with challenging(hook.target, challenge_timeout=timedelta(seconds=10)) as custom:
        started = monotonic()
        for _ in range(3):
            with pytest.raises(HookUnavailable):
                await custom.begin(user, CALLER)
        assert monotonic() - started < 5
        with hook:
            await within(5, custom, user)


async def test_a_hook_may_be_restarted(challenging: Challenging, database: Database) -> None:
    """What a hook asked before it was killed is verified by the one that follows."""
    user = await user_named(database, "ada")
    with HookProcess() as hook:
        async with challenging(hook.target, challenge_timeout=timedelta(seconds=10)) as custom:
            state = await begun(custom, user)
            hook.kill()
            with pytest.raises(HookUnavailable):
                await custom.answer(user, state, "1", CALLER)
            hook.start()
            await within(5, custom, user)
            assert isinstance(await custom.answer(user, state, "1", CALLER), ChallengeState)


async def test_a_hook_that_hangs_is_used_again_when_it_runs(challenging: Challenging, database: Database) -> None:
    """A stopped process costs the deadline of each call, and nothing once it goes on."""
    user = await user_named(database, "ada")
    with HookProcess() as hook:
        async with challenging(hook.target) as custom:
            await within(5, custom, user)
            hook.pause()
            with pytest.raises(HookUnavailable):
                await custom.begin(user, CALLER)
            hook.go_on()
            await within(5, custom, user)


async def within(seconds: float, custom: CustomChallenge, user: User) -> None:
    """Begin again and again until it works."""
    deadline = monotonic() + seconds
    while True:
        try:
            await begun(custom, user)
        except HookUnavailable:
            assert monotonic() < deadline
        else:
            return


async def test_no_proxy_is_asked(
    hook: HookProcess, challenging: Challenging, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies of the environment hear nothing: a call holds what only the hook may know."""
    user = await user_named(database, "ada")
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        proxy.setblocking(False)
        for name in ("grpc_proxy", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        async with challenging(hook.target.replace("127.0.0.1", "localhost")) as custom:
            await begun(custom, user)
        with pytest.raises(BlockingIOError):
            proxy.accept()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Issued]:
    """Make an authority with a server and a client, and another one with a client."""
    folder = tmp_path_factory.mktemp("certificates")
    ca, stranger = issue(folder / "ca"), issue(folder / "stranger")
    return {
        "ca": ca,
        "stranger": stranger,
        "server": issue(folder / "server", "localhost", issuer=ca),
        "client": issue(folder / "client", "authsvc.example", issuer=ca),
        "strange_client": issue(folder / "strange_client", "authsvc.example", issuer=stranger),
    }


@pytest.fixture(scope="module")
def tls_hook(certificates: dict[str, Issued]) -> Iterator[HookProcess]:
    """Run a hook that asks its clients for a certificate."""
    server, ca = certificates["server"], certificates["ca"]
    files = (str(server.certificate_file), str(server.key_file), str(ca.certificate_file))
    with HookProcess(arguments=files) as running:
        yield running


def tls_settings(ca: Issued, client: Issued | None) -> dict[str, Path]:
    """Return the settings of a client."""
    files = {"challenge_tls_ca_file": ca.certificate_file}
    if client:
        files["challenge_tls_certificate_file"] = client.certificate_file
        files["challenge_tls_key_file"] = client.key_file
    return files


async def test_mutual_tls(
    tls_hook: HookProcess, challenging: Challenging, database: Database, certificates: dict[str, Issued]
) -> None:
    """With a certificate of an authority that the hook trusts, the hook answers."""
    user = await user_named(database, "ada")
    files = tls_settings(certificates["ca"], certificates["client"])
    async with challenging(f"localhost:{tls_hook.port}", challenge_timeout=timedelta(seconds=10), **files) as custom:
        assert await custom.answer(user, await begun(custom, user), "2", CALLER) is Verdict.WRONG


@pytest.mark.parametrize(
    ("host", "ca", "client"),
    [
        pytest.param("localhost", "stranger", "client", id="its authority is not trusted"),
        pytest.param("127.0.0.1", "ca", "client", id="its certificate is for another name"),
        pytest.param("localhost", "ca", None, id="it is shown no certificate"),
        pytest.param("localhost", "ca", "strange_client", id="it does not trust the certificate it is shown"),
        pytest.param("localhost", None, None, id="it is called without TLS"),
    ],
)
async def test_a_hook_is_not_called_in_spite_of_tls(
    tls_hook: HookProcess,
    challenging: Challenging,
    database: Database,
    certificates: dict[str, Issued],
    host: str,
    ca: str | None,
    client: str | None,
) -> None:
    """A hook is not called if either side can't prove who it is."""
    user = await user_named(database, "ada")
    files = tls_settings(certificates[ca], certificates[client] if client else None) if ca else {}
    async with challenging(f"{host}:{tls_hook.port}", **files) as custom:
        with pytest.raises(HookUnavailable):
            await custom.begin(user, CALLER)


async def test_state_opens_for_its_own_session_alone(custom: CustomChallenge, database: Database) -> None:
    """A sealed state comes back as it was, and is not readable without the keys."""
    state = await begun(custom, await user_named(database, "ada"))
    sealed = custom.seal(state, b"digest")
    assert custom.open(sealed, b"digest") == state
    assert b"round" not in sealed
