"""Fixtures of the mail tests: an SMTP server, and a post office with workers that send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from authsvc.config import MailSettings
from authsvc.crypto.sealing import KeyRing
from authsvc.store.db import Database
from tests.clock import FakeClock
from tests.mail.post_office import PostOffice
from tests.mail.sms_office import carried
from tests.mail.smtp_server import SmtpServer
from tests.mail.webhook import Webhook


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    """Run a server that takes mail in clear."""
    async with SmtpServer() as server:
        yield server


@pytest.fixture
def office(database: Database, server: SmtpServer, ring: KeyRing, clock: FakeClock) -> PostOffice:
    """Return a post office on this test's database, clock and SMTP server."""
    return PostOffice(
        database, ring, clock, MailSettings(smtp_host="127.0.0.1", smtp_port=server.port, smtp_tls="none")
    )


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    """Run a webhook that takes what comes."""
    async with Webhook() as webhook:
        yield webhook


@pytest.fixture
async def sms(office: PostOffice, webhook: Webhook) -> AsyncIterator[PostOffice]:
    """Return a post office that brings SMS to the webhook, and mail as ever."""
    async with carried(office, webhook):
        yield office
