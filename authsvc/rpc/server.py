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

from authsvc.clock import SystemClock, monotonic
from authsvc.config import ServerSettings
from authsvc.rpc.admin import AdminServicer
from authsvc.rpc.admission import Admission
from authsvc.rpc.auth import AuthServicer
from authsvc.rpc.call import Context
from authsvc.rpc.handlers import Handlers
from authsvc.rpc.interceptor import CallInterceptor
from authsvc.rpc.sockets import Sockets
from authsvc.telemetry.metrics import Metrics
from authsvc.v1 import admin_service_pb2, auth_service_pb2
from authsvc.v1.admin_service_pb2_grpc import add_AdminServiceServicer_to_server
from authsvc.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server

AUTH_SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
# What the transport takes beyond the setting, so that the interceptor can refuse it with a typed error. What announces
# itself longer than that gRPC refuses before it takes any of it.
SPARE_BYTES = 16 * 1024
# What a stream may send before its call is let in. Most messages are smaller; a longer one waits for a round trip.
STREAM_WINDOW_BYTES = 8 * 1024
# Time for those who watch the health to hear of the end, and for calls that have arrived to be taken.
LAST_WORDS = timedelta(milliseconds=100)
# In which an event loop with nothing else to do takes the next call.
TURN = timedelta(milliseconds=1)
# Between two looks at the connections while the server runs, and while it stops.
LOOK_EVERY = timedelta(milliseconds=250)
DRAIN_EVERY = timedelta(milliseconds=10)
# For the last answers to be sent.
LAST_ANSWERS = timedelta(seconds=1)


class TransportError(Exception):
    """Say what keeps the server from listening."""


class _Watch:
    """End a watch of the health in time."""

    def __init__(self) -> None:
        self.timeout = asyncio.timeout(None)

    def cut(self) -> None:
        """End it now."""
        self.end_in(timedelta())

    def end_in(self, wait: timedelta) -> None:
        """End it, but not at once."""
        if not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time() + wait.total_seconds())


class _Health(health.aio.HealthServicer):
    """Let watchers go at the end of the server: a stream that stays open takes the whole drain timeout."""

    def __init__(self, *, admission: Admission) -> None:
        super().__init__()
        self._admission = admission
        self._watches: set[_Watch] = set()
        self._is_stopping = False

    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse],
    ) -> None:
        watch = _Watch()
        # Who comes back after the end was told is not waited for again.
        if not self._is_stopping:
            self._admission.watch(cast(Context, context), watch)
        with contextlib.suppress(TimeoutError):
            async with watch.timeout:
                self._watches.add(watch)
                try:
                    await super().Watch(request, context)
                finally:
                    self._watches.discard(watch)

    async def enter_graceful_shutdown(self) -> None:
        """Tell watchers that nothing is served any more, and end their streams once they had time to hear it."""
        self._is_stopping = True
        await super().enter_graceful_shutdown()
        for watch in self._watches:
            watch.end_in(LAST_WORDS)


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
        self._metrics = metrics
        self._admission = Admission(settings=settings)
        self._health = _Health(admission=self._admission)
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
        self._sockets = Sockets(port=settings.port)
        self._server = grpc.aio.server(
            handlers=handlers.generic,
            interceptors=[
                CallInterceptor(
                    settings=settings,
                    metrics=metrics,
                    hash_wait=hash_wait,
                    guards={ADMIN_SERVICE: admin.authorise},
                    admission=self._admission,
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
        self._sockets = Sockets(port=port)
        return port

    async def keep_connections_in_bounds(self) -> None:
        """Close, for as long as the server runs, connections of peers that have too many."""
        while True:
            await SystemClock().sleep(LOOK_EVERY)
            self._metrics.count_cut_connections(self._sockets.cut_above(self._settings.max_connections_per_peer))

    async def set_serving(self, serving: bool) -> None:
        """Tell health clients, for each service and as a whole, whether calls can be served."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", AUTH_SERVICE, ADMIN_SERVICE):
            await self._health.set(service, status)

    async def stop(self, last_words: timedelta = LAST_WORDS) -> None:
        """Refuse new calls, finish those in flight within the drain timeout, then close.

        When gRPC's own server stops it answers CANCELLED, without a word, to whatever has arrived meanwhile: clients
        hear of the end too late not to send it. So it stops last, when nobody is connected any more. Until then calls
        are answered as ever, then refused with what makes clients try another server; and each connection is closed
        as soon as nothing on it waits for an answer.
        """
        self._sockets.stop_listening()
        await self._health.enter_graceful_shutdown()
        await _turns(last_words)
        self._admission.stop()
        await self._answer_all(within=self._settings.drain_timeout)
        self._admission.cut()
        await self._answer_all(within=LAST_ANSWERS)
        self._sockets.cut_all_but(())
        await self._server.stop(LAST_ANSWERS.total_seconds())

    async def _answer_all(self, *, within: timedelta) -> None:
        end = monotonic() + within.total_seconds()
        while not self._admission.is_idle and monotonic() < end:
            self._sockets.cut_all_but(self._admission.peers())
            await SystemClock().sleep(DRAIN_EVERY)


async def _turns(duration: timedelta) -> None:
    """Sleep for so long, and for as many turns of the event loop: a busy one takes calls that have arrived late."""
    for _ in range(duration // TURN):
        await SystemClock().sleep(TURN)


def _address(settings: ServerSettings) -> str:
    # gRPC takes `::1:50051` for an address without a port.
    host = f"[{settings.host}]" if settings.host.count(":") > 1 and settings.host[0] != "[" else settings.host
    return f"{host}:{settings.port}"


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    keepalive = _milliseconds(settings.keepalive)
    receive = _milliseconds(settings.receive_timeout)
    return [
        ("grpc.so_reuseport", 1 if settings.workers > 1 else 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes + SPARE_BYTES),
        ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
        # It would widen the windows of whoever sends much.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_concurrent_streams", settings.max_streams),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        # Until the peer's first settings, and until it has acknowledged ours.
        ("grpc.server_handshake_timeout_ms", receive),
        ("grpc.http2.settings_timeout", receive),
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Clients may ping as often as we do, with no call open, and are not told off for it.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive // 2),
        ("grpc.max_connection_age_ms", _milliseconds(settings.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", _milliseconds(settings.request_timeout)),
    ]


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _credentials(settings: ServerSettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    client_ca = settings.tls_client_ca_file.read_bytes() if settings.tls_client_ca_file else None
    return grpc.ssl_server_credentials(
        [(settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
