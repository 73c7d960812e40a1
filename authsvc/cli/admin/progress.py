"""How far a long command is: on standard error, and only if that is a terminal."""

from __future__ import annotations

from rich import progress
from rich.console import Console


def counting(noun: str) -> progress.Progress:
    """Return a display of how many there are so far, in the field `count` of its task, where nobody knows the end."""
    return _display(
        progress.SpinnerColumn(), progress.TextColumn("{task.fields[count]} " + noun), progress.TimeElapsedColumn()
    )


def nearing(noun: str) -> progress.Progress:
    """Return a display with a bar that nears its end, and the field `count` of its task."""
    return _display(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[count]} " + noun),
        progress.TimeRemainingColumn(),
    )


def _display(*columns: progress.ProgressColumn) -> progress.Progress:
    console = Console(stderr=True)
    return progress.Progress(*columns, console=console, disable=not console.is_terminal)
