"""Commands about mail on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from authsvc.cli.admin.options import connected, paged

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin

STATES = ("QUEUED", "SENT", "DROPPED", "DEAD")


@click.command("list-mail")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Only mail in this state.")
@paged
@connected
def list_mail(admin: Admin, state: str | None, everything: bool, page_size: int | None, page_token: str) -> None:
    """List mail, latest first; neither addresses nor contents are told."""
    found = admin.pages(
        "ListMail",
        "mail",
        everything=everything,
        state=f"MAIL_STATE_{state}" if state else None,
        page_size=page_size,
        page_token=page_token,
    )
    admin.show.mail(found)


@click.command("retry-mail")
@click.argument("mail_id")
@connected
def retry_mail(admin: Admin, mail_id: str) -> None:
    """Have a waiting mail tried at once."""
    admin.show.done(admin.call("RetryMail", mail_id=mail_id), "tried at once")


COMMANDS = (list_mail, retry_mail)
