"""The Prometheus endpoint of one process, or of several together."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from authsvc.cli.failures import Failed
from authsvc.config import ServerSettings

# Read by prometheus_client when it is imported: a process that finds it keeps its metrics in files of that folder.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


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
