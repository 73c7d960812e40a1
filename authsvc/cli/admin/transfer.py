"""Commands that move accounts between files and a running server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.admin.options import connected
from authsvc.cli.failures import using
from authsvc.cli.paths import EXISTING_FILE, FILE

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin
    from authsvc.v1.import_users_pb2 import ImportUsersResponse

# Those of user_files.Format, which is imported with gRPC's messages.
FORMATS = ("jsonl", "csv", "cognito-csv")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv"}


def _kind(path: Path, given: str | None) -> str:
    kind = given or _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise click.UsageError("say by --format what kind of file it is")
    return kind


@click.command("import")
@click.argument("path", metavar="FILE", type=EXISTING_FILE)
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default what the name of FILE ends with.")
@click.option("--dry-run", is_flag=True, help="Check every row and change nothing.")
@click.option("--resume", is_flag=True, help="Go on where the import of this file stopped.")
@click.option("--create-groups", is_flag=True, help="Make the groups that rows name and that don't exist.")
@click.option("--import-id", metavar="NAME", help="Name the import; by default it is named after the file's contents.")
@connected
def import_users(admin: Admin, *, path: Path, kind: str | None, resume: bool, dry_run: bool, **options: Any) -> None:
    """Make accounts of the rows of FILE.

    Accounts that exist are never changed: rows with their username, verified address or user_id are told as
    duplicates. Rows that break a rule are told with the rule. Both are left out, and the command ends with code 1. An
    import that broke off is taken up again with --resume.
    """
    from authsvc.cli.admin.streams import Import  # noqa: PLC0415  # gRPC, which help does without

    import_ = Import(admin=admin, path=path, kind=_kind(path, kind), dry_run=dry_run, **options)
    response = import_.run(resume=resume)
    (_print_json if admin.show.is_json else _print_report)(response, dry_run=dry_run)
    if response.duplicates or response.refused:
        sys.exit(1)


@click.command("export")
@click.argument("path", metavar="FILE", type=FILE)
@click.option("--format", "kind", type=click.Choice(FORMATS[:2]), help="By default what the name of FILE ends with.")
@click.option("--include-secrets", is_flag=True, help="With password hashes and the secrets of authenticators.")
@connected
def export_users(admin: Admin, *, path: Path, kind: str | None, include_secrets: bool) -> None:
    """Write all accounts to a new FILE, mode 0600, as `import` takes them.

    With --include-secrets whoever reads the file can guess at passwords and make codes of authenticators: guard it like
    the database. Without, imported accounts need a password reset.
    """
    from authsvc.cli.admin.streams import export  # noqa: PLC0415  # gRPC, which help does without

    kind = _kind(path, kind)
    with using(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                count = export(admin, file, kind, include_secrets=include_secrets)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    if admin.show.is_json:
        click.echo(json.dumps({"exported": count}))
    else:
        click.echo(f"{path}: {count} accounts")


def _rows(response: ImportUsersResponse) -> list[tuple[int, str, str, str]]:
    return sorted(
        (row, problem.field, problem.rule, problem.description) for problem in response.problems for row in problem.rows
    )


def _print_report(response: ImportUsersResponse, *, dry_run: bool) -> None:
    for row, field, rule, description in _rows(response):
        click.echo(f"row {row}: {' '.join(each for each in (field, rule, description) if each)}")
    words = "would be imported" if dry_run else "imported"
    click.echo(f"{response.imported} {words}, {response.duplicates} duplicates, {response.refused} refused")


def _print_json(response: ImportUsersResponse, *, dry_run: bool) -> None:
    problems = [
        {"row": row, "field": field, "rule": rule, "description": description}
        for row, field, rule, description in _rows(response)
    ]
    told = {
        "dry_run": dry_run,
        "next_row": response.next_row,
        "imported": response.imported,
        "duplicates": response.duplicates,
        "refused": response.refused,
        "problems": problems,
    }
    click.echo(json.dumps(told, indent=2, ensure_ascii=False))
