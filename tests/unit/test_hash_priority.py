"""The priority of the threads that hash passwords."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HASH_AND_TELL = """
import asyncio, os, threading
from authsvc.crypto.hash_fields import HashParameters
from authsvc.crypto.password_hash import PasswordHasher

async def main():
    hasher = PasswordHasher(parameters=HashParameters(1, 8, 1), threads=1, queue=1)
    async with hasher.place() as place:
        await place.hash("a password")
    (thread,) = (each for each in threading.enumerate() if each.name.startswith("password-hash"))
    print(os.getpriority(os.PRIO_PROCESS, thread.native_id))
    hasher.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("nicer_by", [0, 5, 19])
def test_hashes_have_the_lower_priority_however_the_process_was_started(nicer_by: int) -> None:
    """Threads that hash are nicer by 10 than their process, or as nice as can be, and hash in any case."""
    told = subprocess.run(
        ["nice", "-n", str(nicer_by), sys.executable, "-c", HASH_AND_TELL],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert int(told.stdout) == min(os.nice(0) + nicer_by + 10, 19)
