"""What operators do, against what users do at the same moment, on two servers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from authsvc.v1 import admin_service_pb2 as pb
from tests.admin.operator import Operator
from tests.client import at_once, reasons, succeeded
from tests.races.conftest import Arena
from tests.races.gate import USER, gate
from tests.races.operators import operators
from tests.service import PASSWORD, fails

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAYS = 16
ENDING: dict[str, tuple[type, dict[str, Any]]] = {
    "DisableUser": (pb.DisableUserRequest, {}),
    "SignOutUser": (pb.SignOutUserRequest, {}),
    "ResetUserMfa": (pb.ResetUserMfaRequest, {}),
    "ResetUserPassword": (pb.ResetUserPasswordRequest, {}),
    "SetUserPassword": (pb.SetUserPasswordRequest, {"password": f"{PASSWORD}-new"}),
    "DeleteUser": (pb.AdminServiceDeleteUserRequest, {}),
}


@pytest.mark.parametrize("method", ENDING)
async def test_an_end_against_sign_ins_and_refreshes(arena: Arena, name: str, method: str) -> None:
    """Sign-ins finish and sessions are refreshed while an operator ends them: nothing that comes of it lives."""
    user = await arena.client.enrolled(name)
    devices = [user.authenticator, *[await arena.client.add_authenticator(user.tokens) for _ in range(3)]]
    started = [(await arena.client.sign_in(name)).session for _ in devices]
    codes = [await device.code() for device in devices]
    request, fields = ENDING[method]
    async with (
        operators(arena, name) as (_, operator),
        gate(arena.dsn, USER, name) as closed,
        asyncio.TaskGroup() as tasks,
    ):
        finishing = tasks.create_task(
            arena.race(len(devices), lambda client, number: client.answer(started[number], codes[number]))
        )
        refreshing = tasks.create_task(at_once([arena.client.refresh(user.tokens.refresh_token)]))
        tasks.create_task(operator.call(method, request(username=name, **fields)))
        await closed.open_for(len(devices) + 2)
    done, refreshed = finishing.result(), refreshing.result()
    # An authenticator that is gone accepts no step, like one that has accepted it.
    assert set(reasons(done)) <= {"SESSION_EXPIRED", "USER_DISABLED", "CODE_MISMATCH", "CODE_ALREADY_USED"}
    assert set(reasons(refreshed)) <= {"TOKEN_REVOKED", "TOKEN_INVALID", "USER_DISABLED"}
    for tokens in [user.tokens, *(each.tokens for each in succeeded(done)), *succeeded(refreshed)]:
        assert not await arena.client.is_signed_in(tokens)


async def call_all(both: tuple[Operator, Operator], calls: list[tuple[str, Any]]) -> list[Any]:
    """Make calls at once, half of them to each server, and return what came of each."""
    return await at_once([both[number % 2].call(*call) for number, call in enumerate(calls)])


async def test_one_name_made_many_times_at_once(arena: Arena, name: str) -> None:
    """Of sixteen operators who make the same user, and of sixteen who make the same group, one does."""
    user = pb.CreateUserRequest(username=name, attributes={"email": f"{name}@example.com"})
    group = pb.CreateGroupRequest(name=name)
    async with operators(arena, name) as both:
        for call, reason in ((("CreateUser", user), "USERNAME_EXISTS"), (("CreateGroup", group), "GROUP_EXISTS")):
            made = await call_all(both, [call] * WAYS)
            assert len(succeeded(made)) == 1
            assert reasons(made) == [reason] * (WAYS - 1)


async def test_one_address_verified_for_many_at_once(arena: Arena, name: str) -> None:
    """Of sixteen users made at once with one verified address, one has it, and the others are not made."""
    requests = [
        pb.CreateUserRequest(
            username=f"{name}-{number}", attributes={"email": f"{name}@example.com"}, email_verified=True
        )
        for number in range(WAYS)
    ]
    async with operators(arena, name) as both:
        made = await call_all(both, [("CreateUser", request) for request in requests])
        listed = await both[0].list(username_prefix=f"{name}-")
    assert len(succeeded(made)) == len(listed.users) == 1
    assert reasons(made) == ["EMAIL_EXISTS"] * (WAYS - 1)


async def test_a_group_goes_while_users_come(arena: Arena, name: str) -> None:
    """A group is deleted while users are put into it: each call succeeds or finds none, and nobody is left in it."""
    users = [f"{name}{letter}" for letter in "abcdefgh"]
    async with operators(arena, name) as both:
        for username in users:
            await both[0].create(username)
        await both[0].call("CreateGroup", pb.CreateGroupRequest(name=name))
        adding = [("AddUserToGroup", pb.AddUserToGroupRequest(username=each, group=name)) for each in users]
        outcomes = await call_all(both, [*adding, ("DeleteGroup", pb.DeleteGroupRequest(name=name)), *adding])
        assert set(reasons(outcomes)) <= {"GROUP_NOT_FOUND"}
        for username in users:
            assert not (await both[1].get(username)).groups
        async with fails("GROUP_NOT_FOUND"):
            await both[1].call("GetGroup", pb.GetGroupRequest(name=name))


async def test_changes_of_one_users_attributes_at_once(arena: Arena, name: str) -> None:
    """Sixteen changes of different attributes of one user at once are all there afterwards."""
    names = ["name", "nickname", "given_name", "family_name", "middle_name", "gender", "profile", "website"]
    wanted = {each: f"https://{each}.example" for each in names}
    request = pb.AdminServiceUpdateUserAttributesRequest
    calls = [("UpdateUserAttributes", request(username=name, attributes={each: wanted[each]})) for each in names]
    async with operators(arena, name) as both:
        await both[0].create(name)
        assert reasons(await call_all(both, calls * 2)) == []
        seen = await both[0].get(name)
    assert {each: seen.attributes[each] for each in names} == wanted
