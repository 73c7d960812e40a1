"""What a stretch of load cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil


@dataclass(frozen=True, slots=True)
class Window:
    """Hold one stretch of load: calls that finished in it, its length, and the CPU time of the process under load."""

    calls: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Return calls per second."""
        return self.calls / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Return CPU microseconds per call, all threads of the process included."""
        return self.cpu_seconds / self.calls * 1e6


def median_of(value: Callable[[Window], float], windows: Sequence[Window]) -> float:
    """Return the median of a value over windows."""
    return median(value(window) for window in windows)


def median_ratio(value: Callable[[Window], float], over: Sequence[Window], under: Sequence[Window]) -> float:
    """Return the median ratio of a value between neighbouring windows: what disturbs the machine disturbs both."""
    return median(value(one) / value(other) for one, other in zip(over, under, strict=True))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its threads included, to the nanosecond; `/proc` rounds it to 10 ms.

    The clock's number is what clock_getcpuclockid(3) computes.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def nicer_cpu_seconds(pid: int) -> float:
    """Return the CPU time of the threads that are nicer than their process: those that hash."""
    own = os.getpriority(os.PRIO_PROCESS, pid)
    return sum(
        thread.user_time + thread.system_time
        for thread in psutil.Process(pid).threads()
        if os.getpriority(os.PRIO_PROCESS, thread.id) > own
    )


class Memory:
    """Watch the resident memory of a process."""

    def __init__(self, *, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def forget_peak(self) -> None:
        """Start the peak anew at what is resident now (proc_pid_clear_refs(5))."""
        (self._folder / "clear_refs").write_text("5")

    def resident_mib(self) -> float:
        """Return what is resident."""
        return self._status_mib("VmRSS")

    def peak_mib(self) -> float:
        """Return the most that was resident at once."""
        return self._status_mib("VmHWM")

    def _status_mib(self, name: str) -> float:
        lines = (self._folder / "status").read_text().splitlines()
        # `VmRSS:	   81920 kB`
        (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
        return int(value) / 1024
