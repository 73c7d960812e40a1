"""The results as a table for people and as JSON for programs, with a verdict on each expectation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from authsvc.config import PasswordsSettings
from bench.load import percentile
from bench.measures import CORES, Fetch, Latency, Peak, SignIns
from bench.window import Window, median_of, median_ratio

LEAST_OF_EMPTY = 0.55
LEAST_HASH_SHARE = 0.90
MOST_TIMES_IDLE = 5.0
# What a call takes while it waits: its message, its task, its place in the queue.
WAITING_CALL_MIB = 0.1
# Hashes that ended leave some of their memory with the allocator.
MEMORY_SLACK_MIB = 16.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold one line of the table of costs."""

    name: str
    calls_per_second: float
    cpu_micros: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what was expected of one number, and the number."""

    name: str
    value: float
    expected: str
    is_met: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """Hold everything that a run tells."""

    costs: list[Cost]
    verdicts: list[Verdict]

    @property
    def is_as_expected(self) -> bool:
        """Tell whether every expectation is met."""
        return all(verdict.is_met for verdict in self.verdicts)


def judge(*, fetch: Fetch, sign_ins: SignIns, latency: Latency, peak: Peak, settings: PasswordsSettings) -> Report:
    """Reduce the measurements to the numbers that were asked for."""
    costs = [
        _cost("empty RPC", fetch.empty),
        _cost("FetchAuthSession", fetch.fetch),
        _cost("FetchAuthSession, each token once", [fetch.of_new_tokens]),
        _cost("bare hash", sign_ins.hash),
        _cost("SignIn", sign_ins.sign_in),
    ]
    return Report(costs, [_of_empty(fetch), _hash_share(sign_ins), _times_idle(latency), _memory(peak, settings)])


def _cost(name: str, windows: Sequence[Window]) -> Cost:
    return Cost(name, median_of(_rate, windows), median_of(_cpu, windows))


def _of_empty(fetch: Fetch) -> Verdict:
    # By CPU time, which other programs disturb less than they do the rate.
    of_cpu = median_ratio(_cpu, fetch.empty, fetch.fetch)
    of_rate = median_ratio(_rate, fetch.fetch, fetch.empty)
    return Verdict(
        "FetchAuthSession / empty RPC",
        of_cpu,
        f">= {LEAST_OF_EMPTY:.2f}",
        of_cpu >= LEAST_OF_EMPTY,
        f"by server CPU per call; by calls a second {of_rate:.2f}",
    )


def _hash_share(sign_ins: SignIns) -> Verdict:
    share = median(sign_ins.hash_shares)
    of_rate = median_ratio(_rate, sign_ins.sign_in, sign_ins.hash)
    of_cpu = median_ratio(_cpu, sign_ins.hash, sign_ins.sign_in)
    return Verdict(
        "hashing / SignIn",
        share,
        f">= {LEAST_HASH_SHARE:.2f}",
        share >= LEAST_HASH_SHARE,
        f"of the server's CPU; SignIn at {of_rate:.2f} of the bare hash rate, a bare hash is {of_cpu:.2f} of its CPU",
    )


def _times_idle(latency: Latency) -> Verdict:
    idle, saturated = percentile(latency.idle, 0.99), percentile(latency.saturated, 0.99)
    return Verdict(
        "p99 saturated / idle",
        saturated / idle,
        f"<= {MOST_TIMES_IDLE:.1f}",
        saturated <= MOST_TIMES_IDLE * idle,
        f"of FetchAuthSession: {idle * 1e3:.1f} ms idle, {saturated * 1e3:.1f} ms beside"
        f" {median_of(_rate, latency.sign_ins):.0f} sign-ins a second",
    )


def _memory(peak: Peak, settings: PasswordsSettings) -> Verdict:
    hash_mib = settings.argon2_memory_kib / 1024
    threads = settings.hash_threads or CORES
    bound = threads * hash_mib + peak.waiting * WAITING_CALL_MIB + MEMORY_SLACK_MIB
    grown = peak.peak_mib - peak.idle_mib
    return Verdict(
        "growth of memory, MiB",
        grown,
        f"<= {bound:.0f}",
        grown <= bound,
        f"{peak.idle_mib:.0f} MiB idle, {peak.peak_mib:.0f} at most with {peak.waiting} sign-ins waiting;"
        f" {threads} hashes at once of {hash_mib:.0f} MiB",
    )


def to_text(report: Report) -> str:
    """Lay a report out as two tables."""
    lines = [f"{'':36}{'calls/s':>10}{'server CPU us/call':>21}"]
    lines += [f"{cost.name:36}{cost.calls_per_second:>10.0f}{cost.cpu_micros:>21.0f}" for cost in report.costs]
    lines += ["", f"{'':36}{'':>10}{'expected':>12}"]
    for verdict in report.verdicts:
        mark = "ok" if verdict.is_met else "MISSED"
        lines += [f"{verdict.name:36}{verdict.value:>10.2f}{verdict.expected:>12}  {mark}", f"    {verdict.detail}"]
    return "\n".join(lines)


def write_json(report: Report, file: Path) -> None:
    """Write the numbers of a report to a file."""
    file.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")


def _rate(window: Window) -> float:
    return window.rate


def _cpu(window: Window) -> float:
    return window.cpu_micros
