import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from authsvc.dev.postgres import EmbeddedPostgres, EmbeddedPostgresError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = Path(asyncpg.__file__).parents[1]

# What another user runs: nothing beyond the standard library, the launcher and its binaries.
USE_IT = """
import subprocess, sys
from pathlib import Path
from authsvc.dev.postgres import EmbeddedPostgres, _find_programs
with EmbeddedPostgres(folder=Path(sys.argv[1]), durable=False) as server:
    answer = subprocess.run([_find_programs() / "psql", "-XAtc", "select 6 * 7", server.dsn()], stdout=subprocess.PIPE)
print(answer.stdout.decode().strip())
"""


async def run(server: EmbeddedPostgres, *statements: str, database: str = "postgres") -> Any:
    """Execute the statements and return the single value of the last one."""
    connection = await asyncpg.connect(server.dsn(database), timeout=10)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def test_rows_survive_a_restart(folder: Path) -> None:
    """What was committed is there after stop and start, also by another object, at the same address."""
    with EmbeddedPostgres(folder=folder) as server:
        address = server.dsn()
        await run(server, "create table t (x int)", "insert into t values (1)")
        server.stop()
        server.start()
        assert await run(server, "insert into t values (2) returning x") == 2
    with EmbeddedPostgres(folder=folder) as server:
        assert server.dsn() == address
        assert await run(server, "select count(*) from t") == 2


async def test_start_and_stop_may_be_repeated(folder: Path) -> None:
    """A second start leaves the running server alone, a second stop does nothing."""
    server = EmbeddedPostgres(folder=folder, durable=False)
    server.stop()
    with server:
        started = await run(server, "select pg_postmaster_start_time()")
        server.start()
        assert await run(server, "select pg_postmaster_start_time()") == started
        server.stop()
    assert not (folder / "data" / "postmaster.pid").exists()


async def test_settings_are_those_of_a_small_server_for_development(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoding, collation, time zone and durability are ours, whatever the environment asks of PostgreSQL."""
    for name, value in {
        "PGPORT": "1",
        "PGTZ": "Asia/Tokyo",
        "PGDATA": "/nowhere",
        "LC_ALL": "tr_TR.UTF-8",
    }.items():
        monkeypatch.setenv(name, value)
    expected = {
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "max_connections": "100",
        "listen_addresses": "",
        "dynamic_shared_memory_type": "mmap",
        "lc_messages": "C",
    }
    with EmbeddedPostgres(folder=folder) as server:
        for name, value in (expected | {"fsync": "on", "synchronous_commit": "on"}).items():
            assert await run(server, f"show {name}") == value
        assert await run(server, "select upper('straße ü' collate \"default\")") == "STRASSE Ü".replace("SS", "ß")
        assert await run(server, "select datlocale from pg_database where datname = 'postgres'") == "C.UTF-8"
    with EmbeddedPostgres(folder=folder, durable=False) as server:
        assert await run(server, "show fsync") == "off"
        assert await run(server, "show full_page_writes") == "off"


async def test_environment_of_the_caller_is_not_handed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can run SQL as superuser cannot read the secrets of the process that started the server."""
    monkeypatch.setenv("AUTHSVC_SECRET", "a secret")
    with EmbeddedPostgres(folder=folder, durable=False) as server:
        everything = ["create temp table environment (line text)", "copy environment from program 'env'"]
        names = await run(server, *everything, "select array_agg(split_part(line, '=', 1)) from environment")
    assert "PATH" in names
    assert "AUTHSVC_SECRET" not in names
    assert "HOME" not in names


async def test_names_of_databases_are_quoted_in_the_address(folder: Path) -> None:
    """A database may be called anything: the address still leads to it."""
    with EmbeddedPostgres(folder=folder, durable=False) as server:
        await run(server, 'create database "ä/b?c=d&e"', "select 1")
        assert await run(server, "select current_database()", database="ä/b?c=d&e") == "ä/b?c=d&e"


@pytest.mark.parametrize("name", ["a" * 120, "a,b"], ids=["too long for a socket", "a comma splits hosts"])
async def test_falls_back_to_a_port_with_a_password(folder: Path, name: str) -> None:
    """Where no socket can be named, the server listens on loopback alone, and asks for the password it made."""
    with EmbeddedPostgres(folder=folder / name, durable=False) as server:
        address = server.dsn()
        assert await run(server, "show listen_addresses") == "127.0.0.1"
        assert await run(server, "show unix_socket_directories") == ""
        password = (folder / name / "password").read_text()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(address.replace(password, "guess"), timeout=10)
        server.stop()
        server.start()
        assert server.dsn() == address
        assert await run(server, "select 1") == 1


def test_address_on_a_port_is_unknown_before_the_first_start(folder: Path) -> None:
    """The port is chosen by the first start, and there is no guess before."""
    with pytest.raises(EmbeddedPostgresError, match="first start"):
        EmbeddedPostgres(folder=folder / ("a" * 120)).dsn()


async def test_odd_characters_in_the_path_are_no_matter(folder: Path) -> None:
    """Blanks, quotes and percent signs in the folder's name reach PostgreSQL as they are."""
    with EmbeddedPostgres(folder=folder / 'it\'s "50%" ü', durable=False) as server:
        assert "host=" in server.dsn()
        assert await run(server, "select 1") == 1


async def test_folder_has_one_owner_at_a_time(folder: Path) -> None:
    """A second start on the folder is refused with what to do about it, and the first server is unharmed."""
    with EmbeddedPostgres(folder=folder, durable=False) as first:
        with pytest.raises(EmbeddedPostgresError, match=r"another process .* choose another folder"):
            EmbeddedPostgres(folder=folder, durable=False).start()
        assert await run(first, "select 1") == 1
    with EmbeddedPostgres(folder=folder, durable=False) as second:
        assert await run(second, "select 1") == 1


async def test_interrupted_creation_is_begun_anew(folder: Path) -> None:
    """Half a cluster, left by a process killed during initdb, is replaced by a whole one."""
    (folder / "data.new" / "base").mkdir(parents=True)
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder=folder, durable=False) as server:
        assert await run(server, "select 1") == 1
    assert not (folder / "data.new").exists()


