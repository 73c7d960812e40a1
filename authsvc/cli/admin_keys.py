"""`authsvc admin-keys`: the keys that open AdminService, made and revoked in the database itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import click

from authsvc.cli import whole_file
from authsvc.cli.database import key_ring, opened
from authsvc.cli.failures import Failed
from authsvc.cli.paths import FILE
from authsvc.cli.settings import read_settings
from authsvc.cli.tables import print_list, whole_seconds
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.core.audit.trail import Audit
from authsvc.core.operators.identity import NAME, AdminKeys
from authsvc.domain import AdminScope
from authsvc.store.admin_keys import AdminKey

LONGEST_DAYS = 3650

_T = TypeVar("_T")


@click.group
def command() -> None:
    """Make, list and revoke the keys that open AdminService.

    These commands use the database itself, with the settings of the server: who can run them needs no key.
    """


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not NAME.fullmatch(value):
        raise click.BadParameter("must have 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or digit")
    return value


@command.command
@click.argument("name", callback=_name)
@click.option(
    "--expires-in",
    type=click.IntRange(1, LONGEST_DAYS),
    metavar="DAYS",
    required=True,
    help=f"Days until the key ends, at most {LONGEST_DAYS}.",
)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in AdminScope]),
    multiple=True,
    default=[AdminScope.READ.value],
    show_default=True,
    help="What the key opens; may be given several times. Each scope can read.",
)
@click.option("--file", "path", type=FILE, help="Write the key to this new file, mode 0600.")
def create(name: str, expires_in: int, *, scopes: Sequence[str], path: Path | None) -> None:
    """Make a key for an operator or a program, and print it: this once, and never again.

    NAME stands in the audit trail for whoever uses the key; a name is good for one key only.
    """
    settings = read_settings("database", "keys")
    # Before the key is made: its name is good for one key only.
    if path is not None and path.exists():
        raise Failed(f"{path}: is there already and stays as it is")
    if path is not None and not path.parent.is_dir():
        raise Failed(f"{path}: No such file or directory")
    opens = {AdminScope(scope) for scope in scopes}
    made = _run(settings, lambda keys: keys.create(name, timedelta(days=expires_in), scopes=opens))
    if made is None:
        raise Failed(f"there is or was a key of the name {name}: choose another")
    key, expires_at = made
    if path is None:
        click.echo(key)
    else:
        try:
            whole_file.create(path, f"{key}\n", mode=0o600)
        except OSError as error:
            _run(settings, lambda keys: keys.revoke(name))
            raise Failed(f"{path}: {error.strerror}; the key is revoked") from error
    click.echo(f"{name}: good until {expires_at.isoformat(timespec='seconds')}", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(as_json: bool) -> None:
    """List all keys, oldest first; last_used is exact to an hour, and counts tries after the end."""
    settings = read_settings("database", "keys")
    now = SystemClock().now()
    rows = [
        {
            "name": key.name,
            "state": _state(key, now),
            "scopes": " ".join(key.scopes),
            "created": whole_seconds(key.created_at),
            "expires": whole_seconds(key.expires_at),
            "last_used": whole_seconds(key.last_used_at),
        }
        for key in _run(settings, AdminKeys.list_all)
    ]
    print_list(rows, as_json=as_json, none="no keys yet: `authsvc admin-keys create` makes one")


@command.command
@click.argument("name", callback=_name)
def revoke(name: str) -> None:
    """End a key at once and for good. A repeat changes nothing."""
    if not _run(read_settings("database", "keys"), lambda keys: keys.revoke(name)):
        raise Failed(f"there is no key of the name {name}")
    click.echo(f"{name}: revoked")


def _run(settings: Settings, act: Callable[[AdminKeys], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with opened(settings) as database:
            ring, clock = key_ring(settings), SystemClock()
            audit = Audit(database=database, ring=ring, clock=clock)
            return await act(AdminKeys(database=database, ring=ring, audit=audit, clock=clock))

    return asyncio.run(run())


def _state(key: AdminKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "live" if key.expires_at > now else "expired"
