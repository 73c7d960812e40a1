"""`authsvc serve`: run the server."""

from __future__ import annotations

import asyncio
import signal
from ipaddress import ip_address

import click
import prometheus_client
import structlog
import uvloop

from authsvc.app import App
from authsvc.cli.failures import Failed, WrongSettings, expected
from authsvc.cli.settings import read_settings
from authsvc.clock import SystemClock
from authsvc.config import ServerSettings, Settings
from authsvc.crypto.sealing import DEV_KEY_PREFIX, parse_master_keys
from authsvc.rpc.server import TransportError
from authsvc.telemetry.logs import set_up_logs
from authsvc.telemetry.metrics import Metrics

_log = structlog.get_logger()


@click.command
def command() -> None:
    """Run the server until SIGTERM or Ctrl-C.

    It listens at once, and tells health checks that it serves as soon as the database is there with the schema that
    `authsvc migrate` makes. At the first signal it finishes the calls in flight; a second one ends it at once.
    """
    settings = read_settings(keys=True, mail=True)
    refuse_dev_keys(settings)
    set_up_logs(settings.log)
    warn_of_plaintext(settings.server)
    with expected(TransportError):
        uvloop.run(run(settings))


def refuse_dev_keys(settings: Settings) -> None:
    """Refuse the keys that `authsvc dev` makes: they lie beside the data that they protect."""
    if any(key.key_id.startswith(DEV_KEY_PREFIX) for key in parse_master_keys(settings.keys.master.get_secret_value())):
        raise WrongSettings(
            "AUTHSVC_KEYS_MASTER: has a key made by `authsvc dev`, which is for development only;"
            " make one by `authsvc keys generate`"
        )


def warn_of_plaintext(settings: ServerSettings) -> None:
    """Log a warning if passwords would cross a network unencrypted."""
    if settings.tls_certificate_file is None and not _is_loopback(settings.host):
        _log.warning(
            "no TLS: passwords and tokens travel unencrypted; set AUTHSVC_SERVER_TLS_CERTIFICATE_FILE and _KEY_FILE,"
            " or end TLS right in front",
            host=settings.host,
        )


async def run(settings: Settings) -> None:
    """Serve with one process until a signal comes."""
    stop = _stop_by_signal()
    metrics = Metrics()
    if settings.server.metrics_port:
        try:
            prometheus_client.start_http_server(
                settings.server.metrics_port, settings.server.metrics_host, metrics.registry
            )
        except OSError as error:
            raise Failed(
                f"cannot listen on {settings.server.metrics_host}:{settings.server.metrics_port} for metrics: {error}"
            ) from error
    async with App.open(settings, SystemClock(), metrics) as app:
        port = await app.start()
        _log.info(
            "listening", host=settings.server.host, port=port, tls=settings.server.tls_certificate_file is not None
        )
        await app.run(stop)


def _stop_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
