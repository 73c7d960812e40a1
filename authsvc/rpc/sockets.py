"""The sockets of the port that gRPC listens on, as the kernel has them.

grpcio lends nobody its listeners and connections, has no limit on connections of one peer, and can't tell clients to go
before it refuses their calls as cancelled. A socket that is shut down is to gRPC one whose peer has gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TypeAlias

# Of this process, on Linux and on others alike.
_DESCRIPTORS = Path("/dev/fd")

Address = IPv4Address | IPv6Address
# Address and port of the other side.
Peer: TypeAlias = "tuple[Address, int]"


def unmapped(address: Address) -> Address:
    """Return the address itself: a socket that listens on IPv6 sees IPv4 as `::ffff:192.0.2.1`."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def subscriber(address: Address) -> Address | IPv6Network:
    """Return what one peer has at least: an IPv4 address, or a /64 of IPv6 (RFC 6177)."""
    return IPv6Network((address, 64), strict=False) if isinstance(address, IPv6Address) else address


@dataclass(kw_only=True)
class Sockets:
    """Find and shut down the sockets of one local port; others of this process are left alone.

    What a descriptor stands for is remembered by its inode, so that a look costs little with many connections open.
    """

    port: int
    _known: dict[tuple[int, int], Peer | None] = field(default_factory=dict)

    def stop_listening(self) -> None:
        """Have the kernel refuse new connections; those that are there go on."""
        for descriptor in _descriptors():
            with _opened(descriptor) as opened:
                if opened is not None and self._is_ours(opened) and _is_listening(opened):
                    _shut_down(opened)

    def cut_all_but(self, spared: Collection[Peer]) -> None:
        """Cut all connections but those with peers that are spared."""
        for (descriptor, _), peer in self._look().items():
            if peer is not None and peer not in spared:
                self._cut(descriptor, peer)

    def cut_above(self, most: int) -> int:
        """Cut the newest connections of each peer that has more than it may; return how many."""
        counts: Counter[Address | IPv6Network] = Counter()
        cut = 0
        for (descriptor, _), peer in self._look().items():
            if peer is None:
                continue
            owner = subscriber(peer[0])
            counts[owner] += 1
            if counts[owner] > most:
                self._cut(descriptor, peer)
                cut += 1
        return cut

    def _look(self) -> dict[tuple[int, int], Peer | None]:
        """Return the peers of all open descriptors, oldest first; None for what is no connection of the port."""
        present = dict.fromkeys(_socket_descriptors())
        known = {key: peer for key, peer in self._known.items() if key in present}
        for key in present:
            if key not in known:
                known[key] = self._peer_of(key[0])
        self._known = known
        return known

    def _peer_of(self, descriptor: int) -> Peer | None:
        with _opened(descriptor) as opened:
            return _peer_of(opened) if opened is not None and self._is_ours(opened) else None

    def _cut(self, descriptor: int, peer: Peer) -> None:
        with _opened(descriptor) as opened:
            # Another thread may have closed it, and the number may stand for something else by now.
            if opened is not None and self._is_ours(opened) and _peer_of(opened) == peer:
                _shut_down(opened)

    def _is_ours(self, opened: socket.socket) -> bool:
        with contextlib.suppress(OSError):
            return opened.family in (socket.AF_INET, socket.AF_INET6) and opened.getsockname()[1] == self.port
        return False


def _descriptors() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in _DESCRIPTORS.iterdir()]
    return []


def _socket_descriptors() -> Iterator[tuple[int, int]]:
    for descriptor in _descriptors():
        with contextlib.suppress(OSError):
            status = os.fstat(descriptor)
            if stat.S_ISSOCK(status.st_mode):
                yield descriptor, status.st_ino


@contextmanager
def _opened(descriptor: int) -> Iterator[socket.socket | None]:
    """Lend the socket under a number of its own: closing this one closes nothing of gRPC's."""
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        yield None
        return
    try:
        opened = socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        yield None
        return
    with opened:
        yield opened


def _peer_of(opened: socket.socket) -> Peer | None:
    try:
        host, port = opened.getpeername()[:2]
    except OSError:
        return None
    return unmapped(ip_address(host.partition("%")[0])), port


def _is_listening(opened: socket.socket) -> bool:
    return bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _shut_down(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
