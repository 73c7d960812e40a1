"""Commands about groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.admin.options import about_user, act_on_user, confirmed, connected, paged

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin


@click.command("create-group")
@click.argument("name")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("--precedence", type=click.IntRange(0, 2**31 - 1), help="Its place in tokens: lower ones come first.")
@connected
def create_group(admin: Admin, *, name: str, description: str, precedence: int | None) -> None:
    """Make a group."""
    response = admin.call("CreateGroup", name=name, description=description, precedence=precedence)
    admin.show.entry(response, "group")


@click.command("get-group")
@click.argument("name")
@connected
def get_group(admin: Admin, name: str) -> None:
    """Show one group."""
    admin.show.entry(admin.call("GetGroup", name=name), "group")


@click.command("list-groups")
@paged
@connected
def list_groups(admin: Admin, **pages: Any) -> None:
    """List groups by name."""
    admin.list("ListGroups", "groups", **pages)


@click.command("delete-group")
@click.argument("name")
@connected
@confirmed("Delete the group {name}?")
def delete_group(admin: Admin, name: str) -> None:
    """Delete a group; its users stay."""
    admin.show.done(admin.call("DeleteGroup", name=name), "deleted")


add_user_to_group = act_on_user("AddUserToGroup", "Put a user into a group.", "added", argument="group")
remove_user_from_group = act_on_user("RemoveUserFromGroup", "Take a user out of a group.", "removed", argument="group")


@click.command("list-groups-for-user")
@about_user
def list_groups_for_user(admin: Admin, user: dict[str, str]) -> None:
    """List a user's groups in the order of tokens."""
    admin.show.entries(admin.call("ListGroupsForUser", **user), "groups")


@click.command("list-users-in-group")
@click.argument("group")
@paged
@connected
def list_users_in_group(admin: Admin, *, group: str, **pages: Any) -> None:
    """List the users in a group by user_id."""
    admin.list("ListUsersInGroup", "users", group=group, **pages)
