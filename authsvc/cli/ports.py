"""Find out before gRPC does whether a port can be had, and say why not."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any, TypeVar

import click

from authsvc.cli.failures import Failed

PORT_SETTING = "AUTHSVC_SERVER_PORT"

_Decorated = TypeVar("_Decorated", bound=Callable[..., object])


def port_option(flag: str, **options: Any) -> Callable[[_Decorated], _Decorated]:
    """Return a click option for a port; 0 takes a free one."""
    return click.option(flag, type=click.IntRange(0, 65535), metavar="PORT", show_default=True, **options)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or its address."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_free(host: str, port: int, *, chosen_by: str) -> int:
    """Return the port, a free one for 0, if nobody listens on it.

    Raises:
        Failed: somebody does, or the host is not an address of this machine; says how another port is chosen.
    """
    with ExitStack() as stack:
        return _bind(stack, host, port, chosen_by=chosen_by, shared=False)


@contextmanager
def reserved(host: str, port: int, *, chosen_by: str) -> Iterator[int]:
    """Hold a port that child processes are going to share by SO_REUSEPORT; give it, a free one for 0.

    Raises:
        Failed: see `require_free`. SO_REUSEPORT alone would silently share the port with another server of this user.
    """
    port = require_free(host, port, chosen_by=chosen_by)
    with ExitStack() as stack:
        # Bound but not listening: takes no connection, and keeps others away.
        yield _bind(stack, host, port, chosen_by=chosen_by, shared=True)


def _bind(stack: ExitStack, host: str, port: int, *, chosen_by: str, shared: bool) -> int:
    reason = "no such address"
    bound = False
    for family, _, _, _, address in _addresses(host, port):
        try:
            opened = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Connections of a former server that linger in TIME_WAIT are no obstacle.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
            opened.bind((address[0], port, *address[2:]))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Failed(
                    f"port {port} of {host} is taken by another program: stop that, or choose another by {chosen_by}"
                ) from error
            # A name may stand for addresses that this machine doesn't have, such as ::1 without IPv6.
            reason = error.strerror or str(error)
        else:
            bound = True
            port = opened.getsockname()[1]
    if not bound:
        raise Failed(f"cannot listen on {host}:{port}: {reason}")
    return port


def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, ...]]]:
    try:
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)  # type: ignore[return-value]  # typeshed allows for addresses of builds without IPv6
    except OSError as error:
        raise Failed(f"cannot listen on {host}: {error.strerror}") from error
