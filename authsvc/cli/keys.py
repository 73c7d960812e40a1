"""`authsvc keys`: master keys, which protect what is stored, and signing keys, which sign tokens."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import click

from authsvc.cli import key_file
from authsvc.cli.database import key_ring, opened
from authsvc.cli.failures import Failed
from authsvc.cli.paths import FILE
from authsvc.cli.settings import read_settings
from authsvc.cli.tables import print_list, whole_seconds
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.core.audit.trail import Audit
from authsvc.core.reseal import Resealed, reseal
from authsvc.core.sessions.signing_keys import SigningKeys
from authsvc.crypto.sealing import MasterKey, MasterKeyError
from authsvc.store import signing_keys
from authsvc.store.signing_keys import SigningKeyRow


@click.group
def command() -> None:
    """Make master keys; reseal; rotate the keys that sign tokens."""


@command.command
@click.option("--file", "path", type=FILE, help="Write to this file, mode 0600.")
@click.option("--if-missing", is_flag=True, help="Leave a file that is there as it is, and succeed.")
@click.option("--prepend", is_flag=True, help="Put the key before those in the file, which stay readable.")
def generate(path: Path | None, if_missing: bool, prepend: bool) -> None:
    """Make a master key for AUTHSVC_KEYS_MASTER, and print it or write it to a file.

    The first key of the setting seals what is stored from now on; the others still open what they sealed. Keep them
    apart from the database and its backups: both together give everything away, and without them nobody can sign in.
    """
    key = MasterKey.generate()
    if path is None:
        if if_missing or prepend:
            raise click.UsageError("--if-missing and --prepend need --file")
        click.echo(key.line())
        return
    if if_missing and prepend:
        raise click.UsageError("--if-missing and --prepend exclude each other")
    try:
        (key_file.prepend if prepend else key_file.create)(path, key)
    except FileExistsError as error:
        if not if_missing:
            raise Failed(
                f"{path}: is there already and stays as it is; --prepend puts a further key into it"
            ) from error
        click.echo(f"{path}: is there already")
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    except MasterKeyError as error:
        raise Failed(f"{path}: {error}") from error
    else:
        click.echo(f"{path}: master key {key.key_id}")


@command.command
@click.option(
    "--now", is_flag=True, help="Use the new key at once and refuse the tokens of the others: for a leaked key."
)
def rotate(now: bool) -> None:
    """Make a new key that signs tokens.

    It is published at once, and used once those who verify tokens had time to fetch it; the former one is published
    until its last token has ended. With --now users have to refresh their sessions, and verifiers that have not fetched
    the new key refuse new tokens for a while.
    """
    settings = read_settings("database", "keys")
    row = asyncio.run(_rotate(settings, immediately=now))
    click.echo(f"{row.kid}: {row.algorithm}, used from {whole_seconds(row.active_from)}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """List the keys that sign tokens or still verify them, newest first.

    The state of a key is `next` (published, not used yet), `current` (signs new tokens) or `retiring` (verifies those
    that it signed).
    """
    now = SystemClock().now()
    rows = asyncio.run(_list(read_settings("database"), now))
    keys = [
        {
            "kid": row.kid,
            "algorithm": row.algorithm,
            "state": _state(row, rows, now),
            "created": whole_seconds(row.created_at),
            "active_from": whole_seconds(row.active_from),
            "expires": whole_seconds(row.expires_at),
        }
        for row in rows
    ]
    print_list(keys, as_json=as_json, none="no keys yet: the first server that starts makes one")


@command.command("reseal")
def reseal_() -> None:
    """Seal anew under the first master key what lasts, so that the others can be dropped.

    That is TOTP secrets, signing keys and the ends of audit chains.

    May run at any time beside servers that know the first key. What still needs another key is listed: waiting mail and
    sign-ins go within hours; audit events are kept for as long as the settings say, and need their key to be verified.
    Recovery codes, admin keys and refresh tokens are keyed digests, which can't be made anew: those from before the
    first key came first end with the key that they were made with.
    """
    done = asyncio.run(_reseal(read_settings("database", "keys")))
    click.echo(
        f"sealed anew: {done.secrets} TOTP secrets, {done.signing_keys} signing keys, {done.audit_chains} audit chains"
    )
    for left in done.left:
        click.echo(f"needs key {left.key_id}: {left.count} {left.what}")
    if done.unopened:
        raise Failed(f"{done.unopened} of them can't be opened with the keys of the settings")
    if not done.left:
        click.echo("nothing needs another key than the first")


async def _reseal(settings: Settings) -> Resealed:
    # Counting may take long where the audit trail is.
    async with opened(settings, hurried=False) as database:
        return await reseal(database, key_ring(settings))


async def _rotate(settings: Settings, *, immediately: bool) -> SigningKeyRow:
    async with opened(settings) as database:
        ring, clock = key_ring(settings), SystemClock()
        audit = Audit(database=database, ring=ring, clock=clock)
        keys = SigningKeys(database=database, ring=ring, audit=audit, settings=settings.tokens, clock=clock)
        return await keys.rotate(immediately=immediately)


async def _list(settings: Settings, now: datetime) -> list[SigningKeyRow]:
    async with opened(settings) as database:
        return await signing_keys.list_published(database, now=now)


def _state(row: SigningKeyRow, rows: list[SigningKeyRow], now: datetime) -> str:
    if row.active_from > now:
        return "next"
    newest_active = next(each for each in rows if each.active_from <= now)
    return "current" if row is newest_active else "retiring"
