"""The server under load: the whole service as `serve` runs it, and one more method that does nothing."""

from __future__ import annotations

import asyncio
import signal

import grpc
import uvloop
from google.protobuf.empty_pb2 import Empty

from authsvc.app import App
from authsvc.clock import SystemClock
from authsvc.config import load
from authsvc.telemetry.logs import set_up_logs
from authsvc.telemetry.metrics import Metrics

# In the package's namespace, so that the interceptor wraps it like any other method.
SERVICE = "authsvc.bench.v1.Bench"
EMPTY = f"/{SERVICE}/Empty"


async def _empty(_request: Empty, _context: object) -> Empty:
    return Empty()


def _handler() -> grpc.GenericRpcHandler:
    method = grpc.unary_unary_rpc_method_handler(
        _empty, request_deserializer=Empty.FromString, response_serializer=Empty.SerializeToString
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Empty": method})


async def _serve() -> None:
    settings = load()
    set_up_logs(settings.log)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with App.open(settings, SystemClock(), Metrics()) as app:
        # The service takes no methods from outside, and yet the baseline must be one of the very same server.
        app._server._server.add_generic_rpc_handlers((_handler(),))  # noqa: SLF001  # for the bench alone
        print(await app.start(), flush=True)
        await app.run(stop)


if __name__ == "__main__":
    uvloop.run(_serve())
