"""Peers that prove nothing and hold on to what they get: memory, streams, connections."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import psutil
import pytest

from authsvc.config import Settings
from authsvc.crypto.sealing import MasterKey
from authsvc.v1 import auth_service_pb2 as pb
from tests.abuse.http2 import PREFACE, Answer, Peer, begun, connected, is_open
from tests.clock import FakeClock
from tests.processes import ServerProcess, environment, serving
from tests.rpc.conftest import changed
from tests.rpc.running import Running, running, stub_of
from tests.service import Failure, failure_of
from tests.waiting import until

ATTACKER = "127.0.0.2"
FOUR_MEBIBYTES = 4 * 1024 * 1024
CONNECTIONS, STREAMS, CALLS = 4, 20, 40
UNREAD = CALLS // 4
RECEIVE_SECONDS = 1


@pytest.fixture
async def server(settings: Settings, clock: FakeClock) -> AsyncIterator[Running]:
    """Run a server with few places."""
    few: dict[str, object] = {
        "max_connections": 3 * CONNECTIONS,
        "max_connections_per_peer": CONNECTIONS,
        "max_streams": STREAMS,
        "max_calls": CALLS,
        "receive_timeout": RECEIVE_SECONDS,
    }
    async with running(changed(settings, server=few), clock) as running_server:
        yield running_server


async def call(server: Running) -> None:
    """Make a call as anybody would, over a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        await stub_of(channel).FetchAuthSession(pb.FetchAuthSessionRequest())


def hold(peer: Peer, streams: int, message: bytes, seconds: float = 0.5) -> None:
    """Open streams that never come to the end of their message."""
    for _ in range(streams):
        peer.open(message)
    peer.run(seconds)


async def test_a_message_that_does_not_come_to_its_end_is_cut_off(server: Running) -> None:
    """Time runs from a call's headers on, not from the end of its message (OWASP ASVS 5.0 V15.2.2)."""
    with connected(server.port, source=ATTACKER) as peer:
        await asyncio.to_thread(hold, peer, 2, begun(60_000))
        assert not peer.answers
        await asyncio.to_thread(peer.run, 10, answers=2)
    assert list(peer.answers.values()) == [Answer("4", "DEADLINE_EXCEEDED")] * 2
    await call(server)


async def test_slow_senders_take_no_places_of_others(server: Running) -> None:
    """Who sends nothing whole has a part of the places; the rest is refused, and others are served (ASVS V15.2.2)."""
    with connected(server.port, source=ATTACKER) as peer:
        await asyncio.to_thread(hold, peer, STREAMS, begun(60_000))
        refused = list(peer.answers.values())
        assert refused == [Answer("14", "OVERLOADED", has_retry_info=True)] * (STREAMS - UNREAD)
        await call(server)
        await asyncio.to_thread(peer.run, 10, answers=STREAMS)
        # Places are given back.
        peer.answers.clear()
        await asyncio.to_thread(hold, peer, UNREAD, begun(60_000), 0.2)
        assert not peer.answers


async def test_streams_of_a_connection_are_bounded(server: Running) -> None:
    """The server says how many streams it takes (RFC 9113 §5.1.2), and resets those of a peer that does not heed it."""
    with connected(server.port, source=ATTACKER) as peer:
        assert peer.connection.remote_settings.max_concurrent_streams == STREAMS

        def flood() -> None:
            for _ in range(2 * STREAMS):
                peer.open(begun(10), heeds_limit=False)
            peer.run(0.5)

        # The library heeds the limit, so it has to be told another.
        peer.connection.remote_settings.max_concurrent_streams = 1000
        peer.connection.remote_settings.acknowledge()
        await asyncio.to_thread(flood)
        resets = [answer for answer in peer.answers.values() if answer.reset is not None]
        assert len(resets) == STREAMS
    await call(server)


