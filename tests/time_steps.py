"""The time steps of authenticators, on the machine's clock."""

from __future__ import annotations

import time

STEP_SECONDS = 30
# Programs that read whole seconds, as oathtool does, read a clock that lags by some milliseconds.
LAG_SECONDS = 1


def present_step() -> int:
    """Return the time step of this moment."""
    return int(time.time()) // STEP_SECONDS


def await_step_after(step: int) -> None:
    """Wait until every program on this machine is beyond a time step."""
    beyond = (step + 1) * STEP_SECONDS + LAG_SECONDS
    while (left := beyond - time.time()) > 0:
        time.sleep(left)
