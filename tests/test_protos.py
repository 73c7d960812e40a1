"""The protos, the stubs made from them and the tools that make them fit together."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sysconfig.get_path("scripts")) / "buf"


def run(*command: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and keep what it says."""
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


def generate_stubs(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the generator of the tree in `folder`."""
    return run(sys.executable, folder / "tools" / "generate_stubs.py", *arguments, folder=folder)


def test_committed_stubs_are_what_the_protos_say() -> None:
    """Generating the stubs again would change no file."""
    check = generate_stubs("--check")
    assert check.returncode == 0, check.stderr


def test_outdated_missing_and_stale_stubs_are_reported_and_mended(tmp_path: Path) -> None:
    """The check names a stub that is altered, missing or left over; generating mends those three."""
    for name in ("protos", "tools", "authsvc/v1"):
        shutil.copytree(ROOT / name, tmp_path / name)
    stubs = tmp_path / "authsvc" / "v1"
    before = {path.name: path.read_bytes() for path in stubs.iterdir() if path.is_file()}
    (stubs / "tokens_pb2.py").write_text("altered\n")
    (stubs / "session_pb2.pyi").unlink()
    (stubs / "left_over_pb2.py").write_text("left over\n")

    check = generate_stubs("--check", folder=tmp_path)
    reported = re.findall(r"^authsvc/v1/(\S+) is not", check.stderr, re.MULTILINE)
    assert check.returncode == 1
    assert sorted(reported) == ["left_over_pb2.py", "session_pb2.pyi", "tokens_pb2.py"]

    assert generate_stubs(folder=tmp_path).returncode == 0
    assert {path.name: path.read_bytes() for path in stubs.iterdir() if path.is_file()} == before


def test_protos_pass_buf_lint() -> None:
    """The protos keep buf's standard rules, and every element of them has a comment."""
    lint = run(BUF, "lint")
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_protos_are_formatted() -> None:
    """Formatting the protos would change nothing."""
    diff = run(BUF, "format", "--diff", "--exit-code")
    assert diff.returncode == 0, diff.stdout + diff.stderr


def test_all_of_grpcio_is_locked_to_one_version() -> None:
    """The generator and the runtime are of one version: a stub refuses to load under an older runtime."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        pins = dict(re.findall(r"^(grpcio[\w-]*)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))
        assert {"grpcio", "grpcio-status"} <= pins.keys()
        assert len(set(pins.values())) == 1, (lock, pins)
