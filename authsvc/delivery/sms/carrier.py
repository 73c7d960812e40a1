"""Hand SMS over to the operator's webhook, and say whether a failure is worth another try.

Permanent is only what the webhook says about this message, by a 4xx. Those that tell of a wrong address or key are not
about it: operators mend them.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from authsvc.clock import Clock
from authsvc.config import SmsSettings
from authsvc.crypto.webhook_signature import sign
from authsvc.delivery.carriers import Outgoing, Send
from authsvc.delivery.failures import PermanentFailure, TemporaryFailure
from authsvc.delivery.sms.rendering import SmsRenderer

# Wrong key, wrong address, too slow, too early, too many: all can change without the message.
MENDABLE = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})
_SECONDS = re.compile(r"[0-9]{1,6}")


class SmsCarrier:
    """Bring messages by SMS, each with a POST over a connection of its own."""

    def __init__(
        self, *, settings: SmsSettings, session: aiohttp.ClientSession, clock: Clock, default_locale: str
    ) -> None:
        self.send_timeout = settings.webhook_timeout
        self._url = settings.webhook_url
        self._session = session
        self._clock = clock
        self._renderer = SmsRenderer(settings=settings, default_locale=default_locale)
        self._keys = settings.keys()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: SmsSettings, clock: Clock, *, default_locale: str) -> AsyncIterator[SmsCarrier]:
        """Read the CA file, and keep what connections need until the end.

        `default_locale` is for accounts without a language that there are texts in.

        Raises:
            OSError: the file can't be read, or holds no certificate.
        """
        # Without a file of one's own aiohttp's context will do, which is made once.
        tls = ssl.create_default_context(cafile=ca_file) if (ca_file := settings.webhook_ca_file) else True
        async with aiohttp.ClientSession(
            # One POST in minutes finds a connection that was closed meanwhile, and aiohttp would not repeat it.
            connector=aiohttp.TCPConnector(ssl=tls, force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Who calls limits the time in all.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        ) as session:
            yield cls(settings=settings, session=session, clock=clock, default_locale=default_locale)

    def prepare(self, outgoing: Outgoing) -> Send:
        """Render an SMS, alike at every try, and return what hands it over.

        Raises:
            ValueError: the message is none for an SMS.
        """
        body = self._renderer.render(outgoing)
        return lambda: self._post(body)

    async def _post(self, body: bytes) -> None:
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "authsvc",
            "authsvc-timestamp": timestamp,
            "authsvc-signature": sign(self._keys, timestamp, body),
        }
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, OSError) as error:
            # Without the cause, whose text quotes addresses.
            raise TemporaryFailure(_describe(error)) from None
        if 200 <= status < 300:
            return
        if 400 <= status < 500 and status not in MENDABLE:
            raise PermanentFailure(f"refused: {status}")
        failure = TemporaryFailure(f"not taken: {status}")
        failure.retry_after = _wait(retry_after, self._clock.now())
        raise failure


def _wait(retry_after: str, now: datetime) -> timedelta | None:
    """Return how long the webhook asks to wait (RFC 9110 §10.2.3); None if it doesn't."""
    if _SECONDS.fullmatch(retry_after):
        return timedelta(seconds=int(retry_after))
    try:
        until = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(until.replace(tzinfo=until.tzinfo or UTC) - now, timedelta())


def _describe(error: aiohttp.ClientError | OSError) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as refused):
            return f"certificate refused: {refused.verify_message}"
        case aiohttp.ClientSSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorError(os_error=socket.gaierror()):
            return "the webhook's name was not found"
        case aiohttp.ClientOSError(errno=int(number)) | OSError(errno=int(number)):
            return f"no connection: {os.strerror(number)}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "connection lost"
        case _:
            return f"no answer that can be read: {type(error).__name__}"
