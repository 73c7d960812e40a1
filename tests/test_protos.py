"""The protos, the stubs made from them and the tools that make them fit together."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sysconfig.get_path("scripts")) / "buf"
RELEASED = ROOT / "protos" / "released.binpb"


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


def breaking(folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Compare the protos of the tree in `folder` with those of the last release."""
    return run(BUF, "breaking", "--against", RELEASED, folder=folder)


def test_protos_do_not_break_the_last_release() -> None:
    """A client built on the protos of the last release can be used with these: nothing of them is gone or altered."""
    released = FileDescriptorSet.FromString(RELEASED.read_bytes())
    assert "AuthService" in {service.name for file in released.file for service in file.service}
    check = breaking()
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("auth_service", "string confirmation_code = 2;", "string confirmation_code = 3;", '"2" with name'),
        ("auth_service", "bool is_signed_in = 1;", "int32 is_signed_in = 1;", "type"),
        ("auth_service", "rpc SignOut(SignOutRequest) returns (SignOutResponse);", "", "SignOut"),
        ("auth_service", "string user_id = 1;", "string id = 1;", "name"),
        ("error_reason", "ERROR_REASON_CONFLICT = 23;", "ERROR_REASON_CLASH = 23;", "CONFLICT"),
        ("tokens", "message Tokens {", "message TokenSet {", "Tokens"),
    ],
    ids=["number", "type", "method", "field name", "enum value", "message"],
)
def test_a_breaking_change_is_found(file: str, before: str, after: str, told: str, tmp_path: Path) -> None:
    """A number, a type or a name that a released client uses cannot be changed or taken away unnoticed."""
    tree = copied_protos(tmp_path)
    changed = tree / "protos" / "authsvc" / "v1" / f"{file}.proto"
    text = changed.read_text()
    assert before in text
    changed.write_text(text.replace(before, after, 1))
    if file == "tokens":
        # Who uses the message uses its new name: the tree compiles, and breaks its callers.
        user = tree / "protos" / "authsvc" / "v1" / "auth_service.proto"
        user.write_text(re.sub(r"\bTokens tokens\b", "TokenSet tokens", user.read_text()))

    check = breaking(tree)
    assert check.returncode == 100, check.stdout + check.stderr
    assert told in check.stdout


def test_make_freeze_takes_what_was_appended_and_refuses_what_breaks(tmp_path: Path) -> None:
    """`make freeze` moves the released protos on to the present ones, and leaves them if those would break a client."""
    tree = copied_protos(tmp_path)
    proto = tree / "protos" / "authsvc" / "v1" / "tokens.proto"
    released = tree / "protos" / "released.binpb"
    field = "string refresh_token = 3;"

    proto.write_text(proto.read_text().replace(field, f"{field}\n  string later = 15;"))
    done = freeze(tree)
    assert done.returncode == 0, done.stderr
    moved = released.read_bytes()
    tokens = next(file for file in FileDescriptorSet.FromString(moved).file if file.name.endswith("/tokens.proto"))
    assert "later" in {each.name for each in tokens.message_type[0].field}

    proto.write_text(proto.read_text().replace("string later = 15;", ""))
    assert freeze(tree).returncode != 0
    assert released.read_bytes() == moved


def copied_protos(folder: Path) -> Path:
    """Copy what buf and `make freeze` work on."""
    shutil.copytree(ROOT / "protos", folder / "protos")
    for name in ("buf.yaml", "Makefile"):
        shutil.copy(ROOT / name, folder)
    return folder


def freeze(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `make freeze` in a tree, with the tools of this one."""
    ready = Path(sys.prefix) / ".ready"
    return run("make", f"--old-file={ready}", "freeze", f"VENV={sys.prefix}", folder=folder)


def test_all_of_grpcio_is_locked_to_one_version() -> None:
    """The generator and the runtime are of one version: a stub refuses to load under an older runtime."""
    for lock in ("requirements.lock", "requirements-dev.lock"):
        pins = dict(re.findall(r"^(grpcio[\w-]*)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))
        assert {"grpcio", "grpcio-status"} <= pins.keys()
        assert len(set(pins.values())) == 1, (lock, pins)
