"""Run `python -m bench.transfer`: many accounts in, out, in again, and listed.

The commands are those of an operator, in processes of their own, so their parsing and writing counts. Everything shares
one machine: the command, the server and a durable Postgres.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from authsvc.clock import SystemClock
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import AdminKeys
from authsvc.crypto.sealing import KeyRing, parse_master_keys
from authsvc.domain import AdminScope
from authsvc.store.db import Database
from authsvc.v1.admin_service_pb2 import ListUsersRequest
from authsvc.v1.admin_service_pb2_grpc import AdminServiceStub
from authsvc.v1.user_order_pb2 import UserOrder
from bench.measures import CORES
from bench.stack import Running, Stack

# What an import must do here, parsing of the file included.
EXPECTED_PER_SECOND = 2_000
CALLS = 40
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def accounts(count: int) -> Iterator[dict[str, object]]:
    """Yield accounts as another system would give them: a hash each, an authenticator for every fourth."""
    for number in range(count):
        account: dict[str, object] = {
            "username": f"user.{number:07}",
            "attributes": {
                "email": f"user.{number}@example.com",
                "name": f"User {number}",
                "locale": ("en", "de", "fr")[number % 3],
            },
            "email_verified": True,
            "created_at": (EPOCH + timedelta(seconds=61 * number)).isoformat(),
            "groups": ["staff"] if number % 10 == 0 else ["customers"],
            "password_hash": f"$2b$12$abcdefghijklmnopqrstuu{number:031}",
        }
        if number % 4 == 0:
            secret = base64.b32encode(number.to_bytes(20)).decode()
            account["totp_devices"] = [{"secret": secret, "friendly_name": "Phone"}]
        yield account


class Operator:
    """Run commands against a server."""

    def __init__(self, *, running: Running, key: str) -> None:
        self._address = f"127.0.0.1:{running.port}"
        self.key = key

    async def run(self, *arguments: str) -> float:
        """Run `authsvc admin …` and return the seconds that it took."""
        started = time.monotonic()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "authsvc", "admin", *arguments, "--address", self._address],
            env={**os.environ, "AUTHSVC_ADMIN_KEY": self.key},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stdout[-2000:]}")
        return time.monotonic() - started


async def make_key(stack: Stack) -> str:
    """Make an admin key."""
    database = await Database.open(stack.settings.database, size=1)
    ring = KeyRing(keys=parse_master_keys(stack.settings.keys.master.get_secret_value()))
    clock = SystemClock()
    made = await AdminKeys(
        database=database, ring=ring, audit=Audit(database=database, ring=ring, clock=clock), clock=clock
    ).create("bench", timedelta(days=1), scopes=[AdminScope.ALL])
    await database.close()
    assert made is not None
    return made[0]


async def list_users(running: Running, key: str) -> dict[str, float]:
    """Return the median milliseconds of pages of a hundred users, by order and filter."""
    stub = AdminServiceStub(running.channel)
    requests = {
        "by created_at": ListUsersRequest(page_size=100),
        "by username, descending": ListUsersRequest(
            page_size=100, order=UserOrder.USER_ORDER_USERNAME, descending=True
        ),
        "by email": ListUsersRequest(page_size=100, order=UserOrder.USER_ORDER_EMAIL),
        "filter username prefix": ListUsersRequest(page_size=100, username_prefix="user.0012"),
        "filter group": ListUsersRequest(page_size=100, group="staff"),
    }
    medians = {}
    for what, request in requests.items():
        times = []
        for _ in range(CALLS):
            started = time.perf_counter()
            page = await stub.ListUsers(request, metadata=(("authsvc-admin-key", key),))
            times.append((time.perf_counter() - started) * 1000)
            # Page after page, as a console reads them.
            request.page_token = page.next_page_token
        medians[what] = statistics.median(times)
    return medians


async def _measure(count: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="authsvc-transfer-") as folder:
        source, first, second = (Path(folder) / name for name in ("source.jsonl", "first.jsonl", "second.jsonl"))
        with source.open("w") as file:
            file.writelines(json.dumps(account) + "\n" for account in accounts(count))
        figures["file, MB"] = source.stat().st_size / 1e6
        async with Stack.open(accounts=0) as stack, stack.server() as server:
            operator = Operator(running=server, key=await make_key(stack))
            figures["dry run, rows/s"] = count / await operator.run(
                "import", str(source), "--dry-run", "--create-groups"
            )
            figures["import, rows/s"] = count / await operator.run("import", str(source), "--create-groups")
            seconds = await operator.run("export", str(first), "--include-secrets")
            figures["export, accounts/s"] = count / seconds
            listed = await list_users(server, operator.key)
            figures |= {f"ListUsers {what}, ms": median for what, median in listed.items()}
        async with Stack.open(accounts=0) as stack, stack.server() as server:
            operator = Operator(running=server, key=await make_key(stack))
            figures["import of the export, rows/s"] = count / await operator.run(
                "import", str(first), "--create-groups"
            )
            await operator.run("export", str(second), "--include-secrets")
        lines = first.read_bytes().count(b"\n")
        if lines != count or first.read_bytes() != second.read_bytes():
            raise SystemExit("the round trip is not lossless")
    return figures


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="bench.transfer", description="Import, export and list many accounts.")
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--strict", action="store_true", help="end with status 1 if the import is slower than expected")
    options = parser.parse_args()
    started = time.monotonic()
    figures = uvloop.run(_measure(options.accounts))
    seconds = time.monotonic() - started
    print(f"\n{options.accounts} accounts, {CORES} cores, Python {platform.python_version()}, {seconds:.0f} s\n")
    print("| | |\n|---|---|")
    for what, figure in figures.items():
        print(f"| {what} | {figure:.1f} |" if figure < 100 else f"| {what} | {figure:.0f} |")
    print("\nround trip: two exports of the same accounts from two databases are equal, byte for byte")
    return 1 if options.strict and figures["import, rows/s"] < EXPECTED_PER_SECOND else 0


if __name__ == "__main__":
    sys.exit(main())
