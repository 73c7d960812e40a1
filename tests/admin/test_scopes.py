"""What an operator may do: by the scopes of a key or of a certificate, for every method there is."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from authsvc.core.operators.identity import AdminKeys
from authsvc.domain import AdminScope
from authsvc.rpc.admin_scopes import SCOPES
from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.export_users_pb2 import ExportUsersRequest
from tests.admin.operator import KEY, Operator
from tests.clock import FakeClock
from tests.rpc.every_method import admin_methods
from tests.service import Service, fails

DOCS = (Path(__file__).parents[2] / "docs/admin.md").read_text(encoding="utf-8")
NOISE = b"\xff\xff\xff"
PASSWORD = "Tr0mbone-under-9-lakes"
REFUSALS = "select actor, details from audit_events where kind = 'ADMIN_REFUSED' order by sequence"


async def operator_with(service: Service, admin_keys: AdminKeys, *scopes: AdminScope) -> Operator:
    """Make a key with scopes, and return its holder."""
    made = await admin_keys.create("-".join(scopes), timedelta(days=1), scopes=scopes)
    assert made is not None
    return Operator(service.channel, made[0])


def test_every_method_needs_a_scope() -> None:
    """The table has every method of AdminService, and nothing else; the documentation has the same."""
    assert set(SCOPES) == {str(method).rpartition(".")[2] for method in admin_methods()}
    rows = re.findall(r"^\| `([a-z]+)` \| (.*?)(?:;.*)? \|$", DOCS.partition("| scope | opens |")[2], re.MULTILINE)
    told = {method: scope for scope, methods in rows[:4] for method in methods.split(", ")}
    assert told == dict(SCOPES)


@pytest.mark.parametrize("scope", AdminScope)
async def test_a_key_opens_what_its_scope_says(service: Service, admin_keys: AdminKeys, scope: AdminScope) -> None:
    """A method is open to its scope and to `all`, and what reads is open to each (OWASP ASVS 5.0 V8.2.1)."""
    operator = await operator_with(service, admin_keys, scope)
    for method in admin_methods():
        seen = await method.call(service.channel, NOISE, operator.metadata)
        is_open = scope is AdminScope.ALL or SCOPES[method.descriptor.name] in (AdminScope.READ, scope)
        assert seen == ("INVALID_FIELDS" if is_open else "PERMISSION_DENIED"), method


async def test_a_new_key_can_read_alone(service: Service, admin_keys: AdminKeys) -> None:
    """Who says nothing of scopes gets the least, and the refusal says what is missing."""
    made = await admin_keys.create("least", timedelta(days=1))
    assert made is not None
    operator = Operator(service.channel, made[0])
    await operator.list()
    async with fails("PERMISSION_DENIED") as failures:
        await operator.call("CreateGroup", pb.CreateGroupRequest(name="editors"))
    assert failures[0].code is grpc.StatusCode.PERMISSION_DENIED
    assert failures[0].metadata["scope"] == "users"


async def test_passwords_and_secrets_need_their_scope(service: Service, admin_keys: AdminKeys) -> None:
    """Neither sets a password nor sees a hash who may do all else (OWASP ASVS 5.0 V8.2.2)."""
    others = (AdminScope.READ, AdminScope.SUPPORT, AdminScope.USERS)
    operator = await operator_with(service, admin_keys, *others)
    trusted = await operator_with(service, admin_keys, AdminScope.SECRETS, AdminScope.USERS)
    chosen = pb.CreateUserRequest(username="ada", suppress_invitation=True, temporary_password=PASSWORD)
    export = service.channel.unary_stream(
        "/authsvc.v1.AdminService/ExportUsers",
        request_serializer=ExportUsersRequest.SerializeToString,
        response_deserializer=bytes,
    )
    async with fails("PERMISSION_DENIED") as failures:
        await operator.call("CreateUser", chosen)
    assert failures[0].metadata["scope"] == "secrets"
    await trusted.call("CreateUser", chosen)
    async with fails("PERMISSION_DENIED"):
        await operator.call("SetUserPassword", pb.SetUserPasswordRequest(username="ada", password=PASSWORD))
    async with fails("PERMISSION_DENIED"):
        async for _ in export(ExportUsersRequest(include_secrets=True), metadata=operator.metadata):
            pass
    assert [each async for each in export(ExportUsersRequest(), metadata=operator.metadata)]
    assert [each async for each in export(ExportUsersRequest(include_secrets=True), metadata=trusted.metadata)]


async def test_the_audit_trail_names_key_and_scope(
    service: Service, admin_keys: AdminKeys, database: Database, clock: FakeClock
) -> None:
    """Each change has the operator and the scope that let the call in; refusals have both too, once an hour."""
    operator = await operator_with(service, admin_keys, AdminScope.USERS)
    await operator.call("CreateGroup", pb.CreateGroupRequest(name="editors"))
    made = await database.fetchrow("select actor, details from audit_events where kind = 'ADMIN_CREATE_GROUP'")
    assert made is not None
    assert (made["actor"], made["details"]["scope"]) == ("operator:users", "users")
    created = await database.fetchval("select details from audit_events where kind = 'ADMIN_CREATE_KEY'")
    assert created == {"key": "users", "scopes": "users"}

    async def be_refused() -> None:
        async with fails("PERMISSION_DENIED"):
            await operator.call("UnlockUser", pb.UnlockUserRequest(username="ada"))

    for _ in range(3):
        await be_refused()
    refusals = [(row["actor"], row["details"]) for row in await database.fetch(REFUSALS)]
    assert refusals == [("operator:users", {"scope": "support"})]
    clock.advance(timedelta(hours=1))
    await be_refused()
    assert len(await database.fetch(REFUSALS)) == 2


async def test_keys_made_before_there_were_scopes_open_everything(
    service: Service, admin_keys: AdminKeys, database: Database
) -> None:
    """A row that a former release writes has `all`."""
    operator = await operator_with(service, admin_keys, AdminScope.READ)
    await database.execute(
        "insert into admin_keys (name, digest, created_at, expires_at)"
        " select 'former', digest || '\\x00', created_at, expires_at from admin_keys"
    )
    assert await database.fetchval("select scopes from admin_keys where name = 'former'") == ["all"]
    assert operator.metadata[0][0] == KEY
