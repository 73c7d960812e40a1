"""`authsvc migrate`: bring the schema up to date, once the database is there."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import click

from authsvc.cli.database import opened
from authsvc.cli.failures import expected, told
from authsvc.cli.settings import read_settings
from authsvc.clock import SystemClock
from authsvc.config import Settings
from authsvc.errors import DatabaseUnavailable
from authsvc.store.migrate import Migration, MigrationError, migrate, read_migrations

RETRY_INTERVAL = timedelta(milliseconds=500)


@click.command
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for a database that can't be reached yet.",
)
def command(wait: float) -> None:
    """Create the database schema, or bring it up to date.

    Needs the database's settings only. May run any number of times, and several times at once: one works, the others
    wait for it. Servers of the former version keep running meanwhile.
    """
    with expected(MigrationError):
        applied = asyncio.run(_migrate(read_settings("database"), timedelta(seconds=wait)))
    for migration in applied:
        click.echo(f"applied {migration.name}")
    if not applied:
        click.echo("nothing to apply: the schema is up to date")


async def _migrate(settings: Settings, wait: timedelta) -> list[Migration]:
    migrations = read_migrations()
    clock = SystemClock()
    deadline = clock.now() + wait
    last_told = ""
    async with opened(settings, hurried=False) as database:
        while True:
            try:
                return await migrate(database, migrations, clock)
            except DatabaseUnavailable as error:
                if clock.now() >= deadline:
                    raise
                if (why := told(error)) != last_told:
                    click.echo(f"waiting: {why}", err=True)
                    last_told = why
            await clock.sleep(RETRY_INTERVAL)
