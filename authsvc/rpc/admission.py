"""Which calls are let in: so many at once, fewer of them unread, and none once the server stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Protocol, cast

from authsvc.config import ServerSettings
from authsvc.errors import Overloaded
from authsvc.rpc.call import Context, address_of
from authsvc.rpc.sockets import Address, Peer, subscriber

# When to come again: the calls that are in the way are over soon, and another server takes the next one at once.
TRY_AGAIN = timedelta(milliseconds=100)
# Peers that send slowly can take up no more than this part of the calls that are let in, each of them.
PART_UNREAD = 4


class Endable(Protocol):
    """Bound the time of a call."""

    def cut(self) -> None:
        """End it now."""
        ...


@dataclass(slots=True, eq=False)
class Admitted:
    """Hold one call, from its headers on."""

    peer: str
    time: Endable
    # Counted among the calls that are in work, and among those whose message has not arrived whole.
    is_in_work: bool = False
    is_unread: bool = False


class Admission:
    """Count calls; let none in above the limits, which bound the memory that calls can take.

    A call takes a place before any of its message is asked for: until then gRPC keeps no more of it than the stream's
    window. Who sends a message slowly or never to its end keeps a place of the few for such calls.
    """

    def __init__(self, *, settings: ServerSettings) -> None:
        self._most = settings.max_calls
        self._most_unread = max(1, settings.max_calls // PART_UNREAD)
        # Until their answer is sent.
        self._open: set[Admitted] = set()
        self._in_work = 0
        self._unread: Counter[str] = Counter()
        self._is_stopping = False
        self._owner_of = lru_cache(maxsize=4096)(_owner_of)

    def enter(self, context: Context, time: Endable) -> Admitted:
        """Let a call in.

        Raises:
            Overloaded: there are too many, of all or unread from this peer; or the server stops.
        """
        call = Admitted(context.peer(), time)
        self._hold(context, call)
        owner = self._owner_of(call.peer)
        if self._is_stopping or self._in_work >= self._most or self._unread[owner] >= self._most_unread:
            raise stopping() if self._is_stopping else Overloaded(retry_after=TRY_AGAIN)
        self._in_work += 1
        self._unread[owner] += 1
        call.is_in_work = call.is_unread = True
        return call

    def watch(self, context: Context, time: Endable) -> None:
        """Let a call in that is no work and is counted nowhere, but is answered before the server ends."""
        self._hold(context, Admitted(context.peer(), time))

    def note_read(self, call: Admitted) -> None:
        """Note that the call's message has arrived."""
        if call.is_unread:
            call.is_unread = False
            owner = self._owner_of(call.peer)
            self._unread[owner] -= 1
            if not self._unread[owner]:
                del self._unread[owner]

    def leave(self, call: Admitted) -> None:
        """Give the call's place to another; its answer may still be on its way."""
        self.note_read(call)
        if call.is_in_work:
            call.is_in_work = False
            self._in_work -= 1

    def stop(self) -> None:
        """Let no more calls in."""
        self._is_stopping = True

    def cut(self) -> None:
        """End the calls that are still in work, each with an answer that says to come again."""
        for call in self._open:
            call.time.cut()

    def _hold(self, context: Context, call: Admitted) -> None:
        self._open.add(call)
        # The stubs name its parameter, and gRPC gives it by position.
        context.add_done_callback(cast(Any, lambda _: self._open.discard(call)))

    @property
    def is_idle(self) -> bool:
        """Tell whether every call has its answer, on its way."""
        return not self._open

    def peers(self) -> Collection[Peer]:
        """Return the peers that wait for answers."""
        return {peer for call in self._open if (peer := peer_of(call.peer)) is not None}


def stopping() -> Overloaded:
    """Return what is told to calls that come, or last, while the server stops."""
    return Overloaded(metadata={"stopping": "true"}, retry_after=TRY_AGAIN)


def peer_of(peer: str) -> Peer | None:
    """Return address and port of a peer as gRPC names it, or None if it has none."""
    address = address_of(peer)
    return None if address is None else (address, int(peer.rpartition(":")[2]))


def _owner_of(peer: str) -> str:
    address: Address | None = address_of(peer)
    return "" if address is None else str(subscriber(address))
