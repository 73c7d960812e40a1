"""The gRPC server: transport, health, reflection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from authsvc.clock import SystemClock
from authsvc.config import ServerSettings
from authsvc.rpc.admin import AdminServicer
from authsvc.rpc.auth import AuthServicer
from authsvc.rpc.handlers import Handlers
from authsvc.rpc.interceptor import CallInterceptor
from authsvc.telemetry.metrics import Metrics
from authsvc.v1 import admin_service_pb2, auth_service_pb2
from authsvc.v1.admin_service_pb2_grpc import add_AdminServiceServicer_to_server
from authsvc.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server

AUTH_SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
# What the transport takes; the interceptor refuses what is over the setting, with a typed error.
TRANSPORT_BYTES = 4 * 1024 * 1024
# Time for those who watch the health to hear of the end, and for calls that have arrived to be taken.
LAST_WORDS = timedelta(milliseconds=100)
# Calls of one connection at once.
CONCURRENT_STREAMS = 1000


class TransportError(Exception):
    """Say what keeps the server from listening."""


class _Health(health.aio.HealthServicer):
    """Let watchers go at the end of the server: a stream that stays open takes the whole drain timeout."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[asyncio.Timeout] = set()

    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse],
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as watch:
                self._watches.add(watch)
                try:
                    await super().Watch(request, context)
                finally:
                    self._watches.discard(watch)

    async def enter_graceful_shutdown(self) -> None:
        """Tell watchers that nothing is served any more, and end their streams once they had time to hear it."""
        await super().enter_graceful_shutdown()
        end = asyncio.get_running_loop().time() + LAST_WORDS.total_seconds()
        for watch in self._watches:
            watch.reschedule(end)


class Server:
    """Listen, tell whether calls can be served, stop without cutting calls off."""

    def __init__(
        self,
        *,
        settings: ServerSettings,
        auth: AuthServicer,
        admin: AdminServicer,
        metrics: Metrics,
        hash_wait: Callable[[], timedelta],
    ) -> None:
        self._settings = settings
        self._health = _Health()
        handlers = Handlers()
        # All that generated code asks of a server.
        as_server = cast(grpc.aio.Server, handlers)
        add_AuthServiceServicer_to_server(auth, as_server)
        add_AdminServiceServicer_to_server(admin, as_server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, as_server)
        if settings.reflection:
            names = (AUTH_SERVICE, ADMIN_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            servicer = reflection.aio.ReflectionServicer(names)
            # The stubs give it no types.
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        self._server = grpc.aio.server(
            handlers=handlers.generic,
            interceptors=[
                CallInterceptor(
                    settings=settings, metrics=metrics, hash_wait=hash_wait, guards={ADMIN_SERVICE: admin.authorise}
                )
            ],
            options=_options(settings),
        )

    async def start(self) -> int:
        """Listen; return the port. Not serving until `set_serving`.

        Raises:
            TransportError: the port is taken, or a TLS file can't be read.
        """
        await self.set_serving(False)
        address = _address(self._settings)
        try:
            credentials = _credentials(self._settings)
            port = (
                self._server.add_insecure_port(address)
                if credentials is None
                else self._server.add_secure_port(address, credentials)
            )
        except (OSError, RuntimeError) as error:
            raise TransportError(f"cannot listen on {address}: {error}") from error
        await self._server.start()
        return port

    async def set_serving(self, serving: bool) -> None:
        """Tell health clients, for each service and as a whole, whether calls can be served."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", AUTH_SERVICE, ADMIN_SERVICE):
            await self._health.set(service, status)

    async def stop(self, last_words: timedelta = LAST_WORDS) -> None:
        """Refuse new calls, finish those in flight within the drain timeout, then close."""
        await self._health.enter_graceful_shutdown()
        # gRPC answers CANCELLED to calls that have arrived and that a busy event loop has not taken yet.
        await SystemClock().sleep(last_words)
        await self._server.stop(self._settings.drain_timeout.total_seconds())


def _address(settings: ServerSettings) -> str:
    # gRPC takes `::1:50051` for an address without a port.
    host = f"[{settings.host}]" if settings.host.count(":") > 1 and settings.host[0] != "[" else settings.host
    return f"{host}:{settings.port}"


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    keepalive = int(settings.keepalive.total_seconds() * 1000)
    age = int(settings.max_connection_age.total_seconds() * 1000)
    return [
        ("grpc.so_reuseport", 1 if settings.workers > 1 else 0),
        ("grpc.max_receive_message_length", TRANSPORT_BYTES),
        ("grpc.max_concurrent_streams", CONCURRENT_STREAMS),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients may ping as often as we do, with no call open, and are not told off for it.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive // 2),
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", int(settings.request_timeout.total_seconds() * 1000)),
    ]


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    client_ca = settings.tls_client_ca_file.read_bytes() if settings.tls_client_ca_file else None
    return grpc.ssl_server_credentials(
        [(settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
