"""An account as an object of JSON: the names are those of the proto, what has its default is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.import_users_pb2 import UnreadableRow
from authsvc.v1.mfa_type_pb2 import MfaType
from authsvc.v1.user_record_pb2 import TotpRecord, UserRecord

TEXTS = ("username", "user_id", "password_hash")
FLAGS = tuple(field.name for field in UserRecord.DESCRIPTOR.fields if field.type == field.TYPE_BOOL)
TIMES = ("created_at", "updated_at", "password_expires_at")
ENUMS = {
    "status": (UserStatus, "USER_STATUS_"),
    "preferred_mfa": (MfaType, "MFA_TYPE_"),
    "password_recovered_by": (DeliveryMedium, "DELIVERY_MEDIUM_"),
}
# The order in which they are written.
FIELDS = tuple(field.name for field in UserRecord.DESCRIPTOR.fields)


class FormError(ValueError):
    """Say which field of an object is not what it must be, without its value."""

    def __init__(self, description: str, *, rule: str, field: str = "") -> None:
        super().__init__(description)
        self.row = UnreadableRow(field=field[:128], rule=rule, description=description)


def to_record(form: Any) -> UserRecord:
    """Read an account; null is the same as left out.

    Raises:
        FormError: a field is unknown or of another type; whether its value is good is the server's to say.
    """
    _require(isinstance(form, dict), "must be an object")
    given: dict[str, Any] = {name: value for name, value in form.items() if value is not None}
    for name in given:
        _require(name in _READERS, "must be a field of an account", rule="UNKNOWN_FIELD", field=name)
    return UserRecord(**{name: _READERS[name](name, value) for name, value in given.items()})


def to_form(user: UserRecord) -> dict[str, Any]:
    """Return an account as an object, its fields in one order and its attributes by name."""
    form: dict[str, Any] = {name: value for name in TEXTS if (value := getattr(user, name))}
    form |= {field.name: value for field, value in user.ListFields() if field.name in FLAGS}
    form |= {name: _time(getattr(user, name)) for name in TIMES if user.HasField(name)}  # type: ignore[arg-type]  # the stub wants literals
    for name, (enum, prefix) in ENUMS.items():
        if value := getattr(user, name):
            form[name] = enum.Name(value).removeprefix(prefix)
    if user.attributes:
        form["attributes"] = {name: user.attributes[name] for name in sorted(user.attributes)}
    if user.groups:
        form["groups"] = list(user.groups)
    if user.totp_devices:
        form["totp_devices"] = [_device(device) for device in user.totp_devices]
    return {name: form[name] for name in FIELDS if name in form}


def _device(device: TotpRecord) -> dict[str, str]:
    form = {"secret": device.secret}
    if device.friendly_name:
        form["friendly_name"] = device.friendly_name
    if device.HasField("verified_at"):
        form["verified_at"] = _time(device.verified_at)
    return form


def _time(time: Timestamp) -> str:
    return time.ToDatetime(UTC).isoformat().replace("+00:00", "Z")


def _require(holds: bool, description: str, *, rule: str = "TYPE", field: str = "") -> None:
    if not holds:
        raise FormError(description, rule=rule, field=field)


def _reader(holds: Callable[[Any], bool], description: str) -> Callable[[str, Any], Any]:
    """Return what takes the value of a field as it is, if it is of the right type."""

    def read(name: str, value: Any) -> Any:
        _require(holds(value), description, field=name)
        return value

    return read


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


_read_text = _reader(lambda value: isinstance(value, str), "must be text")
_read_flag = _reader(lambda value: isinstance(value, bool), "must be true or false")
_read_attributes = _reader(
    lambda value: isinstance(value, dict) and _are_texts(value.values()), "must be an object of texts"
)
_read_groups = _reader(lambda value: isinstance(value, list) and _are_texts(value), "must be a list of texts")


def _read_time(name: str, value: Any) -> Timestamp:
    time = Timestamp()
    text = _read_text(name, value)
    try:
        read = datetime.fromisoformat(text)
        time.FromDatetime(read)
    except (ValueError, OverflowError) as error:
        raise FormError("must be a time like 2019-05-17T08:30:00Z", rule="TIME", field=name) from error
    _require(read.tzinfo is not None, "must tell its offset from UTC", rule="TIME", field=name)
    return time


def _read_enum(name: str, value: Any) -> int:
    enum, prefix = ENUMS[name]
    text = _read_text(name, value)
    try:
        return int(enum.Value(prefix + text))
    except ValueError as error:
        raise FormError("must be a known value", rule="UNKNOWN", field=name) from error


def _read_devices(name: str, value: Any) -> list[TotpRecord]:
    _require(isinstance(value, list), "must be a list of objects", field=name)
    return [_read_device(f"{name}[{index}]", each) for index, each in enumerate(value)]


def _read_device(name: str, value: Any) -> TotpRecord:
    _require(isinstance(value, Mapping), "must be an object", field=name)
    given = {key: each for key, each in value.items() if each is not None}
    known = given.keys() <= {"secret", "friendly_name", "verified_at"}
    _require(known, "must have secret, friendly_name and verified_at only", rule="UNKNOWN_FIELD", field=name)
    return TotpRecord(
        secret=_read_text(f"{name}.secret", given.get("secret", "")),
        friendly_name=_read_text(f"{name}.friendly_name", given.get("friendly_name", "")),
        verified_at=_read_time(f"{name}.verified_at", given["verified_at"]) if "verified_at" in given else None,
    )


_READERS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(TEXTS, _read_text),
    **dict.fromkeys(FLAGS, _read_flag),
    **dict.fromkeys(TIMES, _read_time),
    **dict.fromkeys(ENUMS, _read_enum),
    "attributes": _read_attributes,
    "groups": _read_groups,
    "totp_devices": _read_devices,
}
