"""What the command line says of itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from authsvc.cli import _COMMANDS
from tests.cli.command import authsvc, bare_environment
from tests.starts import COMMAND

FAMILIES = {
    "audit": ("verify", "list"),
    "keys": ("generate", "rotate", "list", "reseal"),
    "mail": ("preview", "send-test"),
    "admin-keys": ("create", "list", "revoke"),
    "admin": ("create-user", "list-users", "add-user-to-group"),
}
COMMANDS = [[name] for name in _COMMANDS] + [[name, each] for name, family in FAMILIES.items() for each in family]


def test_help_names_every_command() -> None:
    """`authsvc --help` has a line for each command, and tells the exit codes."""
    told = authsvc("--help")
    assert told.returncode == 0
    for name, text in _COMMANDS.items():
        assert f"  {name} " in told.stdout
        assert text.split(":")[0] in told.stdout
    assert "Exit codes: 0 success, 1 failure, 2 wrong usage or settings." in told.stdout
    assert "worker" not in told.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help(command: list[str]) -> None:
    """A command starts by itself; its help begins with its usage, says what it does, and ends with the exit codes."""
    told = subprocess.run(
        [*COMMAND, *command, "--help"], env=bare_environment(), capture_output=True, text=True, check=False, timeout=30
    )
    assert told.returncode == 0
    assert told.stdout.startswith(f"Usage: authsvc {' '.join(command)} ")
    assert told.stdout.endswith("Exit codes: 0 success, 1 failure, 2 wrong usage or settings.\n")


def test_version_is_told() -> None:
    """`authsvc --version` prints name and version."""
    assert authsvc("--version").stdout.startswith("authsvc 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["serve", "--nonsense"],
        ["serve", "--workers", "0"],
        ["migrate", "--wait", "-1"],
        ["keys", "generate", "--if-missing"],
        ["keys", "generate", "--if-missing", "--prepend", "--file", "nowhere"],
        ["demo", "--address", "localhost:1"],
        ["demo", "--address", "localhost:1", "--mail-url", "file:///etc/passwd"],
        ["demo", "--ca-file", sys.executable],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_code_2(arguments: list[str]) -> None:
    """Wrong usage ends with code 2 and a line that says what is wrong."""
    done = authsvc(*arguments)
    assert done.returncode == 2
    assert "\nError: " in done.stderr
    assert not done.stdout


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["--help"], ["grpc", "asyncpg", "rich", "pydantic", "cryptography"]),
        (["healthcheck", "--help"], ["asyncpg", "jinja2", "prometheus_client", "rich"]),
        (["migrate", "--help"], ["grpc", "jinja2", "rich"]),
        (["admin", "--help"], ["grpc", "asyncpg", "jinja2", "rich"]),
        (["serve", "--help"], ["grpc", "asyncpg", "jinja2"]),
        (["init", "--help"], ["grpc", "asyncpg", "jinja2", "rich"]),
    ],
    ids=" ".join,
)
def test_a_command_loads_only_what_it_needs(arguments: list[str], unneeded: list[str]) -> None:
    """A health check does not wait for the server's libraries, and a supervisor of workers does without them."""
    done = python(
        "import sys\n"
        "from authsvc.cli import main\n"
        f"sys.argv = ['authsvc', *{arguments}]\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print(sorted(set({unneeded}) & set(sys.modules)), file=sys.stderr)\n"
    )
    assert done.returncode == 0
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("demo", "segno", "demo"), ("catcher", "aiosmtpd", "demo"), ("dev", "aiosmtpd", "dev")],
)
def test_a_missing_extra_is_named(command: str, missing: str, extra: str) -> None:
    """Without the packages of an extra, a command that needs them says which one to install."""
    done = python(
        f"import sys\nsys.modules[{missing!r}] = None\nsys.argv = ['authsvc', {command!r}]\n"
        "from authsvc.cli import main\nmain()\n"
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the package {missing}")
    assert done.stderr.endswith(f" is missing: install authsvc[{extra}]\n")
