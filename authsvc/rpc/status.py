"""The one map from domain errors to gRPC statuses (AIP-193, google.rpc.Status)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from authsvc.errors import DomainError, Reason

DOMAIN = "authsvc"
REQUEST_ID = "authsvc-request-id"
STATUS_DETAILS = "grpc-status-details-bin"

CODES: Final = {
    Reason.INVALID_FIELDS: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.USERNAME_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.INVALID_PASSWORD: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CODE_MISMATCH: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.CODE_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.CODE_ALREADY_USED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_AUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_REVOKED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.TOKEN_INVALID: grpc.StatusCode.UNAUTHENTICATED,
    Reason.USER_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.USER_DISABLED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.SESSION_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.REFRESH_TOKEN_REUSED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.REAUTHENTICATION_REQUIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.MFA_REQUIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.MFA_NOT_ENROLLED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOTP_DEVICE_LIMIT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.LIMIT_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.OVERLOADED: grpc.StatusCode.UNAVAILABLE,
    Reason.DATABASE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.CONFLICT: grpc.StatusCode.ABORTED,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.HOOK_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.EMAIL_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.GROUP_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Reason.GROUP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.MAIL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
}


def to_status(error: DomainError, request_id: str) -> Status:
    """Return the status of an error: one ErrorInfo, and what else the error has to tell."""
    status = Status(code=CODES[error.reason].value[0], message=error.text)
    status.details.add().Pack(
        ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={**error.metadata, "request_id": request_id})
    )
    if error.violations:
        told = [
            BadRequest.FieldViolation(field=broken.field, reason=broken.rule, description=broken.description)
            for broken in error.violations
        ]
        status.details.add().Pack(BadRequest(field_violations=told))
    if error.retry_after is not None:
        status.details.add().Pack(RetryInfo(retry_delay=_rounded_up(error.retry_after)))
    return status


async def abort(context: grpc.aio.ServicerContext[object, object], error: DomainError, request_id: str) -> NoReturn:
    """End a call with the status of an error; does not return."""
    status = to_status(error, request_id)
    await context.abort(
        CODES[error.reason], status.message, ((STATUS_DETAILS, status.SerializeToString()), (REQUEST_ID, request_id))
    )


def _rounded_up(wait: timedelta) -> Duration:
    # Never earlier than the real unlock: whole milliseconds, and one more.
    milliseconds = wait // timedelta(milliseconds=1) + 1
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
