"""A full run, with failures of every kind and faults all around, leaves no secret anywhere it could be read."""

from __future__ import annotations

import signal
from pathlib import Path

import asyncpg
import pytest

from authsvc.crypto.sealing import MasterKey
from tests.canary.acts import Act
from tests.canary.scanner import Secrets
from tests.canary.stage import set_up
from tests.canary.witness import Witness

# What the run must have met; else it shows less than it says.
REASONS = {
    "CODE_ALREADY_USED",
    "CODE_EXPIRED",
    "CODE_MISMATCH",
    "DATABASE_UNAVAILABLE",
    "INTERNAL",
    "INVALID_FIELDS",
    "INVALID_PASSWORD",
    "LIMIT_EXCEEDED",
    "NOT_AUTHORIZED",
    "REFRESH_TOKEN_REUSED",
    "SESSION_EXPIRED",
    "TOKEN_INVALID",
    "TOKEN_REVOKED",
    "USERNAME_EXISTS",
}
KINDS = {
    "SMTP password",
    "access_token",
    "code",
    "confirmation_code",
    "database password",
    "email",
    "id_token",
    "master key",
    "new_password",
    "next_page_token",
    "password",
    "phone_number",
    "previous_password",
    "proposed_password",
    "refresh_token",
    "session",
    "setup_uri",
    "shared_secret",
    "token",
    "totp_code",
    "webhook key",
}
EVENTS = ("listening", "rpc", "fault", "mail sent", "mail retried", "mail dead", "not serving", "stopped")


# A life of accounts in real time, most of which is waiting.
@pytest.mark.timeout(120)
async def test_nothing_tells_secrets(master_key: MasterKey, tmp_path: Path) -> None:
    """Neither the log, nor the metrics, nor what failed calls say, nor the database as a dump has it tells a secret."""
    async with set_up(tmp_path, master_key) as stage:
        witness = Witness(stage.server, stage.secrets)
        act = Act(stage, witness)
        spare = await act.first_steps()
        await act.refusals()
        await act.passwords(spare)
        await act.faults_of_mail()
        await act.faults_of_postgres()
        tables = await stage.tables()
        metrics = await stage.server.metrics()
        stage.server.send(signal.SIGTERM)
        assert await stage.server.wait() == 0
        log = stage.server.log()

    assert witness.reasons >= REASONS
    assert stage.secrets.kinds >= KINDS
    for event in EVENTS:
        assert f'"event": "{event}"' in log
    for table in ("challenge_sessions", "codes", "outbox", "refresh_tokens", "signing_keys", "totp_devices"):
        assert tables[table]

    statuses = "\n".join(witness.seen)
    assert stage.secrets.kinds_in_text(log) == set()
    assert stage.secrets.kinds_in_text(metrics) == set()
    assert stage.secrets.kinds_in_text(statuses) == set()
    for name, rows in tables.items():
        # Addresses and names are attributes of users, kept as they are; in the outbox, say, they are sealed.
        allowed = frozenset({"email", "phone_number", "name", "locale"} if name == "users" else ())
        assert stage.secrets.kinds_in_values([tuple(row) for row in rows], allowed=allowed) == set(), name
    assert all(row["hash"].startswith("$argon2id$") for row in tables["passwords"])

    assert_would_sing(stage.secrets, log, tables["outbox"])


def assert_would_sing(secrets: Secrets, log: str, rows: list[asyncpg.Record]) -> None:
    """See that every secret of this very run would have been found in this very log, and each kind in the outbox."""
    leaks = [secret.value[:20] for secret in secrets]
    for secret, leak in zip(secrets, leaks, strict=True):
        assert secret.is_in(f'{log}{{"event": "oops", "text": "{leak}"}}\n')
    assert secrets.kinds_in_values([*map(tuple, rows), *(leak.encode() for leak in leaks)]) == secrets.kinds
