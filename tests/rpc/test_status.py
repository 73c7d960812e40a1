"""The one map from domain errors to statuses: complete, and the same as what the protos say."""

import re
from datetime import timedelta
from itertools import product
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from authsvc import errors
from authsvc.errors import DomainError, LimitExceeded, Reason, Violation
from authsvc.rpc.status import CODES, to_status
from authsvc.v1.error_reason_pb2 import ErrorReason

CLASSES = DomainError.__subclasses__()
# Waits around whole milliseconds and seconds, where rounding could go wrong.
WAITS = [
    timedelta(seconds=seconds, microseconds=microseconds)
    for seconds, microseconds in product((0, 1, 59, 899, 86_400), (0, 1, 499, 999, 1_000, 1_001, 999_999))
]


def details(status: Status) -> list[ErrorInfo | BadRequest | RetryInfo]:
    """Unpack the details of a status, in order."""
    return [unpacked(detail) for detail in status.details]


def unpacked(detail: Any) -> ErrorInfo | BadRequest | RetryInfo:
    """Unpack one detail."""
    for kind in (ErrorInfo, BadRequest, RetryInfo):
        message = kind()
        if detail.Unpack(message):
            return message
    raise AssertionError(f"unexpected detail {detail.type_url}")


def test_reasons_are_those_of_the_protos() -> None:
    """The proto enum, the domain's reasons and the map of codes have the same names, none missing, none more."""
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert names - {"UNSPECIFIED"} == set(Reason) == CODES.keys()


def test_each_reason_has_one_domain_error() -> None:
    """Each reason is raised as one class, which lies in the closed set and fixes a text of its own."""
    assert sorted(each.reason for each in CLASSES) == sorted(Reason)
    assert all(each.__module__ == errors.__name__ and not each.__subclasses__() for each in CLASSES)
    assert len({each.text for each in CLASSES}) == len(CLASSES)


def test_no_error_looks_like_success_or_like_a_fault_of_the_transport() -> None:
    """No reason has a status that gRPC itself gives to unknown methods, cancelled calls or errors without a map."""
    strange = {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.CANCELLED}
    assert not strange & set(CODES.values())
    assert [reason for reason, code in CODES.items() if code is grpc.StatusCode.INTERNAL] == [Reason.INTERNAL]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_status_has_code_text_and_one_error_info(error: type[DomainError]) -> None:
    """A status has the code of its reason, the fixed text, and one ErrorInfo with the metadata and the request id."""
    status = to_status(error(metadata={"closed": "true"}), "request-1")
    assert (status.code, status.message) == (CODES[error.reason].value[0], error.text)
    assert details(status) == [
        ErrorInfo(reason=error.reason, domain="authsvc", metadata={"closed": "true", "request_id": "request-1"})
    ]


def test_violations_become_a_bad_request() -> None:
    """Each violation is told by its field, its rule and its sentence, in order."""
    violations = (Violation("username", "REQUIRED", "must not be empty"), Violation('attributes["x"]', "RULE", "must"))
    _, bad = details(to_status(errors.InvalidFields(violations=violations), "id"))
    assert bad == BadRequest(
        field_violations=[
            BadRequest.FieldViolation(field="username", reason="REQUIRED", description="must not be empty"),
            BadRequest.FieldViolation(field='attributes["x"]', reason="RULE", description="must"),
        ]
    )


@pytest.mark.parametrize("wait", WAITS, ids=str)
def test_retry_info_is_never_earlier_than_the_unlock(wait: timedelta) -> None:
    """Who waits as long as RetryInfo says waits until the unlock, and at most a millisecond more."""
    _, retry = details(to_status(LimitExceeded(retry_after=wait), "id"))
    assert isinstance(retry, RetryInfo)
    told = retry.retry_delay.ToTimedelta()
    assert wait < told <= wait + timedelta(milliseconds=1)


def test_request_id_cannot_be_overwritten_by_metadata() -> None:
    """The request id of a status is that of its call, whatever the error carries."""
    info, *_ = details(to_status(LimitExceeded(metadata={"request_id": "another"}), "id"))
    assert isinstance(info, ErrorInfo)
    assert info.metadata["request_id"] == "id"


def test_protos_name_the_status_of_each_reason() -> None:
    """The comment of each reason begins with the status that the map gives it, and tells of details that come along."""
    proto = Path(__file__).resolve().parents[2] / "protos" / "authsvc" / "v1" / "error_reason.proto"
    told = re.findall(r"  // ([A-Z_]+)(?: with \w+)?: .*\n(?:  // .*\n)*  ERROR_REASON_(\w+) = ", proto.read_text())
    assert {name: code for code, name in told} == {reason: code.name for reason, code in CODES.items()}
