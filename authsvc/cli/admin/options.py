"""What every command of `authsvc admin` takes: where the server is, what it is shown, whom the command is about."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.paths import EXISTING_FILE

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin

Command = Callable[..., None]

_OPTIONS = (
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="The server; by default AUTHSVC_ADMIN_ADDRESS, or the one of the settings on this machine.",
    ),
    click.option("--key-file", type=EXISTING_FILE, help="File with the admin key."),
    click.option("--ca-file", type=EXISTING_FILE, help="PEM bundle to check the server with; turns TLS on."),
    click.option("--certificate-file", type=EXISTING_FILE, help="PEM chain to show the server (mTLS)."),
    click.option("--certificate-key-file", type=EXISTING_FILE, help="PEM private key of that."),
    click.option("--plaintext", is_flag=True, help="Send the key in clear to another machine."),
    click.option("--json", "as_json", is_flag=True, help="Print the response as JSON."),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Hold what the options of a command say of the server."""

    address: str | None
    key_file: Path | None
    ca_file: Path | None
    certificate_file: Path | None
    certificate_key_file: Path | None
    plaintext: bool


def connected(function: Command) -> Command:
    """Give a command the options that say how to reach the server, and an `Admin` as its first argument."""

    @functools.wraps(function)
    def run(*arguments: Any, as_json: bool, **options: Any) -> None:
        from authsvc.cli.admin.connection import open_admin  # noqa: PLC0415  # gRPC, which help does without

        target = Target(**{name: options.pop(name) for name in Target.__dataclass_fields__})
        try:
            with open_admin(target, as_json=as_json) as admin:
                function(admin, *arguments, **options)
        except UnicodeError as error:
            raise click.UsageError("what is given must be UTF-8 text") from error

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


def about_user(function: Command) -> Command:
    """Give a connected command the argument USER, handed on as the field that names the user."""

    @functools.wraps(function)
    def run(admin: Admin, *arguments: Any, user: str, by_id: bool, **options: Any) -> None:
        function(admin, *arguments, user={"user_id" if by_id else "username": user}, **options)

    option = click.option("--id", "by_id", is_flag=True, help="USER is a user_id.")
    return connected(click.argument("user")(option(run)))


def paged(function: Command) -> Command:
    """Give a list the options for its pages, as `Admin.list` takes them."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="All pages, not the first alone."),
        click.option("--page-token", metavar="TOKEN", default="", help="The page that a list before named."),
        click.option("--page-size", type=click.IntRange(1, 100), help="Entries of a page; 50 by default."),
    ):
        function = option(function)
    return function


def confirmed(question: str) -> Callable[[Command], Command]:
    """Have a command ask before it does what can't be undone; `{user}` and the like stand for its arguments."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def run(*arguments: Any, yes: bool, **options: Any) -> None:
            named = {
                name: next(iter(value.values())) if isinstance(value, dict) else value
                for name, value in options.items()
            }
            if not yes:
                click.confirm(question.format(**named), abort=True, err=True)
            function(*arguments, **options)

        return click.option("--yes", is_flag=True, help="Don't ask.")(run)

    return decorate


def act_on_user(
    method: str, summary: str, done: str = "", *, ask: str | None = None, argument: str | None = None
) -> click.Command:
    """Return the command of a method about a user, which says what is done, and before that asks what `ask` says.

    Without words for `done` it says where something is on its way to. `argument` is a further field of the call.
    """

    def run(admin: Admin, *, user: dict[str, str], **fields: str) -> None:
        response = admin.call(method, **user, **fields)
        if done:
            admin.show.done(response, done)
        else:
            admin.show.delivery(response)

    function: Command = confirmed(ask)(run) if ask else run
    if argument:
        function = click.argument(argument)(function)
    return click.command(re.sub(r"\B([A-Z])", r"-\1", method).lower(), help=summary)(about_user(function))


def secret(prompt: str, *, from_stdin: bool) -> str:
    """Read a secret from standard input, or ask for it twice on the terminal; never from the arguments."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))
