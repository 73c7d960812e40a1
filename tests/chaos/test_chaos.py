"""Two servers on one Postgres are killed again and again under load: what was acknowledged is so, and nothing is twice.

OWASP ASVS 5.0 V16.5.3 (failures leave a secure state) and V2.3 (business logic holds whatever fails).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

import asyncpg
import grpc
import pytest

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.postgres import EmbeddedPostgres
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.chaos.harm import Harm, WatchedSmtpServer
from tests.chaos.invariants import broken
from tests.chaos.ledger import Ledger
from tests.chaos.people import GUESSES, Crowd
from tests.processes import ServerProcess, environment, free_port, serving
from tests.starts import run
from tests.waiting import until

# A few and always the same for every run of the tests; `make chaos` does many.
FEW = 4
KILLS = int(os.environ.get("CHAOS_KILLS", FEW))
STOPS = max(1, KILLS // 10)
SEED = int(os.environ.get("CHAOS_SEED", "0"))
USERS = 12
LEASE_SECONDS = 30
MAKEFILE = Path(__file__).parents[2] / "Makefile"
SETTINGS = {
    "ACCOUNTS_MFA": "OPTIONAL",
    "DATABASE_POOL_SIZE": "4",
    "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "1",
    "LIMITS_LOCK_FROM": "50",
    "LIMITS_CLOSE_AT": "1000",
    "MAIL_SEND_TIMEOUT_SECONDS": str(LEASE_SECONDS // 2),
    "MAIL_LEASE_SECONDS": str(LEASE_SECONDS),
    "MAIL_BACKOFF_FIRST_SECONDS": "1",
    "MAIL_BACKOFF_MAX_SECONDS": "10",
    "MAIL_POLL_INTERVAL_SECONDS": "0.5",
}


def harms(harm: Harm, random: Random) -> Sequence[Callable[[], Awaitable[None]]]:
    """Return all that is to be done, in any order."""
    kills = [random.choice((harm.kill, harm.kill, harm.kill_at_mail)) for _ in range(KILLS)]
    others = [harm.drain, harm.hang_mail, harm.refuse_mail, harm.drop_mail] * max(1, KILLS // 20)
    chosen = [*kills, *others, *([harm.stop_postgres] * STOPS)]
    random.shuffle(chosen)
    return chosen


@pytest.mark.timeout(180 + 10 * KILLS)
async def test_nothing_acknowledged_is_lost(
    mortal: EmbeddedPostgres, master_key: MasterKey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kills, stops of Postgres, a mail server that hangs and refuses, people who give up: every rule holds after."""
    random = Random(SEED)
    async with WatchedSmtpServer() as smtp:
        first, second = (
            ServerProcess(
                environment(
                    mortal.dsn(),
                    master_key=master_key.line(),
                    smtp_port=smtp.port,
                    SERVER_PORT=str(free_port()),
                    **SETTINGS,
                ),
                tmp_path / f"server-{number}.log",
            )
            for number in (1, 2)
        )
        async with serving(first, second):
            targets = ",".join(f"127.0.0.1:{server.port}" for server in (first, second))
            options = (("grpc.lb_policy_name", "round_robin"), ("grpc.max_reconnect_backoff_ms", 200))
            async with grpc.aio.insecure_channel(f"ipv4:{targets}", options=options) as channel:
                stub = AuthServiceStub(channel)
                harm = Harm((first, second), mortal, smtp, random)
                ledger = Ledger()
                crowd = Crowd(stub, smtp, ledger, Random(SEED), asyncio.Event())
                async with asyncio.TaskGroup() as tasks:
                    for number in range(USERS):
                        tasks.create_task(crowd.live(f"user-{number}"))
                    tasks.create_task(crowd.guess("nobody"))
                    for do in harms(harm, random):
                        await do()
                    crowd.stop.set()
                connection = await asyncpg.connect(mortal.dsn())
                await _settle(connection)
                # Counts are committed without waiting for the disk: the last half second before a crash can be lost.
                lost = GUESSES if harm.done["stops of Postgres"] else 0
                faults = await broken(ledger, smtp, stub, connection, lost_counts=lost)
                await connection.close()
        env = environment(mortal.dsn(), master_key=master_key.line(), smtp_port=smtp.port)
        audited = await asyncio.to_thread(run, "audit", "verify", environment=env)
    told = f"CHAOS_KILLS={KILLS} CHAOS_SEED={SEED}: {dict(harm.done)}; {ledger}"
    with capsys.disabled():
        print(f"\n{told}")  # noqa: T201  # what was survived, and how to do it again
    assert not faults, faults
    assert audited.returncode == 0, audited.stdout
    assert ledger.broken, told
    assert any(account.is_confirmed for account in ledger.accounts.values()), told


async def _settle(connection: asyncpg.Connection) -> None:
    """Return once no mail is on its way; the end of a dead server's lease, half a minute, is skipped."""
    await connection.execute("update outbox set leased_until = now() where leased_until is not null")

    async def is_sent() -> bool:
        return not await connection.fetchval("select exists (select from outbox where state = 'QUEUED')")

    await until(is_sent, patience=2 * LEASE_SECONDS)


def test_how_to_do_more_harm_is_told() -> None:
    """`make chaos` runs this file."""
    assert "CHAOS_KILLS" in MAKEFILE.read_text(encoding="utf-8").split("chaos:")[1]
