"""The command line: one module for each command or family of commands, each parse, call, print."""

from __future__ import annotations

import os
from importlib import import_module

import click

from authsvc.cli.failures import Failed

# gRPC's core writes lines of its own to standard error, one at each orderly end; logs are JSON, each line of them. It
# reads this when it is imported, which no command has done yet.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251  # gRPC reads it itself; it is no setting of ours

# Name, which with `_` for `-` is also the module below this package, and line of help. A module is imported when its
# command is called: what one of them needs (gRPC, a terminal's colours) must not slow down the others, least of all a
# health check that runs every few seconds.
_COMMANDS = {
    "init": "Ask for the rules of sign-in, and write a settings file.",
    "serve": "Run the server.",
    "migrate": "Create the database schema, or bring it up to date.",
    "mail": "Show what the mails say; send one to try the SMTP server.",
    "keys": "Make master keys; reseal; rotate the keys that sign tokens.",
    "audit": "Verify the audit trail, and read it.",
    "admin": "Manage users, groups and mail on a running server.",
    "admin-keys": "Make, list and revoke the keys that open AdminService.",
    "healthcheck": "Ask a server whether it serves.",
    "dev": "Run everything for development: Postgres, mail catcher and server.",
    "demo": "Walk through sign-up and sign-in with a second factor.",
    "catcher": "Run the mail catcher alone.",
}
# What `serve --workers` runs; not for people.
_HIDDEN = ("worker",)
# Packages that come with an extra only; `dev` has one of its own.
_EXTRA_PACKAGES = {"aiosmtpd", "segno"}

_EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 wrong usage or settings."


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS and cmd_name not in _HIDDEN:
            return None
        try:
            command: click.Command = import_module(f"authsvc.cli.{cmd_name.replace('-', '_')}").command
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA_PACKAGES:
                raise
            extra = "dev" if cmd_name == "dev" else "demo"
            raise Failed(f"the package {error.name} is missing: install authsvc[{extra}]") from error
        for each in (command, *getattr(command, "commands", {}).values()):
            each.epilog = _EXIT_CODES
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="authsvc", message="%(prog)s %(version)s")
def _authsvc() -> None:
    """Run and operate authsvc, an authentication service over gRPC.

    Settings come from environment variables AUTHSVC_… and from the TOML file that AUTHSVC_SETTINGS_FILE names.
    """


def main() -> None:
    """Run the command that the arguments name, and exit."""
    _authsvc(prog_name="authsvc")