async def test_connections_of_a_peer_are_bounded(server: Running) -> None:
    """The newest connections of an address above its number are closed; others come in (ASVS V15.2.2)."""
    with ExitStack() as stack:
        links = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), source_address=(ATTACKER, 0)))
            for _ in range(2 * CONNECTIONS)
        ]

        async def are_cut() -> bool:
            return sum(map(is_open, links)) == CONNECTIONS

        await until(are_cut)
        await call(server)
    assert server.metrics.registry.get_sample_value("authsvc_cut_connections_total") == CONNECTIONS


async def test_connections_in_all_are_bounded(server: Running) -> None:
    """Above the number of connections in all the server takes no more, and does again when one has gone."""
    with ExitStack() as stack:
        links = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), source_address=(f"127.0.0.{host}", 0))
            )
            for host in range(2, 6)
            for _ in range(CONNECTIONS)
        ]

        async def are_closed() -> bool:
            return sum(map(is_open, links)) <= 3 * CONNECTIONS

        await until(are_closed)
    await until_called(server)


async def until_called(server: Running) -> None:
    """Return once a call is answered."""

    async def is_answered() -> bool:
        try:
            await call(server)
        except grpc.aio.AioRpcError:
            return False
        return True

    await until(is_answered)


@pytest.mark.parametrize("said", [b"", PREFACE[:9], PREFACE], ids=["nothing", "half a preface", "no settings"])
async def test_a_connection_that_says_too_little_is_closed(server: Running, said: bytes) -> None:
    """A peer has so long to begin to speak HTTP/2, and no longer (RFC 9113 §3.4)."""
    with socket.create_connection(("127.0.0.1", server.port), source_address=(ATTACKER, 0)) as link:
        link.sendall(said)
        started = time.monotonic()

        async def is_closed() -> bool:
            return not is_open(link)

        await until(is_closed)
        assert time.monotonic() - started > RECEIVE_SECONDS / 2


async def test_a_message_that_announces_too_much_is_not_read(server: Running) -> None:
    """The length that stands before a message is enough to refuse it (RFC 9110 §15.5.14)."""
    with connected(server.port, source=ATTACKER) as peer:
        peer.open(begun(100, announced=1_000_000_000))
        await asyncio.to_thread(peer.run, 5, answers=1)
    assert list(peer.answers.values()) == [Answer("8")]


async def test_calls_above_the_number_in_all_are_told_to_come_again(settings: Settings, clock: FakeClock) -> None:
    """Calls in work are bounded too, whoever makes them, and the next one learns when to come again."""
    seen: list[Failure] = []
    async with running(changed(settings, server={"max_calls": 10}), clock) as server, server.channel() as channel:
        stub = stub_of(channel)
        await until_called(server)

        async def sign_in(number: int) -> None:
            request = pb.SignInRequest(username=f"user-{number}", password="Tr0mbone-under-9-lakes")
            try:
                await stub.SignIn(request)
            except grpc.aio.AioRpcError as error:
                seen.append(failure_of(error))

        await asyncio.gather(*(sign_in(number) for number in range(60)))
    refused = [failure for failure in seen if failure.reason == "OVERLOADED"]
    assert refused
    assert all(failure.retry_after for failure in refused)


async def test_unfinished_messages_take_no_memory(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """400 streams, each with a message of 4 MiB that lacks its end, leave the server as small as it was (ASVS V15.2.2).

    So do as many of the greatest size that is allowed, over many connections.
    """
    env = environment(database_url, master_key=master_key.line(), smtp_port=1)
    server = ServerProcess(env, tmp_path / "server.log")
    async with serving(server):
        process = psutil.Process(server.pid)
        before = process.memory_info().rss

        def attack() -> None:
            with connected(server.port, source=ATTACKER) as peer:
                for _ in range(400):
                    peer.open(begun(FOUR_MEBIBYTES))
                peer.run(2)
            with ExitStack() as stack:
                peers = [stack.enter_context(connected(server.port, source=ATTACKER)) for _ in range(10)]
                for peer in peers:
                    hold(peer, 100, begun(65_000), 0.2)

        await asyncio.to_thread(attack)
        assert process.memory_info().rss - before < 64 * 1024 * 1024
        await server.stub.FetchAuthSession(pb.FetchAuthSessionRequest())
