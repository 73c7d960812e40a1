"""`authsvc admin`: every call of AdminService as a command."""

from __future__ import annotations

import click

from authsvc.cli.admin import accounts, groups, mail, transfer, users


@click.group
def command() -> None:
    """Manage users, groups and mail on a running server.

    The key is that of AUTHSVC_ADMIN_KEY, or of the file that --key-file or AUTHSVC_ADMIN_KEY_FILE names; `authsvc
    admin-keys create` makes one. A client certificate that the server's settings name needs no key.
    """


for _family in (users, accounts, groups, mail, transfer):
    for _each in vars(_family).values():
        if isinstance(_each, click.Command):
            command.add_command(_each)