async def test_failed_start_tells_the_end_of_the_log(folder: Path) -> None:
    """When PostgreSQL refuses, its own words are in the error, nothing keeps running, and a later start works."""
    server = EmbeddedPostgres(folder=folder, durable=False)
    with server:
        pass
    extra = folder / "data" / "postgresql.auto.conf"
    extra.write_text("no_such_setting = on\n")
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting") as raised:
        server.start()
    assert str(folder / "postgres.log") in str(raised.value)
    extra.write_text("")
    with server:
        assert await run(server, "select 1") == 1


def test_files_belong_to_the_caller_and_nothing_outside_the_folder_changes(tmp_path: Path) -> None:
    """Every file has the caller's owner and no reader but the owner; home, temp and working folder stay as they are."""
    parent = tmp_path / "parent"
    around = [parent, *(tmp_path / name for name in ("home", "temp", "cwd"))]
    for path in around:
        path.mkdir(mode=0o710)
    before = [path.lstat() for path in [*tmp_path.parents, *around[1:]]]
    accounts = Path("/etc/passwd").read_bytes()

    def use(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, str(parent / "postgres")],
            env={"HOME": str(around[1]), "TMPDIR": str(around[2]), "PYTHONPATH": f"{ROOT}:{PACKAGES}"},
            cwd=around[3],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    assert use(USE_IT) == "42\n"
    assert [path.name for path in parent.iterdir()] == ["postgres"]
    for path in (parent / "postgres", *(parent / "postgres").rglob("*")):
        entry = path.lstat()
        assert (entry.st_uid, entry.st_gid) == (os.geteuid(), os.getegid()), path
        assert stat.S_IMODE(entry.st_mode) & 0o077 == 0, path
    for path in around[1:]:
        assert list(path.iterdir()) == []
    after = [path.lstat() for path in [*tmp_path.parents, *around[1:]]]
    for old, new in zip(before, after, strict=True):
        assert (old.st_mode, old.st_uid, old.st_gid) == (new.st_mode, new.st_uid, new.st_gid)
    assert stat.S_IMODE(parent.stat().st_mode) == 0o710
    assert Path("/etc/passwd").read_bytes() == accounts


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the other tests run as one")
@pytest.mark.parametrize("uid", [65534, 54321], ids=["an ordinary user", "a uid without a name"])
def test_works_as_another_user(uid: int) -> None:
    """An ordinary user needs nothing; a uid without a name, as containers have, gets a namespace of its own."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        home = Path(name)
        os.chown(home, uid, uid)
        python = next(filter(None, (reach(path, uid) for path in (sys.executable, "/usr/bin/python3"))), None)
        if python is None:
            pytest.skip(f"uid {uid} can reach no Python that runs the launcher")
        if uid == 54321 and run_as(uid, "unshare", "--user", "true").returncode != 0:
            pytest.skip("this machine grants user namespaces to root alone")
        done = run_as(uid, python, "-c", USE_IT, str(home / "postgres"))
        assert done.stdout == "42\n", done.stderr
        assert {path.lstat().st_uid for path in home.rglob("*")} == {uid}


@pytest.mark.skipif(os.geteuid() != 0, reason="about root's rights, which others never have")
def test_root_is_told_when_its_rights_are_missed(folder: Path) -> None:
    """Below another user's private folder PostgreSQL cannot do what root can, and the error says so."""
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(EmbeddedPostgresError, match=r"Permission denied(.|\n)*without root's rights"):
        EmbeddedPostgres(folder=folder / "below", durable=False).start()


def test_says_what_to_do_where_user_namespaces_are_refused(folder: Path) -> None:
    """Root without a user namespace is told to run as a user or to bring a database, not shown a stack trace."""
    # Inside its own namespace root may lower the limit for the namespaces within, and changes nothing for others.
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine has no user namespace to try the refusal in")
    done = run_as(os.geteuid(), *inside, sys.executable, "-c", USE_IT, str(folder))
    assert "run as an ordinary user, or point AUTHSVC_DATABASE_URL at a PostgreSQL server" in done.stderr


def run_as(uid: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the command as that user, with this checkout and these packages to import."""
    return subprocess.run(
        command,
        check=False,
        user=uid if uid != os.geteuid() else None,
        group=uid if uid != os.geteuid() else None,
        extra_groups=[] if uid != os.geteuid() else None,
        env={"PYTHONPATH": f"{ROOT}:{PACKAGES}", "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
    )


def reach(python: str, uid: int) -> str | None:
    """Return the interpreter if that user can run it, and the launcher and its binaries with it."""
    code = "import authsvc.dev.postgres as p; assert (p._find_programs() / 'postgres').stat().st_mode & 1"
    try:
        done = run_as(uid, python, "-c", code)
    except OSError:
        return None
    return python if done.returncode == 0 else None
