"""Run the tests: first those that share the machine, in parallel, then those marked `serial`, one by one.

Usage: python tools/run_tests.py [PYTEST_ARGUMENT ...]
"""

import os
import subprocess
import sys

import pytest

# One more than there are cores: a test waits for Postgres half of its time. More than four only wait for each other.
PROCESSES = min(len(os.sched_getaffinity(0)) + 1, 4)
IN_PARALLEL = ("-m", "not serial", "-n", str(PROCESSES), "--dist=worksteal")
ONE_BY_ONE = ("-m", "serial")


def run(*arguments: str) -> int:
    """Run both halves, even if the first fails, and return the status of the first that failed."""
    halves = [_pytest(*half, *arguments) for half in (IN_PARALLEL, ONE_BY_ONE)]
    # Arguments that name single tests leave one half empty; only both empty is a mistake.
    ran = [status for status in halves if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    return next((status for status in ran if status), 0) if ran else pytest.ExitCode.NO_TESTS_COLLECTED


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
