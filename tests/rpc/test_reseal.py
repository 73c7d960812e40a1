"""`authsvc keys reseal`: an old master key can be dropped, and nobody's authenticator is lost."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from authsvc.config import KeysSettings, Settings
from authsvc.core.audit.retention import AuditRetention
from authsvc.core.audit.trail import AuditKind
from authsvc.core.reseal import reseal
from authsvc.crypto.sealing import KeyRing, MasterKey
from authsvc.crypto.tokens import new_id
from authsvc.store import sealed
from authsvc.store.db import Database
from authsvc.store.sealed import SealedSecret
from tests.cli.command import authsvc
from tests.clock import FakeClock
from tests.core.trail import Trail
from tests.service import Account, Service

FIRST = UUID(int=0)


@dataclass(frozen=True)
class Rotation:
    """Hold the master key of before and the one that comes first now."""

    old: MasterKey
    new: MasterKey

    @property
    def both(self) -> KeyRing:
        """Return the keys of a server during the rotation."""
        return KeyRing(keys=(self.new, self.old))


@pytest.fixture
def rotation(master_key: MasterKey) -> Rotation:
    """Make the key that takes over."""
    return Rotation(master_key, MasterKey.generate())


@pytest.fixture
async def account(settings: Settings, clock: FakeClock, tmp_path: Path) -> Account:
    """Make an account with an authenticator under the old key; half-done things of it are gone."""
    async with Service.run(settings, clock, tmp_path / "before") as service:
        return await service.enrolled()


def with_keys(settings: Settings, *keys: MasterKey) -> Settings:
    """Make settings with these keys."""
    lines = "\n".join(key.line() for key in keys)
    return settings.model_copy(update={"keys": KeysSettings(master=SecretStr(lines))})


async def test_user_signs_in_after_the_old_key_is_dropped(
    settings: Settings, clock: FakeClock, tmp_path: Path, account: Account, rotation: Rotation, database: Database
) -> None:
    """Sealed anew beside a running server, the authenticator and the signing key work with the new key alone."""
    async with Service.run(with_keys(settings, rotation.new, rotation.old), clock, tmp_path / "both") as service:
        done = await reseal(database, rotation.both)
        assert (done.secrets, done.signing_keys, done.unopened) == (1, 1, 0)
        assert {left.what for left in done.left} <= {"audit events"}
        await service.sign_in_fully(account)
    async with Service.run(with_keys(settings, rotation.new), clock, tmp_path / "after") as service:
        tokens = await service.sign_in_fully(account)
        assert tokens.access_token


async def test_resealing_again_changes_nothing(database: Database, account: Account, rotation: Rotation) -> None:
    """What is under the first key already stays as it is, byte for byte."""
    await reseal(database, rotation.both)
    before = await database.fetch("select sealed_secret from totp_devices")
    done = await reseal(database, rotation.both)
    assert (done.secrets, done.signing_keys) == (0, 0)
    assert await database.fetch("select sealed_secret from totp_devices") == before


async def test_secret_that_changed_meanwhile_is_left(database: Database, account: Account, rotation: Rotation) -> None:
    """A row that does not hold any more what was read is not overwritten."""
    (row,) = await sealed.list_secrets(database, after=FIRST, marker=rotation.both.marker, limit=10)
    await database.execute("update totp_devices set sealed_secret = $1", b"\x01xnewer")
    assert not await sealed.replace_secret(database, device_id=row.device_id, former=row.sealed, sealed=b"anew")
    assert await database.fetchval("select sealed_secret from totp_devices") == b"\x01xnewer"


async def test_pages_pass_what_cannot_be_opened(
    database: Database, account: Account, rotation: Rotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets under a key that is not here are counted and left, however many pages they fill."""
    monkeypatch.setattr("authsvc.core.reseal.BATCH", 2)
    (row,) = await sealed.list_secrets(database, after=FIRST, marker=rotation.both.marker, limit=10)
    await insert_copies(database, row, 5)
    done = await reseal(database, rotation.both)
    # Copies are bound to another device.
    assert (done.secrets, done.unopened) == (1, 5)
    assert [(left.key_id, left.count) for left in done.left if left.what == "TOTP secrets"] == [
        (rotation.old.key_id, 5)
    ]


async def test_chain_without_events_goes_on_after_the_old_key_is_dropped(
    database: Database, ring: KeyRing, clock: FakeClock, rotation: Rotation
) -> None:
    """Where all events went for their age, neither the note of the last nor that of the first needs the old key."""
    trail = Trail(database, ring, clock)
    await trail.begin()
    retention = AuditRetention(database=database, ring=ring, retention=timedelta(days=60))
    await retention.make_months(clock.now())
    await trail.record(AuditKind.SIGN_IN)
    clock.advance(timedelta(days=120))
    await retention.make_months(clock.now())
    assert await retention.prune(clock.now()) > 0
    done = await reseal(database, rotation.both)
    assert done.audit_chains == 1
    assert not done.left
    later = replace(trail, ring=KeyRing(keys=(rotation.new,)))
    assert await later.faults() == []
    await later.record(AuditKind.SIGN_IN)
    assert await later.faults() == []


async def test_forged_end_is_not_sealed_anew(
    database: Database, ring: KeyRing, clock: FakeClock, rotation: Rotation
) -> None:
    """Who winds a chain back is found after a rotation too."""
    trail = Trail(database, ring, clock)
    await trail.begin()
    await trail.record(AuditKind.SIGN_IN, AuditKind.SIGN_OUT)
    await database.execute("update audit_chains set sequence = 1 where sequence = 2")
    assert (await reseal(database, rotation.both)).audit_chains == 0
    assert any("END_FORGED" in fault for fault in await replace(trail, ring=rotation.both).faults())


def test_command_tells_what_it_did(database_url: str, account: Account, rotation: Rotation) -> None:
    """The command seals anew and lists what needs other keys; without the old key it fails and says so."""
    keys = {"AUTHSVC_DATABASE_URL": database_url, "AUTHSVC_KEYS_MASTER": rotation.new.line()}
    done = authsvc("keys", "reseal", settings=keys)
    assert done.returncode == 1
    assert done.stderr == "Error: 2 of them can't be opened with the keys of the settings\n"
    assert f"needs key {rotation.old.key_id}: 1 TOTP secrets\n" in done.stdout
    keys["AUTHSVC_KEYS_MASTER"] = f"{rotation.new.line()}\n{rotation.old.line()}"
    done = authsvc("keys", "reseal", settings=keys)
    assert done.returncode == 0
    assert re.match(r"sealed anew: 1 TOTP secrets, 1 signing keys, [1-9]\d* audit chains\n", done.stdout)
    assert "TOTP secrets\n" not in done.stdout
    again = authsvc("keys", "reseal", settings=keys)
    assert again.stdout.startswith("sealed anew: 0 TOTP secrets, 0 signing keys, 0 audit chains\n")


async def insert_copies(database: Database, row: SealedSecret, count: int) -> None:
    """Insert authenticators with another one's secret."""
    for _ in range(count):
        await database.execute(
            """
            insert into totp_devices
                (device_id, user_id, friendly_name, sealed_secret, created_at, verified_at, last_step)
            select $1, user_id, friendly_name, sealed_secret, created_at, verified_at, last_step
              from totp_devices
             where device_id = $2
            """,
            new_id(),
            row.device_id,
        )
