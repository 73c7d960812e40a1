"""Files of accounts: JSON Lines, CSV, and the CSV of a Cognito user pool's import."""

from __future__ import annotations

import csv
import enum
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any

from authsvc.cli.admin.user_form import ENUMS, FIELDS, FLAGS, TEXTS, TIMES, FormError, to_form, to_record
from authsvc.v1.import_users_pb2 import UnreadableRow
from authsvc.v1.user_record_pb2 import UserRecord

COGNITO_USERNAME = "cognito:username"
# The standard attributes have columns of their own; the others share one.
ATTRIBUTE_COLUMNS = (
    "email",
    "phone_number",
    "name",
    "given_name",
    "middle_name",
    "family_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "address",
)
COLUMNS = (*(name for name in FIELDS if name != "attributes"), *ATTRIBUTE_COLUMNS, "attributes")
_PLAIN = frozenset({*TEXTS, *TIMES, *ENUMS})
# Read when it is its turn, so that what is wrong with a row is noticed in its place.
_Form = Callable[[], Any] | UnreadableRow
_BOOLEANS = {"true": True, "false": False}


class Format(enum.StrEnum):
    """Name a kind of file."""

    JSONL = "jsonl"
    CSV = "csv"
    COGNITO_CSV = "cognito-csv"


def read_rows(file: IO[str], kind: Format) -> Iterator[UserRecord | UnreadableRow]:
    """Return the rows of a file: of JSON Lines those that aren't empty, of CSV those behind the header.

    The file is opened with `surrogateescape`, so that a row which is not UTF-8 is one bad row and no end.

    Raises:
        FormError: the header of a CSV file is missing or not one of its kind.
    """
    return _records(_lines(file) if kind is Format.JSONL else _table(file, kind))


def _records(forms: Iterator[_Form]) -> Iterator[UserRecord | UnreadableRow]:
    for form in forms:
        try:
            yield form if isinstance(form, UnreadableRow) else to_record(form())
        except FormError as error:
            yield error.row
        except UnicodeError:
            yield UnreadableRow(rule="UTF8", description="must be UTF-8")


def writer(file: IO[str], kind: Format) -> _JsonLines | _Table:
    """Return what writes accounts to a file."""
    return (_JsonLines if kind is Format.JSONL else _Table)(file=file)


class _JsonLines:
    """Write a line for each account; the same account is the same line, always."""

    def __init__(self, *, file: IO[str]) -> None:
        self._file = file

    def write(self, user: UserRecord) -> None:
        """Write one account."""
        self._file.write(json.dumps(to_form(user), ensure_ascii=False, separators=(",", ":")) + "\n")


class _Table:
    """Write a header, and a row for each account."""

    def __init__(self, *, file: IO[str]) -> None:
        # RFC 4180; and so the writer quotes either half of it.
        self._rows = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\r\n")
        self._rows.writeheader()

    def write(self, user: UserRecord) -> None:
        """Write one account."""
        form = to_form(user)
        attributes: dict[str, str] = form.pop("attributes", {})
        # An empty cell is no attribute.
        columns = {name: value for name, value in attributes.items() if name in ATTRIBUTE_COLUMNS and value}
        others = {name: value for name, value in attributes.items() if name not in columns}
        cells = {name: _cell(value) for name, value in form.items()} | columns
        self._rows.writerow(cells | ({"attributes": _cell(others)} if others else {}))


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _lines(file: IO[str]) -> Iterator[_Form]:
    for line in file:
        if line.strip():
            yield partial(_json, line, "must be a JSON object")


def _table(file: IO[str], kind: Format) -> Iterator[_Form]:
    rows = csv.reader(file, strict=True)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise FormError("must be a file of CSV", rule="CSV") from error
    needed = COGNITO_USERNAME if kind is Format.COGNITO_CSV else "username"
    if needed not in header:
        raise FormError(f"the first line must be a header with the column {needed}", rule="HEADER", field=needed)
    if len(set(header)) < len(header):
        raise FormError("the header must have each column once", rule="HEADER")
    return _cells(rows, header, _cognito if kind is Format.COGNITO_CSV else _own)


def _cells(
    rows: Iterator[list[str]], header: list[str], form_of: Callable[[dict[str, str]], dict[str, Any]]
) -> Iterator[_Form]:
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield UnreadableRow(rule="CSV", description="must be a row of CSV")
            continue
        if len(cells) == len(header):
            given = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield partial(form_of, given)
        elif cells:
            yield UnreadableRow(rule="COLUMNS", description="must have as many cells as the header")


def _own(cells: Mapping[str, str]) -> dict[str, Any]:
    form: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, cell in cells.items():
        if name in _PLAIN:
            form[name] = cell
        elif name in FLAGS:
            form[name] = _flag(name, cell)
        elif name == "groups" and not cell.startswith("["):
            form[name] = [group.strip() for group in cell.split(";")]
        elif name in {"groups", "totp_devices"}:
            form[name] = _json(cell, field=name)
        elif name == "attributes":
            others = _json(cell, field=name)
            if not isinstance(others, dict):
                raise FormError("must be an object of texts", rule="TYPE", field=name)
            attributes |= others
        else:
            attributes[name] = cell
    return form | ({"attributes": attributes} if attributes else {})


def _cognito(cells: Mapping[str, str]) -> dict[str, Any]:
    form: dict[str, Any] = {}
    attributes: dict[str, str] = {}
    for name, cell in cells.items():
        match name:
            case "cognito:username":
                form["username"] = cell
            case "sub":
                form["user_id"] = cell
            case "email_verified" | "phone_number_verified":
                form[name] = _flag(name, cell)
            case "cognito:mfa_enabled":
                # MFA of Cognito's import is by SMS.
                form["sms_mfa"] = _flag(name, cell)
            case "updated_at":
                form[name] = _epoch(name, cell)
            case _:
                attributes[name] = cell
    return form | ({"attributes": attributes} if attributes else {})


def _flag(name: str, cell: str) -> bool:
    value = _BOOLEANS.get(cell.strip().lower())
    if value is None:
        raise FormError("must be true or false", rule="TYPE", field=name)
    return value


def _epoch(name: str, cell: str) -> str:
    try:
        return datetime.fromtimestamp(int(cell), UTC).isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise FormError("must be seconds since 1970", rule="TIME", field=name) from error


def _json(text: str, description: str = "must be JSON", *, field: str = "") -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormError(description, rule="JSON", field=field) from error
