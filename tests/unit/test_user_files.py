"""Files of accounts: what is written is read again, and what can't be read is one bad row in its place."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from authsvc.cli.admin.user_files import COLUMNS, Format, read_rows, writer
from authsvc.cli.admin.user_form import FormError, to_form, to_record
from authsvc.v1.auth_service_pb2 import UserStatus
from authsvc.v1.code_delivery_pb2 import DeliveryMedium
from authsvc.v1.import_users_pb2 import UnreadableRow
from authsvc.v1.mfa_type_pb2 import MfaType
from authsvc.v1.user_record_pb2 import TotpRecord, UserRecord

OWN = (Format.JSONL, Format.CSV)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def stamp(time: datetime) -> Timestamp:
    """Return a time as protos have it."""
    made = Timestamp()
    made.FromDatetime(time)
    return made


TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(stamp)  # noqa: DTZ001  # bounds
DEVICES = st.builds(TotpRecord, secret=TEXTS, friendly_name=TEXTS, verified_at=st.none() | TIMES)
RECORDS = st.builds(
    UserRecord,
    username=TEXTS,
    user_id=TEXTS,
    status=st.sampled_from(UserStatus.values()),
    disabled=st.booleans(),
    attributes=st.dictionaries(st.sampled_from(["email", "name", "locale", "custom:x", "shoe"]), TEXTS, max_size=4),
    email_verified=st.booleans(),
    phone_number_verified=st.booleans(),
    created_at=st.none() | TIMES,
    updated_at=st.none() | TIMES,
    totp_mfa=st.none() | st.booleans(),
    sms_mfa=st.booleans(),
    email_mfa=st.booleans(),
    preferred_mfa=st.sampled_from(MfaType.values()),
    groups=st.lists(TEXTS, max_size=3),
    password_hash=TEXTS,
    password_expires_at=st.none() | TIMES,
    password_recovered_by=st.sampled_from(DeliveryMedium.values()),
    totp_devices=st.lists(DEVICES, max_size=3),
)


def read(text: str, kind: Format = Format.JSONL) -> list[UserRecord | UnreadableRow]:
    """Read the rows of a text."""
    return list(read_rows(io.StringIO(text, newline=""), kind))


@pytest.mark.parametrize("kind", OWN)
@given(records=st.lists(RECORDS, max_size=4))
def test_what_is_written_is_read_again(kind: Format, records: list[UserRecord]) -> None:
    """Any accounts, with any texts in them, survive a file of either kind."""
    file = io.StringIO(newline="")
    rows = writer(file, kind)
    for record in records:
        rows.write(record)
    assert read(file.getvalue(), kind) == records


@pytest.mark.parametrize("kind", OWN)
@given(record=RECORDS)
def test_one_account_is_written_in_one_way(kind: Format, record: UserRecord) -> None:
    """The order in which attributes were put in makes no difference to what is written."""
    other = UserRecord()
    other.CopyFrom(record)
    other.ClearField("attributes")
    for name in reversed(list(record.attributes)):
        other.attributes[name] = record.attributes[name]
    texts = []
    for each in (record, other):
        file = io.StringIO(newline="")
        writer(file, kind).write(each)
        texts.append(file.getvalue())
    assert texts[0] == texts[1]


def test_every_field_has_a_place() -> None:
    """Files have every field of the proto, and no other."""
    names = {field.name for field in UserRecord.DESCRIPTOR.fields}
    for name in names:
        with pytest.raises(FormError) as refused:
            to_record({name: object()})
        assert refused.value.row.rule != "UNKNOWN_FIELD"
    assert names - {"attributes"} <= set(COLUMNS)


@pytest.mark.parametrize(
    ("form", "field", "rule"),
    [
        ([], "", "TYPE"),
        ("ada", "", "TYPE"),
        ({"user": "ada"}, "user", "UNKNOWN_FIELD"),
        ({"username": 1}, "username", "TYPE"),
        ({"disabled": "yes"}, "disabled", "TYPE"),
        ({"created_at": 1_500_000_000}, "created_at", "TYPE"),
        ({"created_at": "yesterday"}, "created_at", "TIME"),
        ({"created_at": "2019-05-17T08:30:00"}, "created_at", "TIME"),
        ({"status": "ARCHIVED"}, "status", "UNKNOWN"),
        ({"preferred_mfa": 1}, "preferred_mfa", "TYPE"),
        ({"attributes": {"name": 1}}, "attributes", "TYPE"),
        ({"attributes": ["name"]}, "attributes", "TYPE"),
        ({"groups": "staff"}, "groups", "TYPE"),
        ({"groups": [1]}, "groups", "TYPE"),
        ({"totp_devices": "JBSW"}, "totp_devices", "TYPE"),
        ({"totp_devices": ["JBSW"]}, "totp_devices[0]", "TYPE"),
        ({"totp_devices": [{"secret": "A", "seed": "B"}]}, "totp_devices[0]", "UNKNOWN_FIELD"),
        ({"totp_devices": [{"secret": 1}]}, "totp_devices[0].secret", "TYPE"),
        ({"totp_devices": [{}, {"verified_at": "now"}]}, "totp_devices[1].verified_at", "TIME"),
    ],
)
def test_what_is_wrong_with_an_object_is_told(form: Any, field: str, rule: str) -> None:
    """A field of another type, or none of the form, is named with the rule, and the value is not repeated."""
    with pytest.raises(FormError) as refused:
        to_record(form)
    assert (refused.value.row.field, refused.value.row.rule) == (field, rule)


def test_null_is_left_out() -> None:
    """Null says nothing, as if the field were not there."""
    assert to_record({"username": "ada", "groups": None, "created_at": None}) == UserRecord(username="ada")


def test_time_is_read_with_any_offset_and_written_in_utc() -> None:
    """Times with an offset are the same moment in UTC, to the microsecond."""
    record = to_record({"created_at": "2019-05-17T10:30:00.000001+02:00"})
    assert to_form(record) == {"created_at": "2019-05-17T08:30:00.000001Z"}


def test_bad_lines_are_bad_rows() -> None:
    """Each line that is no object is one bad row; the rows around it keep their places, and empty lines don't count."""
    content = (
        b'{"username":"ada"}\n\n{"username":\n\xff\xfe\n{"username":"gr\xff"}\n[[['
        + b"[" * 100_000
        + b'\n{"username":"grace"}\n'
    )
    rows = read(content.decode(errors="surrogateescape"))
    assert [row.rule if isinstance(row, UnreadableRow) else row.username for row in rows] == [
        "ada",
        "JSON",
        "JSON",
        "UTF8",
        "JSON",
        "grace",
    ]


