"""How far a long command is: on standard error, and only if that is a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def counting(noun: str) -> Progress:
    """Return a display of how many there are so far, in the field `count` of its task, where nobody knows the end."""
    return _display(SpinnerColumn(), TextColumn("{task.fields[count]} " + noun), TimeElapsedColumn())


def nearing(noun: str) -> Progress:
    """Return a display with a bar that nears its end, and the field `count` of its task."""
    return _display(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[count]} " + noun),
        TimeRemainingColumn(),
    )


def _display(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
