"""A post office that brings SMS too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from authsvc.config import SmsSettings
from authsvc.core.messages.notices import MailKind
from authsvc.domain import Medium
from authsvc.mail.sms import SmsCarrier
from tests.mail.post_office import PostOffice
from tests.mail.webhook import KEY, Webhook

NUMBER = "+4915112345678"
KIND = MailKind.SIGN_IN_CODE


@asynccontextmanager
async def carried(office: PostOffice, webhook: Webhook, **changes: Any) -> AsyncIterator[PostOffice]:
    """Let the office bring SMS to a webhook."""
    settings = SmsSettings(webhook_url=webhook.url, webhook_secret=SecretStr(KEY)).model_copy(update=changes)
    async with SmsCarrier.open(settings, office.clock, default_locale=office.settings.default_locale) as office.sms:
        yield office


async def owe(office: PostOffice, *numbers: str, **options: Any) -> None:
    """Enqueue SMS."""
    await office.owe(*(numbers or (NUMBER,)), kind=KIND, medium=Medium.SMS, **options)
