"""How services are put into the server."""

from __future__ import annotations

from collections.abc import Iterable

import grpc


class Handlers:
    """Collect the methods of services where generated code expects a server.

    Generated code registers each method twice: by name with the transport, and behind one generic handler for the whole
    service. The second is enough. For the first grpcio keeps a task waiting for every method, and at every call looks
    through all of them (grpc/grpc#43461): with twenty methods that was a tenth of a small call's time.
    """

    def __init__(self) -> None:
        self.generic: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take the handler of a service."""
        self.generic += generic_rpc_handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: object) -> None:
        """Do without: see above."""
