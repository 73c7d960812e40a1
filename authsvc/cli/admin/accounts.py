"""Commands about the passwords, factors and sessions of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.admin.options import about_user, act_on_user, connected, paged, secret

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin


@click.command("set-user-password")
@click.option("--temporary", is_flag=True, help="The user has to change it at the next sign-in.")
@click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@about_user
def set_user_password(admin: Admin, *, user: dict[str, str], temporary: bool, from_stdin: bool) -> None:
    """Set a user's password; ends all sessions."""
    password = secret("Password", from_stdin=from_stdin)
    admin.show.done(admin.call("SetUserPassword", password=password, temporary=temporary, **user), "password set")


reset_user_password = act_on_user(
    "ResetUserPassword",
    "Have a user set a new password with a mailed code; ends all sessions.",
    ask="End all sessions of {user}, and have a new password set?",
)
confirm_sign_up = act_on_user("ConfirmSignUp", "Confirm an account without its code.", "confirmed")
disable_user = act_on_user(
    "DisableUser", "Disable an account; ends all sessions.", "disabled", ask="Disable {user}, and end all sessions?"
)
enable_user = act_on_user("EnableUser", "Enable an account again.", "enabled")
sign_out_user = act_on_user("SignOutUser", "End all sessions of a user.", "signed out")
reset_user_mfa = act_on_user(
    "ResetUserMfa",
    "Remove a user's second factors; ends all sessions.",
    "second factors removed",
    ask="Remove all second factors of {user}, and end all sessions?",
)
unlock_user = act_on_user("UnlockUser", "Forget a user's wrong passwords and codes.", "unlocked")


@click.command("list-user-sessions")
@paged
@about_user
def list_user_sessions(admin: Admin, *, user: dict[str, str], **pages: Any) -> None:
    """List a user's live sessions, latest sign-in first."""
    admin.list("ListUserSessions", "sessions", **(user | pages))


@click.command("list-auth-events")
@click.argument("user", required=False)
@click.option("--id", "by_id", is_flag=True, help="USER is a user_id, and may be deleted.")
@paged
@connected
def list_auth_events(admin: Admin, *, user: str | None, by_id: bool, **pages: Any) -> None:
    """List what happened to a user's account, or to all, latest first."""
    if by_id and user is None:
        raise click.UsageError("--id needs USER")
    about = {"user_id" if by_id else "username": user} if user else {}
    admin.list("ListAuthEvents", "events", **(about | pages))
