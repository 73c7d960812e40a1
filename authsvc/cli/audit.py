"""`authsvc audit`: verify the audit trail, and read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import click

from authsvc.cli import whole_file
from authsvc.cli.database import key_ring, opened
from authsvc.cli.failures import Failed, using
from authsvc.cli.paths import FILE
from authsvc.cli.settings import read_settings
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.core.accounts.lookup import NamedUser
from authsvc.core.audit.events import AuditEvents
from authsvc.core.audit.verify import FAULTS, ChainReport, Mark
from authsvc.core.audit.verify import verify as verify_trail
from authsvc.core.pages import LARGEST_PAGE, PageRequest
from authsvc.domain import Event
from authsvc.errors import InvalidFields, UserNotFound

MOST_LISTED = 1_000


@click.group
def command() -> None:
    """Verify the audit trail, and read it."""


@command.command
@click.option("--checkpoint", type=FILE, help="Compare with the ends in this file, and write the present ones to it.")
def verify(checkpoint: Path | None) -> None:
    """See that no event of the audit trail was altered, removed, inserted or moved.

    Ends with code 1 if one was. Needs every master key that events were recorded under. That the newest events were cut
    off with the help of an older copy of the database shows only against a checkpoint: keep that file on another
    machine. It is made if it is not there, and moved on only when no fault is found.
    """
    settings = read_settings("database", "keys")
    former = _read_checkpoint(checkpoint) if checkpoint else {}
    reports = asyncio.run(_verify(settings, former))
    faults = sum(len(report.faults) for report in reports)
    events = sum(report.events for report in reports)
    if faults:
        broken = sum(bool(report.faults) for report in reports)
        raise Failed(f"FAIL: {faults} at fault, on {broken} of {len(reports)} chains")
    if checkpoint:
        _write_checkpoint(checkpoint, {report.chain: report.end for report in reports})
    click.echo(f"PASS: {events} events on {len(reports)} chains")


@command.command("list")
@click.option("--user", "who", metavar="NAME_OR_ID", help="Events of this user alone; the id of a deleted one too.")
@click.option(
    "--limit", type=click.IntRange(1, MOST_LISTED), default=50, show_default=True, help="List so many, latest first."
)
@click.option("--json", "as_json", is_flag=True, help="Print an object on each line.")
def list_(who: str | None, limit: int, as_json: bool) -> None:
    """List the latest events of the audit trail."""
    events = asyncio.run(_list(read_settings("database", "keys"), who, limit))
    for event in events:
        click.echo(json.dumps(_fields(event)) if as_json else _line(event))
    if not events:
        click.echo("no events", err=True)


def _read_checkpoint(path: Path) -> dict[int, Mark]:
    """Read where each chain ended when it was verified last; an absent file is an empty one.

    Raises:
        Failed: it can't be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failed(f"{path}: is no text") from None
    try:
        return {
            int(chain): Mark(int(mark["sequence"]), bytes.fromhex(mark["digest"]))
            for chain, mark in json.loads(text)["chains"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"{path}: is no checkpoint of `authsvc audit verify`") from None


def _write_checkpoint(path: Path, marks: Mapping[int, Mark]) -> None:
    """Make the file, or replace what is in it, in one step.

    Raises:
        Failed: it can't be written.
    """
    chains = {str(chain): {"sequence": mark.sequence, "digest": mark.digest.hex()} for chain, mark in marks.items()}
    text = json.dumps({"chains": chains}, indent=2) + "\n"
    with using(path):
        if path.exists():
            whole_file.replace(path, text)
        else:
            whole_file.create(path, text, mode=0o600)


async def _verify(settings: Settings, former: Mapping[int, Mark]) -> list[ChainReport]:
    reports = []
    # A chain's last event is looked for in every month: that may take longer than a server's statements.
    async with opened(settings, hurried=False) as database:
        async for report in verify_trail(database, key_ring(settings), former):
            _tell(report)
            reports.append(report)
    return reports


async def _list(settings: Settings, who: str | None, limit: int) -> list[Event]:
    named = _named(who) if who is not None else None
    # As above.
    async with opened(settings, hurried=False) as database:
        events = AuditEvents(database=database, ring=key_ring(settings), clock=SystemClock())
        listed: list[Event] = []
        request = PageRequest(min(limit, LARGEST_PAGE))
        try:
            while True:
                page = await events.list_matching(named, request)
                listed += page.entries
                if not page.next_page_token or len(listed) >= limit:
                    return listed[:limit]
                request = PageRequest(request.size, page.next_page_token)
        except (UserNotFound, InvalidFields) as error:
            raise Failed(f"there is no user {who!r}") from error


def _named(who: str) -> NamedUser:
    try:
        UUID(who)
    except ValueError:
        return NamedUser(username=who)
    return NamedUser(user_id=who)


def _tell(report: ChainReport) -> None:
    click.echo(f"chain {report.chain:2}: {report.events} events, up to {report.end.sequence}")
    for fault in report.faults:
        where = f"event {report.chain}-{fault.first}"
        if fault.last != fault.first:
            where += f" to {report.chain}-{fault.last}"
        click.echo(f"  {fault.kind} at {where}: {FAULTS[fault.kind]}")
    if not report.is_complete:
        click.echo("  … and more: the rest of this chain was not verified")


def _fields(event: Event) -> dict[str, object]:
    return {
        "event_id": f"{event.chain}-{event.sequence}",
        "time": event.created_at.isoformat(timespec="milliseconds"),
        "kind": event.kind,
        "result": event.result,
        "reason": event.reason,
        "user_id": str(event.user_id) if event.user_id else None,
        "username": event.username,
        "actor": event.actor,
        "session_id": str(event.session_id) if event.session_id else None,
        "request_id": event.request_id,
        "client_ip": event.client_ip,
        "client_user_agent": event.client_user_agent,
        "details": event.details,
    }


def _line(event: Event) -> str:
    who = event.username or str(event.user_id or "-")
    words = [
        event.created_at.isoformat(timespec="seconds"),
        event.kind,
        event.reason or event.result,
        who,
        event.actor,
        event.client_ip or "-",
        event.request_id or "-",
    ]
    return "  ".join(words)
