"""`authsvc healthcheck`: ask a server by the standard health service whether it serves."""

from __future__ import annotations

import click

from authsvc.cli.client import address_of, health_of
from authsvc.cli.failures import Failed
from authsvc.cli.settings import read_settings

TIMEOUT_SECONDS = 3


@click.command
@click.option("--address", metavar="HOST:PORT", help="The server; by default the one that the settings describe.")
def command(address: str | None) -> None:
    """Ask a server whether it serves, within 3 seconds: exit code 0 if it does, 1 if not.

    Made to be run beside the server, with the same settings: where they turn TLS on, the server must show the
    certificate that they name, and is shown the same one if it asks for one.
    """
    settings = read_settings().server
    target = address or address_of(settings)
    status = health_of(target, settings, timeout_seconds=TIMEOUT_SECONDS)
    if status != "SERVING":
        raise Failed(f"{target}: {status}")
    click.echo(f"{target}: {status}")
