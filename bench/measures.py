"""The four measurements. What is compared is measured in turns, so that what else the machine does falls on both."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from google.protobuf.empty_pb2 import Empty

from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.tokens_pb2 import Tokens
from bench.hashing import PASSWORD, verify_repeatedly
from bench.load import Call, pace, saturate
from bench.server import EMPTY
from bench.stack import Running, Stack, username
from bench.window import Memory, Window, cpu_seconds, nicer_cpu_seconds

FETCH_ROUNDS = 24
FETCH_SECONDS = 0.3
IN_FLIGHT = 8
NEW_TOKENS = 400
SIGN_IN_ROUNDS = 4
SIGN_IN_SECONDS = 2.0
# For each hashing thread one that runs and one that waits.
SIGN_INS_PER_THREAD = 2
PACE_ROUNDS = 3
PACE_SECONDS = 4.0
PACE_PER_SECOND = 100
WAITING_SIGN_INS = 200

CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Fetch:
    """Hold the cost of FetchAuthSession beside that of an RPC that does nothing."""

    empty: list[Window]
    fetch: list[Window]
    of_new_tokens: Window


@dataclass(frozen=True, slots=True)
class SignIns:
    """Hold the cost of SignIn beside that of a bare hash, and the shares of the server's CPU that went into hashing."""

    sign_in: list[Window]
    hash: list[Window]
    hash_shares: list[float]


@dataclass(frozen=True, slots=True)
class Latency:
    """Hold the seconds that each FetchAuthSession took on an idle machine, and beside sign-ins on every core."""

    idle: list[float]
    saturated: list[float]
    sign_ins: list[Window]


@dataclass(frozen=True, slots=True)
class Peak:
    """Hold how much memory sign-ins that wait for their hash take in all."""

    idle_mib: float
    peak_mib: float
    waiting: int


async def measure_fetch(server: Running) -> Fetch:
    """Compare FetchAuthSession with the empty RPC, both with the same metadata."""
    signed_in = await sign_in_all(server, range(20))
    access_tokens = [tokens.access_token for tokens in signed_in]
    fetch, empty = _fetch(server, access_tokens), _empty(server, access_tokens)
    for warm_up in (empty, fetch):
        await saturate(warm_up, pid=server.pid, in_flight=IN_FLIGHT, seconds=FETCH_SECONDS)
    fetched, emptied = [], []
    for _ in range(FETCH_ROUNDS):
        emptied.append(await saturate(empty, pid=server.pid, in_flight=IN_FLIGHT, seconds=FETCH_SECONDS))
        fetched.append(await saturate(fetch, pid=server.pid, in_flight=IN_FLIGHT, seconds=FETCH_SECONDS))
    new = [await _new_access_token(server, signed_in[number % len(signed_in)]) for number in range(NEW_TOKENS)]
    return Fetch(emptied, fetched, await _each_once(server, new))


async def measure_sign_in(stack: Stack, server: Running) -> SignIns:
    """Compare SignIn with the bare hash, on as many threads as the server has."""
    loop = asyncio.get_running_loop()
    sign_ins, hashes, shares = [], [], []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other_process:
        bare = (stack.settings.passwords, CORES, SIGN_IN_SECONDS)
        await loop.run_in_executor(other_process, verify_repeatedly, *bare[:2], 0.2)
        for _ in range(SIGN_IN_ROUNDS):
            hashes.append(await loop.run_in_executor(other_process, verify_repeatedly, *bare))
            before = nicer_cpu_seconds(server.pid)
            sign_ins.append(await _saturate_with_sign_ins(server, SIGN_IN_SECONDS))
            shares.append((nicer_cpu_seconds(server.pid) - before) / sign_ins[-1].cpu_seconds)
    return SignIns(sign_ins, hashes, shares)


async def measure_latency(server: Running) -> Latency:
    """Pace FetchAuthSession on an idle server, then beside sign-ins that keep every core busy."""
    (tokens,) = await sign_in_all(server, [0])
    fetch = _fetch(server, [tokens.access_token])
    idle: list[float] = []
    saturated: list[float] = []
    sign_ins: list[Window] = []
    for _ in range(PACE_ROUNDS):
        idle += await pace(fetch, per_second=PACE_PER_SECOND, seconds=PACE_SECONDS)
        async with asyncio.TaskGroup() as both:
            load = both.create_task(_saturate_with_sign_ins(server, PACE_SECONDS + 1))
            # Until every core hashes.
            await asyncio.sleep(0.5)
            saturated += await pace(fetch, per_second=PACE_PER_SECOND, seconds=PACE_SECONDS)
        sign_ins.append(load.result())
    return Latency(idle, saturated, sign_ins)


async def measure_peak(server: Running) -> Peak:
    """Have many sign-ins wait at once in a server that has signed nobody in yet."""
    memory = Memory(pid=server.pid)
    await server.stub.GetSigningKeys(pb.GetSigningKeysRequest())
    idle = memory.resident_mib()
    memory.forget_peak()
    await sign_in_all(server, range(WAITING_SIGN_INS))
    return Peak(idle, memory.peak_mib(), WAITING_SIGN_INS)


async def sign_in_all(server: Running, numbers: Sequence[int]) -> list[Tokens]:
    """Sign accounts in, all at once."""
    return [answer.tokens for answer in await asyncio.gather(*(_sign_in(server, number) for number in numbers))]


async def _sign_in(server: Running, number: int) -> pb.SignInResponse:
    answer = await server.stub.SignIn(pb.SignInRequest(username=username(number), password=PASSWORD))
    assert answer.is_signed_in
    return answer


async def _saturate_with_sign_ins(server: Running, seconds: float) -> Window:
    return await saturate(
        partial(_sign_in, server), pid=server.pid, in_flight=SIGN_INS_PER_THREAD * CORES, seconds=seconds
    )


def _fetch(server: Running, access_tokens: Sequence[str]) -> Call:
    bearers = _bearers(access_tokens)

    async def call(number: int) -> None:
        answer = await server.stub.FetchAuthSession(
            pb.FetchAuthSessionRequest(), metadata=bearers[number % len(bearers)]
        )
        assert answer.is_signed_in

    return call


def _empty(server: Running, access_tokens: Sequence[str]) -> Call:
    bearers = _bearers(access_tokens)
    method = server.channel.unary_unary(
        EMPTY, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
    )

    async def call(number: int) -> None:
        await method(Empty(), metadata=bearers[number % len(bearers)])

    return call


def _bearers(access_tokens: Sequence[str]) -> list[tuple[tuple[str, str]]]:
    return [(("authorization", f"Bearer {token}"),) for token in access_tokens]


async def _new_access_token(server: Running, tokens: Tokens) -> str:
    # Within its grace a refresh token gives any number of access tokens.
    answer = await server.stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=tokens.refresh_token))
    return answer.tokens.access_token


async def _each_once(server: Running, access_tokens: list[str]) -> Window:
    fetch = _fetch(server, access_tokens)
    numbers = iter(range(len(access_tokens)))

    async def take_turns() -> None:
        for number in numbers:
            await fetch(number)

    started, cpu_before = time.monotonic(), cpu_seconds(server.pid)
    await asyncio.gather(*(take_turns() for _ in range(IN_FLIGHT)))
    return Window(len(access_tokens), time.monotonic() - started, cpu_seconds(server.pid) - cpu_before)
