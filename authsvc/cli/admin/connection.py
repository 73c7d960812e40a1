"""Call AdminService for a command: where the server is, what it is shown, how a refusal is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from authsvc.cli.admin.options import Target
from authsvc.cli.admin.show import Show
from authsvc.cli.client import address_of, channel_to
from authsvc.cli.failures import Failed
from authsvc.cli.ports import is_loopback
from authsvc.cli.setting_files import fault_of_authorities, fault_of_pair
from authsvc.cli.settings import read_settings
from authsvc.config import Settings
from authsvc.v1.admin_service_pb2 import DESCRIPTOR

# For one call. Those that hash a password may have to wait for it.
TIMEOUT_SECONDS = 30
SERVICE = DESCRIPTOR.services_by_name["AdminService"]


class Admin:
    """Hold an open channel, and what prints its responses as the options ask for."""

    def __init__(self, *, channel: grpc.Channel, key: str, as_json: bool) -> None:
        self.channel = channel
        self.metadata = (("authsvc-admin-key", key),) if key else ()
        self.show = Show(as_json=as_json)

    def call(self, method: str, **fields: Any) -> Any:
        """Call a method with the fields that are given, None for those that are not; return the response.

        Raises:
            Failed: with the reason, and every broken rule.
        """
        descriptor = SERVICE.methods_by_name[method]
        request = GetMessageClass(descriptor.input_type)(
            **{name: value for name, value in fields.items() if value is not None}
        )
        send = self.channel.unary_unary(
            f"/{SERVICE.full_name}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        try:
            return send(request, metadata=self.metadata, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise Failed(reason_of(error)) from error

    def list(self, method: str, entries: str, *, everything: bool, **fields: Any) -> None:
        """Print the page of a list that is asked for or, with `everything`, the entries of all."""
        found = self.call(method, **fields)
        if everything and found.next_page_token:
            from authsvc.cli.admin.progress import counting  # noqa: PLC0415  # rich loads longer than most commands run

            listed = getattr(found, entries)
            with counting(entries) as progress:
                task = progress.add_task(method, total=None, count=len(listed))
                while found.next_page_token:
                    page = self.call(method, **{**fields, "page_token": found.next_page_token})
                    listed.extend(getattr(page, entries))
                    found.next_page_token = page.next_page_token
                    progress.update(task, count=len(listed))
        self.show.entries(found, entries)


@contextmanager
def open_admin(target: Target, *, as_json: bool) -> Iterator[Admin]:
    """Open a channel to the server, and find the key to show it.

    Raises:
        Failed: the key would travel in clear, or a file holds something else.
        WrongSettings: it is not said where the server is.
    """
    if (target.certificate_file is None) != (target.certificate_key_file is None):
        raise click.UsageError("--certificate-file and --certificate-key-file go together")
    if target.certificate_file is not None and target.ca_file is None:
        raise click.UsageError("--certificate-file needs --ca-file")
    settings = read_settings()
    key = target.key_file.read_bytes().decode("latin-1") if target.key_file else settings.admin.key.get_secret_value()
    key = key.strip()
    # What gRPC sends as text; of anything else it says no more than that it is invalid.
    if not (key.isascii() and key.isprintable()):
        raise Failed("the admin key is none: a key has only letters, digits, `_` and `-`")
    _look_into(target)
    with _channel(target, settings) as channel:
        yield Admin(channel=channel, key=key, as_json=as_json)


def reason_of(error: grpc.RpcError) -> str:
    """Return in one line why a call failed."""
    call: Any = error
    status = rpc_status.from_call(call)
    if status is None:
        return f"{call.code().name}: {call.details()}"
    reason, bad = "", BadRequest()
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            reason = info.reason
            if reason == "INTERNAL":
                reason = f"{reason} (request {info.metadata['request_id']})"
            if scope := info.metadata.get("scope"):
                reason = f"{reason} (needs scope {scope})"
        detail.Unpack(bad)
    broken = "; ".join(f"{each.field} {each.description}".strip() for each in bad.field_violations)
    return f"{reason}: {status.message}" + (f": {broken}" if broken else "")


def _look_into(target: Target) -> None:
    """Raise Failed for a file of TLS that is none: gRPC would only say that there is no connection."""
    if target.ca_file and (fault := fault_of_authorities(target.ca_file)):
        raise Failed(f"--ca-file: {target.ca_file}: {fault}")
    if target.certificate_file and target.certificate_key_file:
        fault = fault_of_pair(target.certificate_file, target.certificate_key_file, "--certificate-key-file")
        if fault:
            raise Failed(f"--certificate-file: {target.certificate_file}: {fault}")


def _channel(target: Target, settings: Settings) -> grpc.Channel:
    address = target.address or settings.admin.address
    if target.ca_file is not None:
        chain = target.certificate_file.read_bytes() if target.certificate_file else None
        key = target.certificate_key_file.read_bytes() if target.certificate_key_file else None
        credentials = grpc.ssl_channel_credentials(target.ca_file.read_bytes(), key, chain)
        return grpc.secure_channel(address or address_of(settings.server), credentials)
    if not address:
        return channel_to(address_of(settings.server), settings.server)
    if not target.plaintext and not is_loopback(address.rpartition(":")[0]):
        raise Failed(f"{address}: give --ca-file for TLS, or --plaintext to send the key in clear to another machine")
    return grpc.insecure_channel(address)
