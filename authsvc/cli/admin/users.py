"""Commands that make, find, list and change users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.admin.options import about_user, act_on_user, connected, paged, secret
from authsvc.domain import UserStatus

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin

_MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"])


def _pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if any(not name or not sign for name, sign, _ in pairs):
        raise click.BadParameter("must be NAME=VALUE")
    return {name: value for name, _, value in pairs}


_attributes = click.option(
    "--attribute",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs,
    help="May be given several times.",
)


@click.command("create-user")
@click.argument("username")
@_attributes
@click.option("--email-verified", is_flag=True, help="The e-mail address is the user's without further proof.")
@click.option("--phone-number-verified", is_flag=True, help="The same for the phone number.")
@click.option("--password", "asks", is_flag=True, help="Ask for the temporary password instead of making one.")
@click.option("--password-stdin", "from_stdin", is_flag=True, help="Read it from standard input.")
@click.option("--suppress-invitation", is_flag=True, help="Send no mail; needs a password.")
@connected
def create_user(admin: Admin, *, asks: bool, from_stdin: bool, **fields: Any) -> None:
    """Make a user with a temporary password, and mail an invitation that tells it."""
    password = secret("Temporary password", from_stdin=from_stdin) if asks or from_stdin else None
    admin.show.entry(admin.call("CreateUser", temporary_password=password, **fields), "user")


resend_invitation = act_on_user(
    "ResendInvitation", "Mail another temporary password to a user who has not signed in yet."
)


@click.command("get-user")
@about_user
def get_user(admin: Admin, user: dict[str, str]) -> None:
    """Show one user."""
    admin.show.entry(admin.call("GetUser", **user), "user")


@click.command("list-users")
@click.option("--username-prefix", metavar="TEXT", help="Only usernames that begin with this.")
@click.option("--email", metavar="ADDRESS", help="Only users with this address.")
@click.option("--email-prefix", metavar="TEXT", help="Only addresses that begin with this.")
@click.option("--status", type=click.Choice(list(UserStatus), case_sensitive=False), help="Only users in this state.")
@click.option("--enabled/--disabled", default=None, help="Only users who are enabled, or disabled.")
@click.option("--group", metavar="NAME", help="Only users in this group.")
@click.option("--created-from", type=_MOMENT, help="Only users made then or later (UTC).")
@click.option("--created-before", type=_MOMENT, help="Only users made before (UTC).")
@_attributes
@click.option("--order", type=click.Choice(["CREATED_AT", "USERNAME", "EMAIL"], case_sensitive=False))
@click.option("--descending", is_flag=True, help="Begin at the end.")
@paged
@connected
def list_users(admin: Admin, *, status: UserStatus | None, order: str | None, **fields: Any) -> None:
    """List users, oldest first unless an order is given."""
    fields["status"] = f"USER_STATUS_{status}" if status else None
    fields["order"] = f"USER_ORDER_{order}" if order else None
    admin.list("ListUsers", "users", **fields)


@click.command("update-user-attributes")
@_attributes
@click.option("--remove", "remove_attributes", multiple=True, metavar="NAME", help="May be given several times.")
@click.option("--email-verified/--email-unverified", default=None, help="Whether the e-mail address is the user's.")
@click.option(
    "--phone-number-verified/--phone-number-unverified", default=None, help="Whether the phone number is the user's."
)
@about_user
def update_user_attributes(admin: Admin, user: dict[str, str], **fields: Any) -> None:
    """Set and remove attributes of a user."""
    admin.show.entry(admin.call("UpdateUserAttributes", **user, **fields), "user")


delete_user = act_on_user("DeleteUser", "Erase a user for good.", "deleted", ask="Erase {user} for good?")
