"""Commands about mail on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from authsvc.cli.admin.options import connected, paged
from authsvc.domain import MailState

if TYPE_CHECKING:
    from authsvc.cli.admin.connection import Admin


@click.command("list-mail")
@click.option("--state", type=click.Choice(list(MailState), case_sensitive=False), help="Only mail in this state.")
@paged
@connected
def list_mail(admin: Admin, *, state: MailState | None, **pages: Any) -> None:
    """List mail, latest first; neither addresses nor contents are told."""
    wanted = f"MAIL_STATE_{state}" if state else None
    admin.list("ListMail", "mail", state=wanted, **pages)


@click.command("retry-mail")
@click.argument("mail_id")
@connected
def retry_mail(admin: Admin, mail_id: str) -> None:
    """Have a waiting mail tried at once."""
    admin.show.done(admin.call("RetryMail", mail_id=mail_id), "tried at once")
