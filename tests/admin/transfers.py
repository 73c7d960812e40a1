"""Imports and exports as an operator makes them."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.export_users_pb2 import ExportUsersRequest
from authsvc.v1.import_users_pb2 import (
    ImportBatch,
    ImportOptions,
    ImportProblem,
    ImportRow,
    ImportUsersRequest,
    ImportUsersResponse,
    UnreadableRow,
)
from authsvc.v1.user_record_pb2 import TotpRecord, UserRecord
from tests.admin.operator import Operator

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
MADE = datetime(2019, 5, 17, 8, 30, 0, 123456, UTC)


def stamp(time: datetime) -> Timestamp:
    """Return a time as protos have it."""
    made = Timestamp()
    made.FromDatetime(time)
    return made


def record(username: str = "ada", **fields: Any) -> UserRecord:
    """Return an account with a verified address."""
    fields.setdefault("attributes", {"email": f"{re.sub(r'[^a-z0-9]', 'x', username.lower()) or 'x'}@example.com"})
    fields.setdefault("email_verified", True)
    return UserRecord(username=username, **fields)


def whole(username: str = "Ada", **fields: Any) -> UserRecord:
    """Return an account that tells all that can be told."""
    return record(
        username,
        **{
            "user_id": "0b2e3f5c-8d1a-4c55-9d7e-2f6a4b8c1d3e",
            "status": UserStatus.USER_STATUS_CONFIRMED,
            "attributes": {
                "email": f"{username.lower()}@example.com",
                "name": "Ada L.",
                "phone_number": "+14155550123",
            },
            "phone_number_verified": True,
            "created_at": stamp(MADE),
            "updated_at": stamp(MADE),
            "sms_mfa": True,
            "groups": ["admins", "staff"],
            "password_hash": "$pbkdf2-sha256$i=10$c2FsdA$" + base64.b64encode(bytes(32)).decode().rstrip("="),
            "totp_devices": [TotpRecord(secret=SECRET, friendly_name="Phone", verified_at=stamp(MADE))],
            **fields,
        },
    )


def options(import_id: str = "first", **fields: Any) -> ImportUsersRequest:
    """Return the first message."""
    return ImportUsersRequest(options=ImportOptions(import_id=import_id, **fields))


def batch(rows: Sequence[UserRecord | UnreadableRow], first_row: int = 1) -> ImportUsersRequest:
    """Return a message with rows."""
    return ImportUsersRequest(
        batch=ImportBatch(
            first_row=first_row,
            rows=[ImportRow(user=row) if isinstance(row, UserRecord) else ImportRow(unreadable=row) for row in rows],
        )
    )


async def send(operator: Operator, *messages: ImportUsersRequest) -> ImportUsersResponse:
    """Send the messages of an import."""

    async def sent() -> AsyncIterator[ImportUsersRequest]:
        for message in messages:
            yield message

    response: ImportUsersResponse = await operator.stub.ImportUsers(sent(), metadata=operator.metadata)
    return response


async def import_rows(
    operator: Operator, *rows: UserRecord | UnreadableRow, import_id: str = "first", **fields: Any
) -> ImportUsersResponse:
    """Import rows in one batch."""
    return await send(operator, options(import_id, **fields), batch(rows))


async def export(operator: Operator, *, include_secrets: bool = True, after_user_id: str = "") -> list[UserRecord]:
    """Return all accounts."""
    request = ExportUsersRequest(include_secrets=include_secrets, after_user_id=after_user_id)
    return [
        user
        async for response in operator.stub.ExportUsers(request, metadata=operator.metadata)
        for user in response.users
    ]


def told(problems: Sequence[ImportProblem]) -> list[tuple[str, str, list[int]]]:
    """Return what is wrong with which rows."""
    return [(problem.field, problem.rule, list(problem.rows)) for problem in problems]
