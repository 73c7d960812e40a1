"""Groups, and their names in tokens."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from tests.admin.operator import Operator
from tests.rpc.calls import refresh
from tests.service import Service, fails


def groups_in(tokens: Tokens) -> list[str]:
    """Return the groups in both tokens, which must be the same."""
    access, identity = (
        jwt.decode(token, options={"verify_signature": False})["groups"]
        for token in (tokens.access_token, tokens.id_token)
    )
    assert access == identity
    groups: list[str] = access
    return groups


async def make(operator: Operator, name: str, precedence: int | None = None, **fields: Any) -> None:
    """Make a group."""
    await operator.call("CreateGroup", pb.CreateGroupRequest(name=name, precedence=precedence, **fields))


async def add(operator: Operator, group: str, username: str = "ada") -> None:
    """Put a user into a group."""
    await operator.call("AddUserToGroup", pb.AddUserToGroupRequest(username=username, group=group))


async def remove(operator: Operator, group: str, username: str = "ada") -> None:
    """Take a user out of a group."""
    await operator.call("RemoveUserFromGroup", pb.RemoveUserFromGroupRequest(username=username, group=group))


async def test_tokens_carry_groups_by_precedence_then_name(service: Service, operator: Operator) -> None:
    """A sign-in's tokens have the names in order, those without a precedence last; so has the list, and GetUser."""
    ada = await service.enrolled()
    assert groups_in(ada.tokens) == []
    for name, precedence in (("b", None), ("a", None), ("B", None), ("late", 7), ("first", 0), ("c", 7)):
        await make(operator, name, precedence)
        await add(operator, name)
        await add(operator, name)
    wanted = ["first", "c", "late", "B", "a", "b"]
    assert groups_in(await service.sign_in_fully(ada)) == wanted
    listed = await operator.call("ListGroupsForUser", pb.ListGroupsForUserRequest(username="ada"))
    assert [group.name for group in listed.groups] == wanted
    assert [group.HasField("precedence") for group in listed.groups] == [True] * 3 + [False] * 3
    assert list((await operator.get()).groups) == wanted


@pytest.mark.parametrize("way", ["removed", "deleted"])
async def test_a_group_is_lost_at_the_next_refresh(service: Service, operator: Operator, way: str) -> None:
    """Who is taken out of a group, or whose group is deleted, refreshes to tokens without it."""
    ada = await service.enrolled()
    await make(operator, "editors")
    await add(operator, "editors")
    tokens = await refresh(service, ada.tokens.refresh_token)
    assert groups_in(tokens) == ["editors"]
    if way == "removed":
        await remove(operator, "editors")
        await remove(operator, "editors")
    else:
        await operator.call("DeleteGroup", pb.DeleteGroupRequest(name="editors"))
    assert groups_in(await refresh(service, tokens.refresh_token)) == []


async def test_a_group_is_kept_as_it_was_made(operator: Operator) -> None:
    """A group is told with its description and precedence; its name is taken, and in other letters another's."""
    await make(operator, "editors", 3, description="They edit.")
    found = (await operator.call("GetGroup", pb.GetGroupRequest(name="editors"))).group
    assert (found.name, found.description, found.precedence) == ("editors", "They edit.", 3)
    async with fails("GROUP_EXISTS"):
        await make(operator, "editors")
    await make(operator, "Editors")
    # One name, written with one character and with two.
    await make(operator, "\u00e9quipe")
    async with fails("GROUP_EXISTS"):
        await make(operator, "e\u0301quipe")


async def test_groups_are_listed_by_name_page_by_page(operator: Operator) -> None:
    """Groups come by the code points of their names; pages go on behind the last name, whatever is made or deleted."""
    for name in ("b", "a", "Z", "é", "c"):
        await make(operator, name)
    first = await operator.call("ListGroups", pb.ListGroupsRequest(page_size=2))
    assert [group.name for group in first.groups] == ["Z", "a"]

    await operator.call("DeleteGroup", pb.DeleteGroupRequest(name="a"))
    await make(operator, "aa")
    await make(operator, "A")
    rest = await operator.call("ListGroups", pb.ListGroupsRequest(page_size=5, page_token=first.next_page_token))
    assert ([group.name for group in rest.groups], rest.next_page_token) == (["aa", "b", "c", "é"], "")
    everything = await operator.call("ListGroups", pb.ListGroupsRequest())
    assert [group.name for group in everything.groups] == ["A", "Z", "aa", "b", "c", "é"]


async def test_a_group_that_is_not_there_is_told(service: Service, operator: Operator) -> None:
    """Every method that names a group tells that there is none."""
    await service.confirmed("ada")
    for call in (
        operator.call("GetGroup", pb.GetGroupRequest(name="x")),
        operator.call("DeleteGroup", pb.DeleteGroupRequest(name="x")),
        add(operator, "x"),
        remove(operator, "x"),
        operator.call("ListUsersInGroup", pb.ListUsersInGroupRequest(group="x")),
    ):
        async with fails("GROUP_NOT_FOUND"):
            await call


@pytest.mark.parametrize(
    ("fields", "violation"),
    [
        ({"name": ""}, ("name", "REQUIRED")),
        ({"name": "x" * 129}, ("name", "LENGTH")),
        ({"name": "two words"}, ("name", "CHARACTERS")),
        ({"name": "x\u200b"}, ("name", "CHARACTERS")),
        ({"name": "x", "precedence": -1}, ("precedence", "RANGE")),
        ({"name": "x", "description": "y" * 2049}, ("description", "TEXT")),
    ],
)
async def test_what_is_no_group_is_told(operator: Operator, fields: dict[str, Any], violation: tuple[str, str]) -> None:
    """A group that breaks a rule is not made."""
    async with fails("INVALID_FIELDS") as failures:
        await operator.call("CreateGroup", pb.CreateGroupRequest(**fields))
    assert failures[0].violations == [violation]
    assert not (await operator.call("ListGroups", pb.ListGroupsRequest())).groups


async def test_members_are_listed_and_go_with_their_account(service: Service, operator: Operator) -> None:
    """A group's users come in pages by id; a deleted user is in none."""
    await make(operator, "editors")
    ids = []
    for name in ("ada", "bob", "eve"):
        ids.append((await service.sign_up(name)).user_id)
        await add(operator, "editors", name)
    pages, token = [], ""
    for _ in range(3):
        request = pb.ListUsersInGroupRequest(group="editors", page_size=1, page_token=token)
        page = await operator.call("ListUsersInGroup", request)
        pages += [user.user_id for user in page.users]
        token = page.next_page_token
    assert (pages, token) == (sorted(ids), "")
    await operator.call("DeleteUser", pb.AdminServiceDeleteUserRequest(username="bob"))
    left = await operator.call("ListUsersInGroup", pb.ListUsersInGroupRequest(group="editors"))
    assert {user.username for user in left.users} == {"ada", "eve"}
