"""`authsvc demo`: the main flow, shown and checked."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import click
import grpc
import uvloop

from authsvc.cli.demo_flow import Walk
from authsvc.cli.demo_view import View
from authsvc.cli.development import running
from authsvc.cli.paths import EXISTING_FILE, FILE
from authsvc.clock import SystemClock

# Only faults: what the user sees is the client's side.
ENVIRONMENT = {"AUTHSVC_LOG_LEVEL": "error"}


def _http_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and urlsplit(value).scheme not in ("http", "https"):
        raise click.BadParameter("must begin with http:// or https://")
    return value


@click.command
@click.option("--address", metavar="HOST:PORT", help="A running server.")
@click.option(
    "--mail-url", metavar="URL", callback=_http_url, help="The HTTP side of the mail catcher that it sends to."
)
@click.option(
    "--ca-file", type=EXISTING_FILE, help="PEM bundle to check the running server's certificate with; turns TLS on."
)
@click.option("--qr-png", type=FILE, help="Write the QR code to this file as well.")
def command(*, address: str | None, mail_url: str | None, ca_file: Path | None, qr_png: Path | None) -> None:
    """Walk a new user through sign-up, sign-in with TOTP, sign-out and the next sign-in, and try a code twice.

    Every call goes through the generated stubs, and the code is read from the real mail. Without --address it starts a
    server of its own, as `authsvc dev` does, in a temporary folder. Succeeds only if everything comes out as it should.
    """
    if (address is None) != (mail_url is None):
        raise click.UsageError("--address and --mail-url go together")
    if ca_file is not None and address is None:
        raise click.UsageError("--ca-file needs --address")
    try:
        uvloop.run(_run(address, mail_url, ca_file=ca_file, qr_png=qr_png))
    except asyncio.CancelledError as error:
        raise click.Abort from error


async def _run(address: str | None, mail_url: str | None, *, ca_file: Path | None, qr_png: Path | None) -> None:
    # A server of its own is stopped, and its folder removed; also where SIGINT is ignored, as behind a shell.
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for mypy: this runs in one
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    view = View()
    if address is not None and mail_url is not None:
        await _walk(view, _channel(address, ca_file), mail_url=mail_url, qr_png=qr_png)
        return
    view.say("Starting Postgres, a mail catcher and a server in a temporary folder.")
    with tempfile.TemporaryDirectory(prefix="authsvc-demo-") as folder:
        async with running(Path(folder) / "dev", environment=ENVIRONMENT) as own:
            await _walk(view, _channel(own.address), mail_url=own.mail_url, qr_png=qr_png)


def _channel(address: str, ca_file: Path | None = None) -> grpc.aio.Channel:
    if ca_file is None:
        return grpc.aio.insecure_channel(address)
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca_file.read_bytes()))


async def _walk(view: View, channel: grpc.aio.Channel, *, mail_url: str, qr_png: Path | None) -> None:
    async with channel:
        await Walk(channel=channel, mail_url=mail_url, view=view, clock=SystemClock()).run(qr_png)
