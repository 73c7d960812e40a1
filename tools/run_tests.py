"""Run the tests: first those that share the machine, in parallel, then those marked `serial`, one by one.

Usage: python tools/run_tests.py [PYTEST_ARGUMENT ...]
"""

import subprocess
import sys

import pytest

# More than four processes only make the tests wait for Postgres.
IN_PARALLEL = ("-m", "not serial", "-n", "logical", "--maxprocesses=4", "--dist=worksteal")
ONE_BY_ONE = ("-m", "serial")


def main() -> int:
    """Run both halves, even if the first fails, and return the status of the first that failed."""
    halves = [_pytest(*half, *sys.argv[1:]) for half in (IN_PARALLEL, ONE_BY_ONE)]
    # Arguments that name single tests leave one half empty; only both empty is a mistake.
    ran = [status for status in halves if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    return next((status for status in ran if status), 0) if ran else pytest.ExitCode.NO_TESTS_COLLECTED


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
