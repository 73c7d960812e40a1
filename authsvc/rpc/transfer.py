"""ImportUsers and ExportUsers: streams to batches and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC

from authsvc.core.fields import refused
from authsvc.core.operators.exports import Exports
from authsvc.core.operators.identity import Operator
from authsvc.core.operators.import_rows import Batch, Unreadable
from authsvc.core.operators.imports import DryRun, ImportOptions, ImportReport, Imports, StoringImport
from authsvc.core.operators.user_records import TotpRecord, UserRecord
from authsvc.domain import FactorKind
from authsvc.rpc.convert import timestamp_or_none
from authsvc.v1 import export_users_pb2, import_users_pb2, user_record_pb2
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.import_users_pb2 import ImportProblem
from authsvc.v1.mfa_type_pb2 import MfaType

# A client takes messages of 4 MiB unless it says otherwise.
RESPONSE_BYTES = 1024 * 1024
_NO_CONTENT = Unreadable("", "REQUIRED", "must hold an account")
_UNKNOWN = Unreadable("", "UNKNOWN", "must have known values of enums, and times of the calendar")
_STATUS, _MFA, _MEDIUM, _NONE = "USER_STATUS_", "MFA_TYPE_", "DELIVERY_MEDIUM_", "UNSPECIFIED"


async def import_users(
    imports: Imports, requests: AsyncIterator[import_users_pb2.ImportUsersRequest], operator: Operator
) -> import_users_pb2.ImportUsersResponse:
    """Begin the import that the first message names, take the batches, tell where it stands.

    Raises:
        InvalidFields: the messages come in another order, or break their rules.
        Conflict: other changes of the same accounts came between again and again.
    """
    running: StoringImport | DryRun | None = None
    async for request in requests:
        part = request.WhichOneof("part")
        if (part == "options") != (running is None):
            description = "must be the options in the first message, and a batch in each other"
            raise refused("part", "ORDER", description)
        if running is None:
            asked = request.options
            options = ImportOptions(
                import_id=asked.import_id, source=asked.source, dry_run=asked.dry_run, create_groups=asked.create_groups
            )
            running = await imports.begin(options, operator)
        else:
            await running.take(Batch(request.batch.first_row, list(map(_row, request.batch.rows))))
    if running is None:
        raise refused("options", "REQUIRED", "must be given")
    return _report(await running.report())


async def export_users(
    exports: Exports, request: export_users_pb2.ExportUsersRequest, operator: Operator
) -> AsyncIterator[export_users_pb2.ExportUsersResponse]:
    """Yield all accounts, in messages of bounded size.

    Raises:
        InvalidFields: after_user_id is no UUID.
    """
    async for page in exports.pages(request.after_user_id, operator, include_secrets=request.include_secrets):
        response = export_users_pb2.ExportUsersResponse()
        size = 0
        for record in page:
            user = to_proto(record)
            if response.users and size + user.ByteSize() > RESPONSE_BYTES:
                yield response
                response, size = export_users_pb2.ExportUsersResponse(), 0
            response.users.append(user)
            size += user.ByteSize()
        yield response


def _row(row: import_users_pb2.ImportRow) -> UserRecord | Unreadable:
    match row.WhichOneof("content"):
        case "user":
            try:
                return from_proto(row.user)
            except ValueError:
                return _UNKNOWN
        case "unreadable":
            told = row.unreadable
            return Unreadable(told.field, told.rule, told.description)
        case _:
            return _NO_CONTENT


def from_proto(user: user_record_pb2.UserRecord) -> UserRecord:
    """Return what a message tells of an account.

    Raises:
        ValueError: a value is one that no enum, or no calendar, has.
    """
    return UserRecord(
        username=user.username,
        user_id=user.user_id,
        status=UserStatus.Name(user.status).removeprefix(_STATUS) if user.status else "",
        disabled=user.disabled,
        attributes=dict(user.attributes),
        email_verified=user.email_verified,
        phone_number_verified=user.phone_number_verified,
        created_at=user.created_at.ToDatetime(UTC) if user.HasField("created_at") else None,
        updated_at=user.updated_at.ToDatetime(UTC) if user.HasField("updated_at") else None,
        factors={
            FactorKind.TOTP: user.totp_mfa or not user.HasField("totp_mfa"),
            FactorKind.SMS: user.sms_mfa,
            FactorKind.EMAIL: user.email_mfa,
        },
        preferred_mfa=MfaType.Name(user.preferred_mfa).removeprefix(_MFA) if user.preferred_mfa else "",
        groups=tuple(user.groups),
        password_hash=user.password_hash,
        password_expires_at=user.password_expires_at.ToDatetime(UTC) if user.HasField("password_expires_at") else None,
        password_recovered_by=(
            DeliveryMedium.Name(user.password_recovered_by).removeprefix(_MEDIUM) if user.password_recovered_by else ""
        ),
        totp_devices=tuple(
            TotpRecord(
                secret=device.secret,
                friendly_name=device.friendly_name,
                verified_at=device.verified_at.ToDatetime(UTC) if device.HasField("verified_at") else None,
            )
            for device in user.totp_devices
        ),
    )


def to_proto(record: UserRecord) -> user_record_pb2.UserRecord:
    """Convert an account; what has its default is left out."""
    return user_record_pb2.UserRecord(
        username=record.username,
        user_id=record.user_id,
        status=UserStatus.Value(_STATUS + record.status),
        disabled=record.disabled,
        attributes=record.attributes,
        email_verified=record.email_verified,
        phone_number_verified=record.phone_number_verified,
        created_at=timestamp_or_none(record.created_at),
        updated_at=timestamp_or_none(record.updated_at),
        totp_mfa=None if record.factors.get(FactorKind.TOTP, True) else False,
        sms_mfa=record.factors.get(FactorKind.SMS, False),
        email_mfa=record.factors.get(FactorKind.EMAIL, False),
        preferred_mfa=MfaType.Value(_MFA + (record.preferred_mfa or _NONE)),
        groups=record.groups,
        password_hash=record.password_hash,
        password_expires_at=timestamp_or_none(record.password_expires_at),
        password_recovered_by=DeliveryMedium.Value(_MEDIUM + (record.password_recovered_by or _NONE)),
        totp_devices=[
            user_record_pb2.TotpRecord(
                secret=device.secret,
                friendly_name=device.friendly_name,
                verified_at=timestamp_or_none(device.verified_at),
            )
            for device in record.totp_devices
        ],
    )


def _report(report: ImportReport) -> import_users_pb2.ImportUsersResponse:
    return import_users_pb2.ImportUsersResponse(
        next_row=report.next_row,
        imported=report.imported,
        duplicates=report.duplicates,
        refused=report.refused,
        problems=[
            ImportProblem(field=each.field, rule=each.rule, description=each.description, rows=each.rows)
            for each in report.problems
        ],
    )
