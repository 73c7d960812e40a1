"""Run `python -m bench.enumeration`: how well the time of a call, and of those after it, tells who has an account.

Calls for names that somebody has and for names that nobody has take turns, in random order. Beside each call three more
are measured, which wait for whatever the server still does for it. Mail goes to a catcher of its own process.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import uvloop

from authsvc.clock import SystemClock
from authsvc.crypto.tokens import new_id
from authsvc.dev.catcher import MailCatcher
from authsvc.domain import EmailKey, User, UserId, UsernameKey, UserStatus
from authsvc.store import passwords, users
from authsvc.store.db import Database
from authsvc.v1 import auth_service_pb2 as pb
from bench.hashing import make_hash
from bench.measures import CORES
from bench.stack import Running, Stack

NEXT_CALLS = 3
# Nobody's here, and good enough for anybody.
_PASSWORD = "Tr0mbone-under-9-lakes"  # noqa: S105  # opens nothing
# So far from a half an AUC is that tells names apart: chance gives 0.5 ± 0.02 at a thousand samples a class.
BOUND = 0.05
_MOST = "1000000"
_SETTINGS = {
    **{f"AUTHSVC_LIMITS_{action}_PER_SOURCE": _MOST for action in ("SIGN_UP", "SIGN_IN", "RESEND", "RESET")},
    **{f"AUTHSVC_LIMITS_{action}_GLOBAL": _MOST for action in ("SIGN_UP", "SIGN_IN", "RESEND", "RESET")},
    "AUTHSVC_MAIL_SMTP_HOST": "127.0.0.1",
    "AUTHSVC_MAIL_SMTP_TLS": "none",
    # As servers have it, unlike other measurements here.
    "AUTHSVC_CODES_SEND_WITHIN_SECONDS": "2",
}


@dataclass
class Samples:
    """Hold the milliseconds of calls, and of those after each, for names that somebody has and that nobody has."""

    calls: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    after: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return how likely one of the first takes longer than one of the second (Mann-Whitney); a half tells nothing."""
    ordered = sorted([(value, True) for value in positive] + [(value, False) for value in negative])
    ranks = sum(rank for rank, (_, is_positive) in enumerate(ordered, 1) if is_positive)
    return (ranks - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative))


Ask = Callable[[Running, str], Awaitable[Any]]
ASKED: dict[str, Ask] = {
    "ResetPassword": lambda server, name: server.stub.ResetPassword(pb.ResetPasswordRequest(username=name)),
    "SignIn": lambda server, name: server.stub.SignIn(pb.SignInRequest(username=name, password=_PASSWORD)),
    "ResendSignUpCode": lambda server, name: server.stub.ResendSignUpCode(pb.ResendSignUpCodeRequest(username=name)),
    "SignUp, taken address": lambda server, name: server.stub.SignUp(
        pb.SignUpRequest(username=f"new-{new_id()}", password=_PASSWORD, attributes={"email": f"{name}@example.com"})
    ),
}


async def _timed(call: Awaitable[Any]) -> float:
    started = time.perf_counter()
    with contextlib.suppress(grpc.aio.AioRpcError):
        await call
    return (time.perf_counter() - started) * 1000


async def measure(server: Running, ask: Ask, *, count: int) -> Samples:
    """Measure one call for every name."""
    samples = Samples()
    names = [
        (is_known, f"{'known' if is_known else 'other'}-{number}")
        for is_known in (True, False)
        for number in range(count)
    ]
    random.shuffle(names)
    for is_known, name in names:
        samples.calls[is_known].append(await _timed(ask(server, name)))
        after = [await _timed(server.stub.FetchAuthSession(pb.FetchAuthSessionRequest())) for _ in range(NEXT_CALLS)]
        samples.after[is_known].append(sum(after))
    return samples


async def fill(stack: Stack, count: int) -> None:
    """Make accounts with verified addresses."""
    database, clock = await Database.open(stack.settings.database, size=2), SystemClock()
    hash_, now = make_hash(stack.settings.passwords), clock.now()
    async with database.transaction() as transaction:
        for number in range(count):
            name, user_id = f"known-{number}", UserId(new_id())
            user = User(
                user_id=user_id,
                username=name,
                username_key=UsernameKey(name),
                status=UserStatus.UNCONFIRMED,
                email=f"{name}@example.com",
                email_key=EmailKey(f"{name}@example.com"),
                created_at=now,
                reserved_until=now,
            )
            await users.insert(transaction, user=user)
            await passwords.put(transaction, user_id=user_id, hash_=hash_, now=now)
            await users.confirm(transaction, username_key=user.username_key, now=now, by_email=False)
    await database.close()


async def _measure(count: int) -> dict[str, Samples]:
    with tempfile.TemporaryDirectory(prefix="authsvc-bench-mail-") as folder:
        async with Stack.open() as stack, MailCatcher(folder=Path(folder)) as catcher:
            await fill(stack, count)
            async with stack.server(**_SETTINGS, AUTHSVC_MAIL_SMTP_PORT=str(catcher.port)) as server:
                # The first calls connect, compile and cache.
                await measure(server, ASKED["SignIn"], count=20)
                return {what: await measure(server, ask, count=count) for what, ask in ASKED.items()}


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.enumeration", description="Tell names apart by time; takes minutes.")
    parser.add_argument("--count", type=int, default=2_000, help="names of each kind")
    parser.add_argument("--strict", action="store_true", help="end with status 1 if an AUC is out of bounds")
    options = parser.parse_args()
    measured = uvloop.run(_measure(options.count))
    print(f"{CORES} cores, Python {platform.python_version()}, {options.count} names a class\n")
    print("| call | | known, ms | unknown, ms | difference, ms | AUC |\n|---|---|---|---|---|---|")
    worst = 0.0
    for what, samples in measured.items():
        for part, values in (("the call", samples.calls), ("the three after it", samples.after)):
            known, other, area = (
                statistics.median(values[True]),
                statistics.median(values[False]),
                auc(values[True], values[False]),
            )
            worst = max(worst, abs(area - 0.5))
            print(f"| {what} | {part} | {known:.2f} | {other:.2f} | {known - other:+.2f} | {area:.3f} |")
    return 1 if options.strict and worst > BOUND else 0


if __name__ == "__main__":
    sys.exit(main())
