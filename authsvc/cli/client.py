"""Ask a server, from beside it, whether it serves."""

from __future__ import annotations

from ipaddress import ip_address
from typing import cast

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from authsvc.cli.failures import Failed, WrongSettings
from authsvc.cli.ports import PORT_SETTING
from authsvc.config import ServerSettings
from authsvc.crypto.certificates import server_name_of

SERVICE = "authsvc.v1.AuthService"


def address_of(settings: ServerSettings) -> str:
    """Return the address, as gRPC writes it, at which a server with these settings is reached from its own machine.

    Raises:
        WrongSettings: the port is any that is free.
    """
    if settings.port == 0:
        raise WrongSettings(f"{PORT_SETTING}: is 0, which is any port; say which one by --address")
    try:
        address = ip_address(settings.host.strip("[]"))
    except ValueError:
        return f"{settings.host}:{settings.port}"
    if address.is_unspecified:
        return f"localhost:{settings.port}"
    return f"[{address}]:{settings.port}" if address.version == 6 else f"{address}:{settings.port}"


def health_of(target: str, settings: ServerSettings, *, timeout_seconds: float) -> str:
    """Return what the server says of its health: SERVING, or a reason why not.

    Raises:
        Failed: there is no answer.
        WrongSettings: the settings turn TLS on, and the certificate can't be used.
    """
    try:
        with channel_to(target, settings) as channel:
            check = HealthStub(channel).Check  # type: ignore[attr-defined]  # set by the constructor, which mypy can't see
            response = check(HealthCheckRequest(service=SERVICE), timeout=timeout_seconds)
    except grpc.RpcError as error:
        # The errors of calls are calls as well.
        call = cast(grpc.Call, error)
        raise Failed(f"{target}: {call.code().name}: {call.details()}") from error
    return HealthCheckResponse.ServingStatus.Name(response.status)


def channel_to(target: str, settings: ServerSettings) -> grpc.Channel:
    """Return a channel to a server with these settings on this machine; with TLS where they turn it on.

    Raises:
        WrongSettings: the settings turn TLS on, and the certificate can't be used.
    """
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
