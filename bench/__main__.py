"""Run `python -m bench` (`make bench`)."""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import time
from pathlib import Path

import uvloop

from bench.measures import CORES, measure_fetch, measure_latency, measure_peak, measure_sign_in
from bench.report import Report, judge, to_text, write_json
from bench.stack import Stack

# More than the sign-ins that wait for the measurement of memory.
LONG_QUEUE = "256"


async def _measure() -> Report:
    async with Stack.open() as stack:
        async with stack.server() as server:
            _say("FetchAuthSession against an empty RPC")
            fetch = await measure_fetch(server)
            _say("SignIn against the bare hash")
            sign_ins = await measure_sign_in(stack, server)
            _say("FetchAuthSession while sign-ins saturate the cores")
            latency = await measure_latency(server)
        _say("memory with sign-ins waiting")
        async with stack.server(AUTHSVC_PASSWORDS_HASH_QUEUE=LONG_QUEUE) as server:
            peak = await measure_peak(server)
        return judge(fetch=fetch, sign_ins=sign_ins, latency=latency, peak=peak, settings=stack.settings.passwords)


def _say(what: str) -> None:
    print(f"measuring: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="bench", description="Measure the server against an empty RPC and a bare password hash; takes a minute."
    )
    parser.add_argument("--strict", action="store_true", help="end with status 1 if an expectation is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to FILE, too")
    options = parser.parse_args()
    # The driver's own pauses must not be taken for the server's.
    gc.freeze()
    started = time.monotonic()
    report = uvloop.run(_measure())
    print(f"\n{CORES} cores, Python {platform.python_version()}, {time.monotonic() - started:.0f} s\n")
    print(to_text(report))
    if options.json:
        write_json(report, options.json)
    return 1 if options.strict and not report.is_as_expected else 0


if __name__ == "__main__":
    sys.exit(main())
