"""The connection to a challenge hook in another process: deadlines, absences, proxies, mutual TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from authsvc.clock import monotonic
from authsvc.core.factors.custom_hook import ChallengeState, CustomChallenge, Verdict
from authsvc.domain import User
from authsvc.errors import HookUnavailable
from authsvc.store.db import Database
from tests.cli.certificates import Issued, issue
from tests.hooks.conftest import CALLER, TIMEOUT, Challenging, begun, user_named
from tests.hooks.process import HookProcess
from tests.processes import free_port


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
            await custom.answer(second, state, "1", caller=CALLER)
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
                await custom.answer(user, state, "1", caller=CALLER)
            hook.start()
            await within(5, custom, user)
            assert isinstance(await custom.answer(user, state, "1", caller=CALLER), ChallengeState)


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
        assert await custom.answer(user, await begun(custom, user), "2", caller=CALLER) is Verdict.WRONG


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
