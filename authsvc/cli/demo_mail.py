"""Read mails from the mail catcher's HTTP side."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import aiohttp

from authsvc.cli.failures import Failed
from authsvc.clock import Clock

INTERVAL = timedelta(milliseconds=200)
TRIES = 150
_TIMEOUT = aiohttp.ClientTimeout(total=5)


async def wait_for_code(mail_url: str, address: str, clock: Clock) -> tuple[str, str]:
    """Return subject and code of the first mail to `address` that has a code; wait for it up to half a minute.

    Raises:
        Failed: none comes, or there is no mail catcher.
    """
    url = f"{mail_url.rstrip('/')}/messages?{urlencode({'to': address})}"
    # trust_env: by the proxy of the environment, if there is one.
    async with aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True, trust_env=True) as session:
        for _ in range(TRIES):
            for mail in await _fetch(session, url):
                if code := mail["code"]:
                    return str(mail["subject"]), str(code)
            await clock.sleep(INTERVAL)
    raise Failed(f"no mail with a code for {address} has arrived at {mail_url}")


async def _fetch(session: aiohttp.ClientSession, url: str) -> list[dict[str, str | int | None]]:
    try:
        async with session.get(url) as answer:
            mails: list[dict[str, str | int | None]] = await answer.json()
            return mails
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Failed(f"cannot read mail from {url}: {str(error) or 'timed out'}") from error
