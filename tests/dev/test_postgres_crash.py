import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from authsvc.dev.postgres import EmbeddedPostgres

# Starts the server from a thread that ends at once, as asyncio programs do, and stays until it is killed.
OWNER = """
import sys, threading, time
from pathlib import Path
from authsvc.dev.postgres import EmbeddedPostgres
server = EmbeddedPostgres(folder=Path(sys.argv[1]))
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
print(server.dsn(), flush=True)
time.sleep(600)
"""


@contextmanager
def owner(folder: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Yield a process that owns a running server, and the server's address."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address
            yield psutil.Process(process.pid), address
        finally:
            process.kill()


def launcher_on(folder: Path) -> psutil.Process:
    """Return the child of this process, which may have others, that runs the server in the folder."""
    (launcher,) = (child for child in psutil.Process().children() if str(folder / "data") in child.cmdline())
    return launcher


def outlive(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Return those of the processes that still run after so long."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_killed_owner_takes_the_server_along(folder: Path) -> None:
    """After SIGKILL of the owner no process of the server is left, busy backends included, and no row is lost."""
    with owner(folder) as (process, address):
        connection = await asyncpg.connect(address)
        await connection.execute("create table t (x int)")
        await connection.execute("insert into t values (1)")
        sleeping = asyncio.ensure_future(connection.execute("select pg_sleep(600)"))
        processes = process.children(recursive=True)
        assert sum(child.name() == "postgres" for child in processes) > 3
        # A second is long against what a death signal takes: the thread that called start has ended, and we still run.
        assert set(outlive(processes, seconds=1)) == set(processes)
        process.kill()
        assert outlive(processes, seconds=10) == []
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await sleeping
    with EmbeddedPostgres(folder=folder) as server:
        connection = await asyncpg.connect(server.dsn())
        assert await connection.fetchval("select count(*) from t") == 1
        await connection.close()
    assert "was not properly shut down" not in (folder / "postgres.log").read_text()


@pytest.mark.parametrize("launcher_too", [False, True], ids=["owner killed", "owner and launcher killed"])
async def test_start_waits_for_the_server_of_a_killed_owner(folder: Path, launcher_too: bool) -> None:
    """While a former server is still going down, a new one on its folder waits rather than joins it."""
    with owner(folder) as (process, _):
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(pid)
        postmaster.suspend()
        (launcher,) = process.children()
        process.kill()
        if launcher_too:
            launcher.kill()
        process.wait()
        server = EmbeddedPostgres(folder=folder)
        starting = asyncio.ensure_future(asyncio.to_thread(server.start))
        done, _ = await asyncio.wait([starting], timeout=1)
        assert not done
        assert postmaster.is_running()
        postmaster.resume()
        await asyncio.wait_for(starting, 20)
        assert outlive([postmaster], seconds=0) == []
        server.stop()


def test_killed_launcher_takes_the_server_along(folder: Path) -> None:
    """After SIGKILL of the process between owner and server, the kernel ends the server; the owner can start anew."""
    server = EmbeddedPostgres(folder=folder)
    with server:
        launcher = launcher_on(folder)
        processes = launcher.children(recursive=True)
        assert sum(child.name() == "postgres" for child in processes) > 3
        launcher.kill()
        assert outlive(processes, seconds=10) == []
        server.start()
        processes = [launcher_on(folder), *launcher_on(folder).children(recursive=True)]
        assert len(processes) > 3
    assert not any(process.is_running() for process in processes)


def test_owner_that_just_exits_takes_the_server_along(folder: Path) -> None:
    """A process that forgets to stop its server leaves none behind."""
    code = OWNER.replace("time.sleep(600)", "import psutil; print(*(p.pid for p in psutil.Process().children(True)))")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    pids = [int(word) for word in done.stdout.splitlines()[1].split()]
    assert len(pids) > 3
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if psutil.pid_exists(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


async def test_crashed_server_recovers(folder: Path) -> None:
    """After `kill` no process is left; the next start recovers what was committed, and only that."""
    server = EmbeddedPostgres(folder=folder)
    with server:
        connection = await asyncpg.connect(server.dsn())
        await connection.execute("create table t (x int)")
        await connection.execute("insert into t values (1)")
        await connection.execute("begin")
        await connection.execute("insert into t values (2)")
        processes = [launcher_on(folder), *launcher_on(folder).children(recursive=True)]
        assert sum(process.name() == "postgres" for process in processes) > 3
        server.kill()
        assert not any(process.is_running() for process in processes)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.execute("commit")
        server.start()
        connection = await asyncpg.connect(server.dsn())
        assert await connection.fetchval("select array_agg(x) from t") == [1]
        await connection.close()
    assert "was not properly shut down" in (folder / "postgres.log").read_text()


async def test_stale_pid_file_with_a_living_pid_is_no_obstacle(folder: Path) -> None:
    """What a crash left is known to be stale even if the pid in it is in use again, as it soon is in a container."""
    with EmbeddedPostgres(folder=folder) as server:
        server.kill()
        for path in (folder / "data" / "postmaster.pid", folder / "run" / ".s.PGSQL.5432.lock"):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join([f"{os.getppid()}\n", *lines[1:]]))
        server.start()
        connection = await asyncpg.connect(server.dsn())
        assert await connection.fetchval("select 1") == 1
        await connection.close()


def test_interrupt_from_the_terminal_leaves_the_server_to_its_owner(folder: Path) -> None:
    """Ctrl-C signals the owner's process group, of which no process of the server is a member."""
    with EmbeddedPostgres(folder=folder, durable=False):
        launcher = launcher_on(folder)
        groups = {os.getpgid(process.pid) for process in (launcher, *launcher.children(recursive=True))}
        assert os.getpgrp() not in groups


async def test_stop_does_not_wait_for_clients(folder: Path) -> None:
    """A connected, busy client is cut off: stop returns within seconds."""
    with EmbeddedPostgres(folder=folder, durable=False) as server:
        connection = await asyncpg.connect(server.dsn())
        sleeping = asyncio.ensure_future(connection.execute("select pg_sleep(600)"))
        await asyncio.sleep(0.1)
        before = time.monotonic()
        await asyncio.to_thread(server.stop)
        assert time.monotonic() - before < 5
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await sleeping
