"""`authsvc mail`: what the mails say, and whether one gets through."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage
from pathlib import Path

import click

from authsvc.cli.failures import Failed
from authsvc.cli.paths import FOLDER
from authsvc.cli.settings import read_settings
from authsvc.clock import SystemClock
from authsvc.config import MailSettings
from authsvc.core.messages.kinds import KINDS
from authsvc.crypto.tokens import new_id
from authsvc.delivery.failures import NotTaken
from authsvc.delivery.mail.preview import INDEX, write_preview
from authsvc.delivery.mail.rendering import MailRenderer
from authsvc.delivery.mail.samples import samples
from authsvc.delivery.mail.smtp import SmtpSender
from authsvc.delivery.words import tags_of
from authsvc.domain import MailId

# As they are written here, and in the names of templates.
_KINDS = {name.lower(): kind for name, kind in KINDS.items()}
_NAMES = list(_KINDS)


def _locale(_context: click.Context, _option: click.Parameter, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
    for each in (value,) if isinstance(value, str) else value:
        if each and not tags_of(each):
            raise click.BadParameter(f"{each!r} is no language tag like de or pt-BR")
    return value


@click.group
def command() -> None:
    """Show what the mails say; send one to try the SMTP server."""


@command.command
@click.option("--locale", "locales", multiple=True, callback=_locale, help="This one only. [default: all languages]")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_NAMES), help="This one only. [default: all kinds]")
@click.argument("out_folder", type=FOLDER)
def preview(locales: tuple[str, ...], kinds: tuple[str, ...], out_folder: Path) -> None:
    """Write each mail in each language to a folder: as text, as HTML and for a mail program, with an index.

    The mails are those that the settings make, with templates of your own if the settings name some, and about an
    account that does not exist. A --locale is what an account may have: what it lacks is in the default language.
    Files of a former preview are overwritten.
    """
    settings = read_settings("templates").mail
    renderer = MailRenderer(settings=settings)
    locales = locales or tuple(renderer.wording.languages())
    try:
        count = write_preview(renderer, out_folder, locales=locales, kinds=[_KINDS[kind] for kind in kinds or _NAMES])
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error
    click.echo(f"{count} mails; begin at {out_folder / INDEX}")


@command.command
@click.argument("address")
@click.option("--kind", type=click.Choice(_NAMES), default=_NAMES[0], show_default=True, help="What to send.")
@click.option("--locale", default="", callback=_locale, help="In which language. [default: the default language]")
def send_test(address: str, kind: str, locale: str) -> None:
    """Send one mail right away by the SMTP server of the settings, and print the server's answer.

    The mail is about an account that does not exist, and its code is good for nothing.
    """
    settings = read_settings("mail", "files").mail
    sample = next(samples(_KINDS[kind], to=address, locale=locale))
    try:
        mail = sample.render(
            MailRenderer(settings=settings), message_id=MailId(new_id()), created_at=SystemClock().now()
        )
    except ValueError as error:
        raise click.UsageError(f"{address}: is no address that mail can be sent to") from error
    server = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        answer = asyncio.run(_send(settings, mail))
    except TimeoutError as error:
        raise Failed(f"{server}: timed out after {settings.send_timeout.total_seconds():g} s") from error
    except NotTaken as failure:
        words = f"{server}: {failure}"
        raise Failed(f"{words}\nThe server said: {_legible(failure.answer)}" if failure.answer else words) from failure
    click.echo(f"{server} took the mail to {address}: {_legible(answer)}")


async def _send(settings: MailSettings, mail: EmailMessage) -> str:
    async with asyncio.timeout(settings.send_timeout.total_seconds()):
        return await SmtpSender(settings=settings).send(mail)


def _legible(answer: str) -> str:
    """Return a server's answer on one line, without what a terminal would obey."""
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in " / ".join(answer.splitlines())
    )
