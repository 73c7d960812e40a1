"""`authsvc healthcheck`: ask a server by the standard health service whether it serves."""

from __future__ import annotations

from ipaddress import ip_address
from typing import cast

import click
import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from authsvc.cli.failures import Failed, WrongSettings
from authsvc.cli.settings import read_settings
from authsvc.config import ServerSettings
from authsvc.crypto.certificates import server_name_of

SERVICE = "authsvc.v1.AuthService"
TIMEOUT_SECONDS = 3


@click.command
@click.option("--address", metavar="HOST:PORT", help="The server; by default the one that the settings describe.")
def command(address: str | None) -> None:
    """Ask a server whether it serves, within 3 seconds: exit code 0 if it does, 1 if not.

    Made to be run beside the server, with the same settings: where they turn TLS on, the server must show the
    certificate that they name, and is shown the same one if it asks for one.
    """
    settings = read_settings().server
    target = address or _own_address(settings)
    try:
        with _channel(target, settings) as channel:
            check = HealthStub(channel).Check  # type: ignore[attr-defined]  # set by the constructor, which mypy can't see
            response = check(HealthCheckRequest(service=SERVICE), timeout=TIMEOUT_SECONDS)
    except grpc.RpcError as error:
        # The errors of calls are calls as well.
        call = cast(grpc.Call, error)
        raise Failed(f"{target}: {call.code().name}: {call.details()}") from error
    status = HealthCheckResponse.ServingStatus.Name(response.status)
    if response.status != HealthCheckResponse.SERVING:
        raise Failed(f"{target}: {status}")
    click.echo(f"{target}: {status}")


def _own_address(settings: ServerSettings) -> str:
    if settings.port == 0:
        raise WrongSettings("AUTHSVC_SERVER_PORT: is 0, which is any port; say which one by --address")
    try:
        address = ip_address(settings.host.strip("[]"))
    except ValueError:
        return f"{settings.host}:{settings.port}"
    if address.is_unspecified:
        return f"localhost:{settings.port}"
    return f"[{address}]:{settings.port}" if address.version == 6 else f"{address}:{settings.port}"


def _channel(target: str, settings: ServerSettings) -> grpc.Channel:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return grpc.insecure_channel(target)
    try:
        certificate = settings.tls_certificate_file.read_bytes()
        key = settings.tls_key_file.read_bytes() if settings.tls_client_ca_file else None
        name = server_name_of(certificate)
    except (OSError, ValueError) as error:
        raise WrongSettings(f"AUTHSVC_SERVER_TLS_CERTIFICATE_FILE: {error}") from error
    credentials = grpc.ssl_channel_credentials(certificate, key, certificate if key else None)
    # The address is this machine's, the certificate is for the name that clients use.
    return grpc.secure_channel(target, credentials, options=[("grpc.ssl_target_name_override", name)])
