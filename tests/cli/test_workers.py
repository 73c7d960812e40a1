"""`authsvc serve --workers`: several processes on one port, as one service."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import psutil
import pytest

from authsvc.cli.metrics import FOLDER_PREFIX, LOCK, new_folder
from authsvc.crypto.sealing import MasterKey
from authsvc.dev.catcher import MailCatcher
from authsvc.dev.mailbox import Mailbox
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.cli.command import authsvc
from tests.client import Client
from tests.processes import DEAR_HASHES, ServerProcess, environment, free_port, serving
from tests.waiting import PATIENCE, until

WORKERS = 2
# The odds that one of two workers gets none of so many connections are below one in a billion.
CONNECTIONS = 40


@pytest.fixture
async def catcher(tmp_path: Path) -> AsyncIterator[MailCatcher]:
    """Run a mail server that takes everything."""
    async with MailCatcher(folder=tmp_path / "mail") as running:
        yield running


@pytest.fixture
def settings(database_url: str, master_key: MasterKey, catcher: MailCatcher) -> dict[str, str]:
    """Make settings of a server with several workers."""
    changes = {"SERVER_WORKERS": str(WORKERS), "SERVER_METRICS_PORT": str(free_port())}
    return environment(database_url, master_key=master_key.line(), smtp_port=catcher.port, **changes)


@pytest.fixture
async def server(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Run a server with several workers."""
    running = ServerProcess(settings, tmp_path / "log")
    async with serving(running):
        yield running


@pytest.fixture
async def slow_server(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """Run a server with several workers whose hashes take long."""
    dear = {f"AUTHSVC_{name}": value for name, value in DEAR_HASHES.items()}
    running = ServerProcess(settings | dear, tmp_path / "log")
    async with serving(running):
        yield running


def workers_of(server: ServerProcess) -> list[psutil.Process]:
    """Return the processes that serve."""
    return psutil.Process(server.pid).children(recursive=True)


async def fetch_over_many_connections(server: ServerProcess) -> dict[int, int]:
    """Make a call over each of many connections; return how many of them each process has."""
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options)
            await stack.enter_async_context(channel)
            await AuthServiceStub(channel).FetchAuthSession(pb.FetchAuthSessionRequest(), timeout=PATIENCE)
        return {
            worker.pid: sum(
                connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == server.port
                for connection in worker.net_connections("tcp")
            )
            for worker in workers_of(server)
        }


async def begin_sign_ups(server: ServerProcess, mailbox: Mailbox, count: int) -> list[asyncio.Task[pb.SignUpResponse]]:
    """Start sign-ups over connections of their own, and return when the first is answered and most are not."""

    async def sign_up(number: int) -> pb.SignUpResponse:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            return await Client(AuthServiceStub(channel), mailbox).sign_up(f"user-{number}")

    calls = [asyncio.ensure_future(sign_up(number)) for number in range(count)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert sum(not call.done() for call in calls) > count // 2
    return calls


async def test_all_workers_answer_on_one_port(server: ServerProcess, settings: dict[str, str]) -> None:
    """As many processes as asked for share one port and tell their metrics as one; a second server is kept out."""
    connections = await fetch_over_many_connections(server)
    assert len(connections) == WORKERS
    assert all(count > 0 for count in connections.values()), connections
    # The health check of this test's own has a further connection.
    assert sum(connections.values()) == CONNECTIONS + 1
    assert f'authsvc_rpcs_total{{method="FetchAuthSession",reason="OK"}} {CONNECTIONS}.0' in await server.metrics()

    changes = {"AUTHSVC_SERVER_PORT": str(server.port), "AUTHSVC_SERVER_METRICS_PORT": "0"}
    second = authsvc("serve", settings=settings | changes)
    assert second.returncode == 1
    assert f"port {server.port} of 127.0.0.1 is taken" in second.stderr
    assert await server.health() == "SERVING"


async def test_a_killed_worker_is_replaced(server: ServerProcess) -> None:
    """After SIGKILL of a worker there is a new one that serves; what the dead one had counted stays counted."""
    await fetch_over_many_connections(server)
    before = workers_of(server)
    before[0].kill()

    async def is_replaced() -> bool:
        return len({worker.pid for worker in workers_of(server)} - {worker.pid for worker in before}) == 1

    await until(is_replaced)
    assert (await server.wait_for_event("worker died"))["pid"] == before[0].pid

    async def all_listen() -> bool:
        return all((await fetch_over_many_connections(server)).values())

    await until(all_listen)
    page = await server.metrics()
    counted = next(line for line in page.splitlines() if 'method="FetchAuthSession",reason="OK"' in line)
    assert float(counted.split()[-1]) >= 2 * CONNECTIONS


async def test_a_worker_that_dies_again_and_again_is_replaced_ever_later(server: ServerProcess) -> None:
    """The wait before a dead worker is replaced doubles, so that a fault that recurs doesn't use up the machine."""
    victim = workers_of(server)[0]
    for _ in range(3):
        others = {worker.pid for worker in workers_of(server)} - {victim.pid}
        victim.kill()
        successors: list[psutil.Process] = []

        async def has_come(others: set[int] = others | {victim.pid}, found: list[psutil.Process] = successors) -> bool:
            found[:] = [worker for worker in workers_of(server) if worker.pid not in others]
            return bool(found)

        await until(has_come)
        victim = successors[0]
    deaths = [line for line in server.log().splitlines() if '"worker died"' in line]
    waits = [line.partition('"replaced_in_seconds": ')[2].partition(",")[0] for line in deaths]
    assert waits == ["0.5", "1.0", "2.0"]


@pytest.mark.parametrize("everyone", [False, True], ids=["to the supervisor", "to every process"])
async def test_a_signal_ends_all_workers_once_their_calls_are_answered(
    slow_server: ServerProcess, tmp_path: Path, everyone: bool
) -> None:
    """After SIGTERM calls in flight are answered, then all processes end, and the command with 0.

    A service manager may send the signal to every process: nothing is cut off then, either.
    """
    workers = workers_of(slow_server)
    calls = await begin_sign_ups(slow_server, Mailbox(folder=tmp_path / "mail"), 24)
    for process in [psutil.Process(slow_server.pid), *(workers if everyone else [])]:
        process.send_signal(signal.SIGTERM)
    answers = await asyncio.gather(*calls)
    assert all(answer.user_id for answer in answers)
    assert await slow_server.wait() == 0
    assert not any(worker.is_running() for worker in workers)


async def test_a_second_signal_ends_all_workers_at_once(slow_server: ServerProcess, tmp_path: Path) -> None:
    """A second SIGTERM does not wait for the calls in flight."""
    workers = workers_of(slow_server)
    calls = await begin_sign_ups(slow_server, Mailbox(folder=tmp_path / "mail"), 24)
    slow_server.send(signal.SIGTERM)
    await slow_server.wait_for_event("draining")
    slow_server.send(signal.SIGTERM)
    assert await slow_server.wait() == -signal.SIGTERM
    await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE)
    assert not any(worker.is_running() for worker in workers)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert any(isinstance(answer, grpc.aio.AioRpcError) for answer in answers)


