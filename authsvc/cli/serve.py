"""`authsvc serve`: run the server, in one process or in several."""

from __future__ import annotations

import asyncio

import click
import structlog
import uvloop

from authsvc.cli.failures import WrongSettings
from authsvc.cli.ports import PORT_SETTING, is_loopback, require_free
from authsvc.cli.settings import read_settings
from authsvc.cli.signals import stop_by_signal
from authsvc.cli.workers import Supervisor
from authsvc.config import ServerSettings, Settings
from authsvc.crypto.sealing import DEV_KEY_PREFIX, parse_master_keys
from authsvc.telemetry.logs import set_up_logs

_log = structlog.get_logger()


@click.command
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Processes that share the port; best one for each core. [default: the setting AUTHSVC_SERVER_WORKERS]",
)
def command(workers: int | None) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    It listens at once, and tells health checks that it serves as soon as the database is there with the schema that
    `authsvc migrate` makes. At the first signal it finishes the calls in flight; a second one ends it at once.
    """
    settings = read_settings("database", "keys", "mail", "files")
    _refuse_dev_keys(settings)
    if workers is not None:
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"workers": workers})})
    set_up_logs(settings.log)
    _warn_of_plaintext(settings.server)
    if settings.server.workers > 1:
        asyncio.run(Supervisor(settings=settings.server).run())
    else:
        uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from authsvc.cli.process import serving  # noqa: PLC0415  # most of the memory, of no use to a supervisor

    stop = stop_by_signal()
    server = settings.server
    require_free(server.host, server.port, chosen_by=PORT_SETTING)
    async with serving(settings) as port:
        _log.info("listening", host=server.host, port=port, tls=server.tls_certificate_file is not None)
        await stop.wait()


def _refuse_dev_keys(settings: Settings) -> None:
    if any(key.key_id.startswith(DEV_KEY_PREFIX) for key in parse_master_keys(settings.keys.master.get_secret_value())):
        raise WrongSettings(
            "AUTHSVC_KEYS_MASTER: has a key made by `authsvc dev`, which is for development only;"
            " make one by `authsvc keys generate`"
        )


def _warn_of_plaintext(settings: ServerSettings) -> None:
    if settings.tls_certificate_file is None and not is_loopback(settings.host):
        _log.warning(
            "no TLS: passwords and tokens are readable on the way here, unless something in front encrypts it;"
            " see AUTHSVC_SERVER_TLS_CERTIFICATE_FILE and AUTHSVC_SERVER_TLS_KEY_FILE",
            host=settings.host,
        )
