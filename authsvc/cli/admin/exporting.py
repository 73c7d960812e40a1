"""ExportUsers on its way to a file."""

from __future__ import annotations

from typing import IO

import grpc

from authsvc.cli.admin.connection import Admin, reason_of
from authsvc.cli.admin.progress import counting
from authsvc.cli.admin.user_files import Format, writer
from authsvc.cli.failures import Failed
from authsvc.v1.admin_service_pb2_grpc import AdminServiceStub
from authsvc.v1.export_users_pb2 import ExportUsersRequest


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
