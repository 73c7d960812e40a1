"""`authsvc dev`: the whole service on this machine, with nothing to set up before."""

from __future__ import annotations

from pathlib import Path

import click
import uvloop

from authsvc.cli.development import Development, overridden, running
from authsvc.cli.paths import FOLDER
from authsvc.cli.ports import PORT_SETTING, port_option
from authsvc.cli.settings import environment
from authsvc.cli.signals import stop_by_signal

_CREDENTIALS = '"username": "ada", "password": "violet-otter-42"'
_ANSWER = """-d '{"session": "'$SESSION'", "totp_code": "'$(oathtool --totp --base32 $SECRET)'"}'"""
_BEARER = '-H "authorization: Bearer $ACCESS_TOKEN"'
# What is done and which variables to set before, arguments of grpcurl, method.
FLOW = (
    (
        "Sign up. The mail with the code appears here.",
        f"""-d '{{{_CREDENTIALS}, "attributes": {{"email": "ada@example.com"}}}}'""",
        "SignUp",
    ),
    ("CODE=… from the mail", """-d '{"username": "ada", "confirmation_code": "'$CODE'"}'""", "ConfirmSignUp"),
    ("Sign in. No authenticator is set up yet, so this makes one.", f"-d '{{{_CREDENTIALS}}}'", "SignIn"),
    (
        "SESSION=… session   SECRET=… next_step.totp_setup.shared_secret, for oathtool or an authenticator app",
        _ANSWER,
        "ConfirmSignIn",
    ),
    ("ACCESS_TOKEN=… tokens.access_token", _BEARER, "FetchAuthSession"),
    ("Sign out.", _BEARER, "SignOut"),
    ("Sign in again. Now it asks for a code.", f"-d '{{{_CREDENTIALS}}}'", "SignIn"),
    ("SESSION=… session. A code works once, so this takes the next one.", _ANSWER, "ConfirmSignIn"),
)


@click.command
@click.option(
    "--folder",
    type=FOLDER,
    default=Path(".authsvc-dev"),
    show_default=True,
    help="Where accounts, keys and mails are kept. Remove it to start afresh.",
)
@port_option("--port", default=50051, envvar=PORT_SETTING, help="Of the server.")
@port_option("--smtp-port", default=1025, help="Of the mail catcher.")
@port_option("--http-port", default=8025, help="To read the mails by HTTP.")
def command(*, folder: Path, **ports: int) -> None:
    """Run Postgres, a mail catcher and the server, for development, until Ctrl-C.

    Needs nothing to be installed or running, and changes nothing outside its folder; the state is there again at the
    next start. Listens on loopback only, prints the code of each mail and SMS, and lets grpcurl ask for the protos. A
    port of 0 takes a free one. Settings in the environment count, except those of the database, the keys, SMTP and the
    SMS webhook.
    """
    surroundings = environment()
    for name in overridden(surroundings):
        if name != PORT_SETTING:
            click.echo(f"{name} does not count: dev has its own", err=True)
    uvloop.run(_run(folder, ports, surroundings))


async def _run(folder: Path, ports: dict[str, int], surroundings: dict[str, str]) -> None:
    stop = stop_by_signal()
    click.echo(f"starting Postgres, mail catcher and server in {folder}")
    async with running(folder, environment=surroundings, echo=click.echo, **ports) as development:
        click.echo(_introduction(development))
        await stop.wait()
        click.echo("stopping")


def _introduction(development: Development) -> str:
    encryption = "-insecure" if development.has_tls else "-plaintext"
    lines = ["", "The main flow, to be pasted into another terminal:"]
    for text, arguments, method in FLOW:
        call = f"{development.address} authsvc.v1.AuthService/{method}"
        lines += ["", f"# {text}", f"grpcurl {encryption} {arguments} {call}"]
    places = f"authsvc serves on {development.address}; mails are at {development.mail_url}/messages"
    return "\n".join([*lines, "", f"{places}; Ctrl-C stops all"])
