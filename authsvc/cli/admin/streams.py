"""Accounts on their way from a file to ImportUsers, and from ExportUsers to a file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import grpc

from authsvc.cli.admin.connection import TIMEOUT_SECONDS, Admin, reason_of
from authsvc.cli.admin.progress import counting, nearing
from authsvc.cli.admin.user_files import Format, read_rows, writer
from authsvc.cli.admin.user_form import FormError
from authsvc.cli.failures import Failed, using
from authsvc.v1 import import_users_pb2 as pb
from authsvc.v1.admin_service_pb2_grpc import AdminServiceStub
from authsvc.v1.export_users_pb2 import ExportUsersRequest
from authsvc.v1.user_record_pb2 import UserRecord

# Below the largest message that a server takes unless it is told otherwise.
BATCH_BYTES = 60_000
BATCH_ROWS = 500
_TOO_LARGE = pb.UnreadableRow(rule="SIZE", description=f"must have at most {BATCH_BYTES} bytes")


class Import:
    """Send one file."""

    def __init__(
        self, *, admin: Admin, path: Path, kind: str, dry_run: bool, create_groups: bool, import_id: str | None
    ) -> None:
        self._admin = admin
        self._path = path
        self._kind = Format(kind)
        with path.open("rb") as file:
            self._digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._options = pb.ImportOptions(
            import_id=import_id or self._digest[:32],
            source=f"sha256:{self._digest}",
            dry_run=dry_run,
            create_groups=create_groups,
        )

    def run(self, *, resume: bool) -> pb.ImportUsersResponse:
        """Send what was not sent before, and return the report.

        Raises:
            Failed: with the reason, and how far the import got.
        """
        next_row = 1
        if not self._options.dry_run:
            next_row = self._send(iter(()), timeout=TIMEOUT_SECONDS).next_row
            if next_row > 1 and not resume:
                raise Failed(
                    f"{self._path}: the rows before {next_row} are imported: --resume goes on behind them, "
                    "--import-id NAME begins anew"
                )
        try:
            with using(self._path), self._path.open("rb") as content, nearing("rows") as progress:
                # utf-8-sig: spreadsheets begin a file with a byte order mark.
                file = io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="")
                task = progress.add_task(self._path.name, total=self._path.stat().st_size, count=0)
                rows = read_rows(file, self._kind)

                def batches() -> Iterator[pb.ImportBatch]:
                    for batch in self._batches(rows, next_row):
                        yield batch
                        progress.update(task, completed=content.tell(), count=batch.first_row + len(batch.rows) - 1)

                return self._send(batches(), timeout=None)
        except FormError as error:
            raise Failed(f"{self._path}: {error}") from error

    def _send(self, batches: Iterator[pb.ImportBatch], *, timeout: float | None) -> pb.ImportUsersResponse:
        faults: list[OSError] = []

        def messages() -> Iterator[pb.ImportUsersRequest]:
            yield pb.ImportUsersRequest(options=self._options)
            try:
                for batch in batches:
                    yield pb.ImportUsersRequest(batch=batch)
            except OSError as error:
                # In a thread of gRPC's, where nobody could catch it.
                faults.append(error)

        send = AdminServiceStub(self._admin.channel).ImportUsers
        try:
            response: pb.ImportUsersResponse = send(messages(), metadata=self._admin.metadata, timeout=timeout)
        except grpc.RpcError as error:
            is_refused = error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED)
            again = "" if self._options.dry_run or is_refused else "; --resume goes on where it stopped"
            raise Failed(reason_of(error) + again) from error
        if faults:
            raise faults[0]
        return response

    def _batches(self, rows: Iterator[UserRecord | pb.UnreadableRow], next_row: int) -> Iterator[pb.ImportBatch]:
        batch, size = pb.ImportBatch(first_row=next_row), 0
        for number, row in enumerate(rows, start=1):
            if number < next_row:
                continue
            sent = pb.ImportRow(unreadable=row) if isinstance(row, pb.UnreadableRow) else pb.ImportRow(user=row)
            if sent.ByteSize() > BATCH_BYTES - 100:
                sent = pb.ImportRow(unreadable=_TOO_LARGE)
            if batch.rows and (len(batch.rows) == BATCH_ROWS or size + sent.ByteSize() > BATCH_BYTES):
                yield batch
                batch, size = pb.ImportBatch(first_row=number), 0
            batch.rows.append(sent)
            # With its tag and its length.
            size += sent.ByteSize() + 4
        if batch.rows:
            yield batch


def export(admin: Admin, file: IO[str], kind: str, *, include_secrets: bool) -> int:
    """Write all accounts, and return how many; a stream that breaks off is taken up again behind the last account.

    Raises:
        Failed: with the reason.
    """
    rows = writer(file, Format(kind))
    send = AdminServiceStub(admin.channel).ExportUsers
    count, last, begun_behind = 0, "", None
    with counting("accounts") as progress:
        task = progress.add_task("export", total=None, count=0)
        while True:
            request = ExportUsersRequest(include_secrets=include_secrets, after_user_id=last)
            try:
                for response in send(request, metadata=admin.metadata):
                    for user in response.users:
                        rows.write(user)
                    count += len(response.users)
                    last = response.users[-1].user_id
                    progress.update(task, count=count)
                return count
            except grpc.RpcError as error:
                # A server that ends closes its streams; another one goes on, if this one got anywhere.
                if error.code() is not grpc.StatusCode.UNAVAILABLE or begun_behind == last:
                    raise Failed(reason_of(error)) from error
                begun_behind = last
