"""The Prometheus endpoint of one process, or of several together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from authsvc.cli.failures import Failed
from authsvc.cli.settings import environment
from authsvc.config import ServerSettings

# Read by prometheus_client when it is imported: a process that finds it keeps its metrics in files of that folder.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
FOLDER_PREFIX = "authsvc-metrics-"
# In the folder; locked by each process that uses it, however that one ends.
LOCK = "lock"


def publish(settings: ServerSettings, registry: CollectorRegistry) -> None:
    """Serve `/metrics` from a thread, to the end of the process.

    Raises:
        Failed: the port is taken, or the host is not an address of this machine.
    """
    try:
        start_http_server(settings.metrics_port, settings.metrics_host.strip("[]"), registry)
    except OSError as error:
        raise Failed(
            f"cannot listen on {settings.metrics_host}:{settings.metrics_port} for metrics: {error.strerror}"
        ) from error


def sum_of_processes(folder: str) -> CollectorRegistry:
    """Return a registry with the metrics of all processes that keep theirs in `folder`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]  # registers itself
    return registry


@contextmanager
def new_folder() -> Iterator[Path]:
    """Make a folder for the metrics of several processes, and remove those that dead ones have left."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        _remove_unused(left)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    # Locked before it has its name: without a lock of that name a folder is left alone.
    lock = os.open(folder / f"new-{LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    (folder / f"new-{LOCK}").rename(folder / LOCK)
    with _used(folder, lock):
        yield folder


@contextmanager
def inherited_folder() -> Iterator[None]:
    """Keep the folder that the process which started this one has made, if it has; the last to use it removes it.

    Raises:
        Failed: it was removed: whoever made it is dead.
    """
    path = environment().get(FOLDER_VARIABLE)
    if path is None:
        yield
        return
    folder = Path(path)
    lock = _lock_of(folder)
    if lock is None:
        raise Failed(f"{folder}: is gone, and so is the process that made it")
    fcntl.flock(lock, fcntl.LOCK_SH)
    with _used(folder, lock):
        yield


@contextmanager
def _used(folder: Path, lock: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(lock)
        _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    lock = _lock_of(folder)
    if lock is None:
        # Removed already, somebody else's, or of a release that locks nothing.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


def _lock_of(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    return None
