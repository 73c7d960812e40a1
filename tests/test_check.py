"""`make check`: which tests are near a change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools.check import changed_files, near_tests

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where make is."""
    monkeypatch.chdir(ROOT)


def near(*changed: str) -> set[str]:
    """Return the names of the tests that are near changes."""
    return {path.as_posix() for path in near_tests([*map(Path, changed)], sorted(Path("tests").rglob("test_*.py")))}


def test_tests_that_import_a_module_are_near() -> None:
    """A test is near a module that it imports, or that something does which it imports, and that it is named as."""
    chosen = near("authsvc/crypto/sealing.py")
    assert {"tests/unit/test_sealing.py", "tests/core/test_audit.py", "tests/rpc/test_main_flow.py"} <= chosen
    assert "tests/unit/test_metrics.py" not in chosen


def test_the_service_brings_nothing_near() -> None:
    """A test that runs the service is near what it is named as, not all that the service stands on."""
    chosen = near("authsvc/crypto/totp.py")
    assert {"tests/unit/test_totp.py", "tests/rpc/test_totp_codes.py"} <= chosen
    assert "tests/rpc/test_sign_up.py" not in chosen


def test_what_tests_share_brings_them_near() -> None:
    """A shared module of tests is as near as any other: also what runs the service, if it is what changed."""
    assert "tests/rpc/test_refresh.py" in near("tests/rpc/calls.py")
    assert "tests/rpc/test_refresh.py" in near("tests/service.py")
    assert "tests/hooks/test_connection.py" in near("tests/hooks/conftest.py")


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ("docs/admin.md", "tests/docs/test_admin.py"),
        ("Dockerfile", "tests/test_docker_files.py"),
        ("migrations/0001_accounts.sql", "tests/store/test_users.py"),
    ],
)
def test_files_that_are_no_python(changed: str, test: str) -> None:
    """A test is near a file that it names, and all of the store's are near the schema."""
    assert test in near(changed)


def test_nothing_is_near_no_change() -> None:
    """Without a change there is nothing to check."""
    assert near() == set()


def test_changes_since_the_branch_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the branch committed, changed, deleted or never added is a change; what the base did since is none."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    def commit(name: str) -> None:
        (tmp_path / name).write_text("x")
        git("add", ".")
        git("commit", "-m", name)

    git("init", "-b", "main")
    (tmp_path / "changed").write_text("x")
    (tmp_path / "deleted").write_text("x")
    commit("first")
    git("switch", "-c", "branch")
    commit("committed")
    git("switch", "main")
    commit("of the base")
    git("switch", "branch")
    (tmp_path / "changed").write_text("y")
    (tmp_path / "deleted").unlink()
    (tmp_path / "untracked").write_text("x")
    monkeypatch.chdir(tmp_path)
    for base in ("", "main"):
        assert [*map(str, changed_files(base))] == ["changed", "committed", "deleted", "untracked"]
    with pytest.raises(SystemExit):
        changed_files("no-such-branch")
