"""`authsvc catcher`: the mail catcher as a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from pydantic import SecretStr

from authsvc.cli.failures import Failed
from authsvc.cli.paths import FOLDER
from authsvc.cli.ports import port_option
from authsvc.cli.signals import stop_by_signal
from authsvc.config import SmsSettings
from authsvc.dev.catcher import MailCatcher


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@port_option("--smtp-port", default=1025, help="0 takes a free one.")
@port_option("--http-port", default=8025, help="0 takes a free one.")
@click.option(
    "--folder", type=FOLDER, default=Path("mail"), show_default=True, help="Where to keep the mails, a file each."
)
@click.option(
    "--sms-secret",
    envvar="AUTHSVC_SMS_WEBHOOK_SECRET",
    metavar="KEY",
    default="",
    help="Key of the signature of SMS, as the server has it; rather in AUTHSVC_SMS_WEBHOOK_SECRET than here.",
)
def command(*, host: str, smtp_port: int, http_port: int, folder: Path, sms_secret: str) -> None:
    """Accept all mail, deliver none, print a line for each with its code, and show them by HTTP. For trials only.

    SMS are accepted too, as the server's `sms.webhook_url` at /sms, if they are signed.
    GET /messages?to=ADDRESS&after=NUMBER answers with a JSON array of mails and SMS.
    """
    sms_keys = SmsSettings(webhook_secret=SecretStr(sms_secret)).keys()
    catcher = MailCatcher(
        folder=folder, host=host, port=smtp_port, http_port=http_port, echo=click.echo, sms_keys=sms_keys
    )
    asyncio.run(_run(catcher))


async def _run(catcher: MailCatcher) -> None:
    stop = stop_by_signal()
    try:
        await catcher.start()
    except OSError as error:
        raise Failed(f"the mail catcher can't start: {error}") from error
    click.echo(f"SMTP on {catcher.host}:{catcher.port}, http://{catcher.host}:{catcher.http_port}/messages")
    try:
        await stop.wait()
    finally:
        await catcher.stop()