async def test_workers_end_with_a_killed_supervisor(slow_server: ServerProcess, tmp_path: Path) -> None:
    """After SIGKILL of the supervisor the workers answer the calls in flight and end; the port is free again."""
    workers = workers_of(slow_server)
    calls = await begin_sign_ups(slow_server, Mailbox(folder=tmp_path / "mail"), 24)
    slow_server.send(signal.SIGKILL)
    answers = await asyncio.gather(*calls)
    assert all(answer.user_id for answer in answers)
    # In a thread: the workers finish sending mail to the catcher, which is in this event loop.
    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE)
    assert not alive
    socket.create_server(("127.0.0.1", slow_server.port)).close()


def test_a_port_is_not_shared_with_strangers(settings: dict[str, str]) -> None:
    """A port that another program of the same user listens on is taken, even if that program would share it."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = str(stranger.getsockname()[1])
        done = authsvc("serve", settings=settings | {"AUTHSVC_SERVER_PORT": port})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: port {port} of 127.0.0.1 is taken by another program: stop that, or choose another by"
        " AUTHSVC_SERVER_PORT"
    )


def test_metrics_leave_nothing_behind(settings: dict[str, str], tmp_path: Path) -> None:
    """The files through which workers share their metrics are gone after an orderly end, even of a failed start."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = {"AUTHSVC_SERVER_METRICS_PORT": str(taken.getsockname()[1]), "TMPDIR": str(temporary)}
        done = authsvc("serve", settings=settings | metrics)
    assert done.returncode == 1
    assert "for metrics: Address already in use" in done.stderr
    assert not list(temporary.iterdir())
    assert time.monotonic() - begin < PATIENCE


async def test_a_killed_supervisor_leaves_no_metrics(settings: dict[str, str], tmp_path: Path) -> None:
    """After SIGKILL of the supervisor the last worker to end removes the files of the metrics."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    server = ServerProcess(settings | {"TMPDIR": str(temporary)}, tmp_path / "log")
    async with serving(server):
        workers = workers_of(server)
        assert [entry.name for entry in temporary.iterdir() if entry.name.startswith(FOLDER_PREFIX)]
        server.send(signal.SIGKILL)
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE)
        assert not alive
    assert not list(temporary.glob(f"{FOLDER_PREFIX}*"))


def test_the_next_start_removes_what_killed_processes_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folders that no process has locked are removed; those of others that run, and what has no lock, stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, unlocked = (tmp_path / f"{FOLDER_PREFIX}{name}" for name in ("left", "unlocked"))
    left.mkdir()
    unlocked.mkdir()
    (left / LOCK).touch()
    with new_folder() as running:
        assert set(tmp_path.iterdir()) == {running, unlocked}
        with new_folder() as other:
            assert set(tmp_path.iterdir()) == {running, other, unlocked}
    assert list(tmp_path.iterdir()) == [unlocked]
