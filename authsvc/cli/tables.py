"""Rows for people: a table on a terminal, plain columns in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

import click

NOTHING = "-"

Row = Mapping[str, str | None]


def print_table(rows: Sequence[Row]) -> None:
    """Print rows of the same columns, at least one, below the names of these."""
    heading = list(rows[0])
    cells = [[value or NOTHING for value in row.values()] for row in rows]
    if sys.stdout.isatty():
        _print_rich(heading, cells)
        return
    widths = [max(map(len, column)) for column in zip(heading, *cells, strict=True)]
    for line in (heading, *cells):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_list(rows: Sequence[Row], *, as_json: bool, none: str) -> None:
    """Print rows as a JSON array or as a table; instead of an empty table say `none`."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        print_table(rows)
    else:
        click.echo(none, err=True)


def print_fields(row: Row) -> None:
    """Print one row, a line for each of its fields."""
    width = max(map(len, row))
    for name, value in row.items():
        click.echo(f"{name.ljust(width)}  {value or NOTHING}")


def whole_seconds(moment: datetime | None) -> str | None:
    """Return a time as it is shown."""
    return moment.isoformat(timespec="seconds") if moment else None


def _print_rich(heading: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  # loads longer than most commands run
    from rich.table import Table  # noqa: PLC0415  # loads longer than most commands run
    from rich.text import Text  # noqa: PLC0415  # loads longer than most commands run

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in heading:
        table.add_column(name, overflow="fold")
    for row in rows:
        # As text: what users call themselves is no markup.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
