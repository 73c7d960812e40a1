"""Read mails from the mail catcher's HTTP side."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from http.client import HTTPException
from urllib.parse import urlencode
from urllib.request import urlopen

from authsvc.cli.failures import Failed
from authsvc.clock import Clock

INTERVAL = timedelta(milliseconds=200)
TRIES = 150
_SECONDS = 5


async def wait_for_code(mail_url: str, address: str, clock: Clock) -> tuple[str, str]:
    """Return subject and code of the first mail to `address` that has a code; wait for it up to half a minute.

    Raises:
        Failed: none comes, or there is no mail catcher.
    """
    for _ in range(TRIES):
        for mail in await asyncio.to_thread(_fetch, mail_url, address):
            if code := mail["code"]:
                return str(mail["subject"]), str(code)
        await clock.sleep(INTERVAL)
    raise Failed(f"no mail with a code for {address} has arrived at {mail_url}")


def _fetch(mail_url: str, address: str) -> list[dict[str, str | int | None]]:
    url = f"{mail_url.rstrip('/')}/messages?{urlencode({'to': address})}"
    try:
        with urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - the command takes http and https only
            mails: list[dict[str, str | int | None]] = json.load(answer)
            return mails
    except (OSError, HTTPException, ValueError) as error:
        raise Failed(f"cannot read mail from {url}: {error}") from error
