"""Commands about the passwords, factors and sessions of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from authsvc.cli.admin.options import about_user, confirmed, connected, paged, secret

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin


@click.command("set-user-password")
@click.option("--temporary", is_flag=True, help="The user has to change it at the next sign-in.")
@click.option("--password-stdin", "from_stdin", is_flag=True, help="Read the password from standard input.")
@connected
@about_user
def set_user_password(admin: Admin, user: dict[str, str], temporary: bool, from_stdin: bool) -> None:
    """Set a user's password; ends all sessions."""
    password = secret("Password", from_stdin=from_stdin)
    admin.show.done(admin.call("SetUserPassword", password=password, temporary=temporary, **user), "password set")


@click.command("reset-user-password")
@connected
@about_user
@confirmed("End all sessions of {user}, and have a new password set?")
def reset_user_password(admin: Admin, user: dict[str, str]) -> None:
    """Have a user set a new password with a mailed code; ends all sessions."""
    admin.show.delivery(admin.call("ResetUserPassword", **user))


@click.command("confirm-sign-up")
@connected
@about_user
def confirm_sign_up(admin: Admin, user: dict[str, str]) -> None:
    """Confirm an account without its code."""
    admin.show.done(admin.call("ConfirmSignUp", **user), "confirmed")


@click.command("disable-user")
@connected
@about_user
@confirmed("Disable {user}, and end all sessions?")
def disable_user(admin: Admin, user: dict[str, str]) -> None:
    """Disable an account; ends all sessions."""
    admin.show.done(admin.call("DisableUser", **user), "disabled")


@click.command("enable-user")
@connected
@about_user
def enable_user(admin: Admin, user: dict[str, str]) -> None:
    """Enable an account again."""
    admin.show.done(admin.call("EnableUser", **user), "enabled")


@click.command("sign-out-user")
@connected
@about_user
def sign_out_user(admin: Admin, user: dict[str, str]) -> None:
    """End all sessions of a user."""
    admin.show.done(admin.call("SignOutUser", **user), "signed out")


@click.command("reset-user-mfa")
@connected
@about_user
@confirmed("Remove all second factors of {user}, and end all sessions?")
def reset_user_mfa(admin: Admin, user: dict[str, str]) -> None:
    """Remove a user's second factors; ends all sessions."""
    admin.show.done(admin.call("ResetUserMfa", **user), "second factors removed")


@click.command("unlock-user")
@connected
@about_user
def unlock_user(admin: Admin, user: dict[str, str]) -> None:
    """Forget a user's wrong passwords and codes."""
    admin.show.done(admin.call("UnlockUser", **user), "unlocked")


@click.command("list-user-sessions")
@paged
@connected
@about_user
def list_user_sessions(
    admin: Admin, user: dict[str, str], everything: bool, page_size: int | None, page_token: str
) -> None:
    """List a user's live sessions, latest sign-in first."""
    found = admin.pages(
        "ListUserSessions", "sessions", everything=everything, page_size=page_size, page_token=page_token, **user
    )
    admin.show.sessions(found)


@click.command("list-auth-events")
@click.argument("user", required=False)
@click.option("--id", "by_id", is_flag=True, help="USER is a user_id, and may be deleted.")
@paged
@connected
def list_auth_events(
    admin: Admin, user: str | None, by_id: bool, everything: bool, page_size: int | None, page_token: str
) -> None:
    """List what happened to a user's account, or to all, latest first."""
    if by_id and user is None:
        raise click.UsageError("--id needs USER")
    found = admin.pages(
        "ListAuthEvents",
        "events",
        everything=everything,
        page_size=page_size,
        page_token=page_token,
        **({"user_id" if by_id else "username": user} if user else {}),
    )
    admin.show.events(found)


COMMANDS = (
    set_user_password,
    reset_user_password,
    confirm_sign_up,
    disable_user,
    enable_user,
    sign_out_user,
    reset_user_mfa,
    unlock_user,
    list_user_sessions,
    list_auth_events,
)
