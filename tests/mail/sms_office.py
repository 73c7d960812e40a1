"""A post office that brings SMS too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from authsvc.config import SmsSettings
from authsvc.core.messages.kinds import SignInCode
from authsvc.delivery.sms.carrier import SmsCarrier
from authsvc.domain import Medium
from tests.mail.post_office import CODE, PostOffice
from tests.mail.webhook import KEY, Webhook

NUMBER = "+4915112345678"
MESSAGE = SignInCode(CODE)
KIND = MESSAGE.kind


@asynccontextmanager
async def carried(office: PostOffice, webhook: Webhook, **changes: Any) -> AsyncIterator[PostOffice]:
    """Let the office bring SMS to a webhook."""
    settings = SmsSettings(webhook_url=webhook.url, webhook_secret=SecretStr(KEY)).model_copy(update=changes)
    async with SmsCarrier.open(settings, office.clock, default_locale=office.settings.default_locale) as office.sms:
        yield office


async def owe(office: PostOffice, *numbers: str, **options: Any) -> None:
    """Enqueue SMS."""
    await office.owe(*(numbers or (NUMBER,)), message=MESSAGE, medium=Medium.SMS, **options)
