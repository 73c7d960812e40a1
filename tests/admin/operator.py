"""An operator: AdminService with a key in every call, one line for each thing to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc

from authsvc.clock import Clock
from authsvc.config import Settings
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing, parse_master_keys
from authsvc.domain import AdminScope
from authsvc.store.db import Database
from authsvc.v1 import admin_service_pb2 as pb
from authsvc.v1.admin_service_pb2_grpc import AdminServiceStub
from authsvc.v1.user_pb2 import User

if TYPE_CHECKING:
    from authsvc.v1.admin_service_pb2_grpc import AdminServiceAsyncStub

KEY = "authsvc-admin-key"
TEMPORARY = "Borrowed-7-lanterns-tonight"


class Operator:
    """Call AdminService."""

    def __init__(self, channel: grpc.aio.Channel, key: str) -> None:
        self.stub: AdminServiceAsyncStub = AdminServiceStub(channel)
        self.metadata = [(KEY, key)]

    async def call(self, method: str, request: Any) -> Any:
        """Call a method by its name."""
        return await getattr(self.stub, method)(request, metadata=self.metadata)

    async def create(self, username: str = "ada", **fields: Any) -> User:
        """Make an account with an address; an invitation is mailed unless the fields say otherwise."""
        fields.setdefault("attributes", {"email": f"{username}@example.com"})
        request = pb.CreateUserRequest(username=username, **fields)
        response: pb.CreateUserResponse = await self.call("CreateUser", request)
        return response.user

    async def get(self, username: str = "ada") -> User:
        """Return one account."""
        response: pb.GetUserResponse = await self.call("GetUser", pb.GetUserRequest(username=username))
        return response.user

    async def update(self, username: str = "ada", **fields: Any) -> User:
        """Change attributes."""
        request = pb.AdminServiceUpdateUserAttributesRequest(username=username, **fields)
        response: pb.AdminServiceUpdateUserAttributesResponse = await self.call("UpdateUserAttributes", request)
        return response.user

    async def list(self, **fields: Any) -> pb.ListUsersResponse:
        """Return a page of accounts."""
        response: pb.ListUsersResponse = await self.call("ListUsers", pb.ListUsersRequest(**fields))
        return response

    async def all_names(self, **fields: Any) -> Sequence[str]:
        """Return the usernames of all pages of a list."""
        names: list[str] = []
        token = ""
        while True:
            page = await self.list(**fields, page_token=token)
            names += [user.username for user in page.users]
            token = page.next_page_token
            if not token:
                return names


async def new_key(settings: Settings, clock: Clock, name: str, life: timedelta) -> str:
    """Make an admin key for a service with these settings, as the command line does."""
    ring = KeyRing(keys=parse_master_keys(settings.keys.master.get_secret_value()))
    database = await Database.open(settings.database, size=2)
    try:
        made = await AdminKeys(
            database=database, ring=ring, audit=Audit(database=database, ring=ring, clock=clock), clock=clock
        ).create(name, life, scopes=[AdminScope.ALL])
    finally:
        await database.close()
    assert made is not None
    return made[0]


async def events_of(database: Database, user: User | str) -> list[tuple[str, str, str]]:
    """Return what operators did to a user: kind, actor and result of each event, oldest first."""
    rows = await database.fetch(
        "select kind, actor, result from audit_events where user_id = $1 and kind like 'ADMIN_%' order by sequence",
        UUID(user if isinstance(user, str) else user.user_id),
    )
    return [(row["kind"], row["actor"], row["result"]) for row in rows]
