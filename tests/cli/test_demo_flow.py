"""The demo's authenticator: which code it uses when, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from authsvc.cli.demo_flow import Walk
from authsvc.cli.demo_mail import INTERVAL
from authsvc.cli.demo_view import View
from tests.clock import NOON, FakeClock
from tests.service import Service

STEP_START = NOON.replace(second=0)


class HastyClock:
    """Tell the time of a clock, move it instead of waiting, and wake a moment early, as timers may."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        """Return the time."""
        return self._clock.now()

    async def sleep(self, duration: timedelta) -> None:
        """Move the time on; but the mail comes in real time."""
        if duration == INTERVAL:
            await asyncio.sleep(0.01)
        else:
            self._clock.advance(max(duration * 0.9, timedelta(microseconds=1)))


@pytest.mark.parametrize(
    ("seconds_into_step", "waits"),
    [(0.0, False), (12.0, False), (24.0, False), (26.0, True), (29.5, True)],
)
async def test_no_code_is_used_twice_by_mistake(
    service: Service, clock: FakeClock, capsys: pytest.CaptureFixture[str], seconds_into_step: float, waits: bool
) -> None:
    """Wherever in a time step it starts, the demo goes through; it waits for the end of a step only if that is near."""
    clock.advance(STEP_START + timedelta(minutes=1, seconds=seconds_into_step) - clock.now())
    mail_url = f"http://127.0.0.1:{service.catcher.http_port}"
    begin = clock.now()
    await Walk(channel=service.channel, mail_url=mail_url, view=View(), clock=HastyClock(clock)).run(None)
    told = capsys.readouterr().out
    assert told.endswith("Everything came out as it should.\n")
    assert ("The authenticator shows the next one in" in told) is waits
    assert clock.now() - begin <= timedelta(seconds=5)