def test_bad_rows_of_csv_are_bad_rows() -> None:
    """Rows with too few or too many cells, or without JSON where JSON is due, are bad rows in their places."""
    rows = read(
        "username,email_verified,groups,totp_devices,attributes,email\n"
        'ada,TRUE,"staff; admins",,"{""custom:x"":""1""}",ada@example.com\n'
        "b\n"
        "c,,,,,,,\n"
        "d,maybe,,,,\n"
        "e,,,{,,\n"
        "f,,,,[1],\n"
        '"g\n,,",,"[""a b""]",,,\n',
        Format.CSV,
    )
    assert [row.rule if isinstance(row, UnreadableRow) else row.username for row in rows] == [
        "ada", "COLUMNS", "COLUMNS", "TYPE", "JSON", "TYPE", "g\n,,",
    ]  # fmt: skip
    assert rows[0] == UserRecord(
        username="ada",
        email_verified=True,
        groups=["staff", "admins"],
        attributes={"custom:x": "1", "email": "ada@example.com"},
    )


COGNITO = (
    "cognito:username,sub,name,given_name,email,email_verified,phone_number,phone_number_verified,cognito:mfa_enabled,"
    "updated_at,custom:seats,birthdate\n"
    "ada,0b2e3f5c-8d1a-4c55-9d7e-2f6a4b8c1d3e,Ada L.,,ada@example.com,TRUE,+14155550123,FALSE,true,1500000000,7,\n"
    "grace,,,,grace@example.com,false,,,,,,\n"
    "linus,,,,,perhaps,,,,,,\n"
    "ken,,,,,,,,,soon,,\n"
)


def test_csv_of_cognito_is_read() -> None:
    """A pool's CSV gives username, attributes, verification and MFA; its `sub` stays the user's id."""
    ada, grace, linus, ken = read(COGNITO, Format.COGNITO_CSV)
    assert ada == UserRecord(
        username="ada",
        user_id="0b2e3f5c-8d1a-4c55-9d7e-2f6a4b8c1d3e",
        attributes={
            "name": "Ada L.",
            "email": "ada@example.com",
            "phone_number": "+14155550123",
            "custom:seats": "7",
        },
        email_verified=True,
        sms_mfa=True,
        updated_at=Timestamp(seconds=1_500_000_000),
    )
    assert grace == UserRecord(username="grace", attributes={"email": "grace@example.com"})
    assert isinstance(linus, UnreadableRow)
    assert (linus.field, linus.rule) == ("email_verified", "TYPE")
    assert isinstance(ken, UnreadableRow)
    assert (ken.field, ken.rule) == ("updated_at", "TIME")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Format.CSV),
        ("name,email\n", Format.CSV),
        ("username,username\n", Format.CSV),
        ("username,name\n", Format.COGNITO_CSV),
        ('"username', Format.CSV),
    ],
)
def test_file_without_the_header_is_refused(text: str, kind: Format) -> None:
    """A table that does not begin with a header of its kind is refused before anything is read."""
    with pytest.raises(FormError):
        read_rows(io.StringIO(text, newline=""), kind)


def test_line_of_json_is_as_short_as_can_be() -> None:
    """What is not told takes no place."""
    file = io.StringIO()
    writer(file, Format.JSONL).write(UserRecord(username="ädä", status=UserStatus.USER_STATUS_CONFIRMED))
    assert file.getvalue() == '{"username":"ädä","status":"CONFIRMED"}\n'
    assert json.loads(file.getvalue())
