"""`authsvc demo`: the main flow, shown legibly, on a server of its own and on a running one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyotp
import pytest
import segno

from authsvc.crypto.sealing import MasterKey
from authsvc.dev.mailbox import Mailbox
from tests.cli.certificates import issue
from tests.cli.command import authsvc, bare_environment
from tests.processes import ServerProcess, environment, free_port
from tests.starts import COMMAND
from tests.waiting import PATIENCE

pytestmark = pytest.mark.e2e

METHODS = [
    *("SignUp", "ConfirmSignUp"),
    *("SignIn", "ConfirmSignIn", "FetchAuthSession", "SignOut", "FetchAuthSession"),
    *("SignIn", "ConfirmSignIn", "FetchAuthSession"),
    *("SignIn", "ConfirmSignIn"),
]


def methods_in(output: str) -> list[str]:
    """Return the names of the calls, in their order."""
    return re.findall(r"^ ?\d+  (\w+)$", output, re.MULTILINE)


def test_demo_in_a_pipe(tmp_path: Path) -> None:
    """Piped, the demo shows each call and answer as plain text, with secrets abbreviated, and succeeds."""
    done = authsvc("demo", "--qr-png", str(tmp_path / "qr.png"))
    assert (done.returncode, done.stderr) == (0, "")
    output = done.stdout
    assert "\x1b" not in output
    assert methods_in(output) == METHODS
    replayed, refused = output.split("Whoever saw that code can't use it a second time.")
    assert replayed.count("step: SIGN_IN_STEP_DONE") == 2
    assert replayed.count("amr: pwd, otp, mfa") == 2
    assert "FAILED_PRECONDITION CODE_ALREADY_USED: the code was used already" in refused
    assert output.endswith("\nEverything came out as it should.\n")

    assert "password: ••••••••" in output
    shown = re.findall(r"^ *(?:← |→ )?(?:session|access_token|id_token|refresh_token): (.*)$", output, re.MULTILINE)
    assert shown
    assert all(re.fullmatch(r"\S{8}… \(\d+ characters\)", value) for value in shown)
    # Two codes are used, and the second is tried again.
    codes = re.findall(r"Authenticator: (\d{6})", output)
    assert len(codes) == 3
    assert codes[1] == codes[2] != codes[0]

    (uri,) = set(re.findall(r"otpauth://\S+", output))
    assert pyotp.parse_uri(uri).name == re.findall(r"username: (demo-\w+)", output)[0]
    assert qr_in(output) == [bytes(row) for row in segno.make_qr(uri, error="L").matrix]
    if shutil.which("zbarimg"):
        read = subprocess.run(
            ["zbarimg", "--quiet", "--raw", tmp_path / "qr.png"], capture_output=True, text=True, check=True
        )
        assert read.stdout.strip() == uri
    else:
        assert (tmp_path / "qr.png").read_bytes().startswith(b"\x89PNG")


def qr_in(output: str) -> list[bytes]:
    """Return the modules of the QR code in a text for dark terminals, a byte each, without its margin."""
    rows: list[bytes] = []
    for line in output.splitlines():
        blocks = line[4:]
        if blocks and set(blocks) <= set(" ▀▄█"):
            # What is printed is light.
            rows += [bytes(block not in "▀█" for block in blocks), bytes(block not in "▄█" for block in blocks)]
    margin = next(index for index, row in enumerate(rows) if any(row))
    size = rows[margin].rindex(1) + 1 - margin
    return [row[margin : margin + size] for row in rows[margin : margin + size]]


@contextmanager
def catcher(folder: Path) -> Iterator[tuple[int, str, subprocess.Popen[str]]]:
    """Run the catcher command; give its SMTP port, its URL, and the process."""
    command = [*COMMAND, "catcher", "--smtp-port", "0", "--http-port", "0", "--folder", str(folder)]
    with subprocess.Popen(command, env=bare_environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = re.fullmatch(r"SMTP on 127\.0\.0\.1:(\d+), (http://\S+)/messages\n", process.stdout.readline())
            assert ready
            yield int(ready[1]), ready[2], process
        finally:
            process.terminate()


async def test_demo_against_a_running_server(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """Given a server and its mail catcher the demo goes through the same calls there, over TLS, each time anew."""
    own = issue(tmp_path / "own", "localhost")
    tls = {"SERVER_TLS_CERTIFICATE_FILE": str(own.certificate_file), "SERVER_TLS_KEY_FILE": str(own.key_file)}
    with catcher(tmp_path / "mail") as (smtp_port, mail_url, process):
        settings = environment(database_url, master_key=master_key.line(), smtp_port=smtp_port, **tls)
        async with ServerProcess(settings, tmp_path / "log") as server:
            await server.wait_for_event("serving")
            address = f"localhost:{server.port}"
            arguments = ["demo", "--address", address, "--mail-url", mail_url]
            for _ in range(2):
                done = authsvc(*arguments, "--ca-file", str(own.certificate_file))
                assert (done.returncode, done.stderr) == (0, "")
                assert methods_in(done.stdout) == METHODS
                assert process.stdout is not None
                (username,) = set(re.findall(r"username: (demo-\w+)", done.stdout))
                (code,) = re.findall(r"confirmation_code: (\d+)", done.stdout)
                mail = next(line for line in process.stdout if f"{username}@example.com: Your verification" in line)
                assert mail.endswith(f"[code {code}]\n")

            in_clear = authsvc(*arguments)
            assert in_clear.returncode == 1
            assert in_clear.stderr.startswith("Error: SignUp: UNAVAILABLE: ")
    assert process.returncode == 0
    assert len(Mailbox(folder=tmp_path / "mail").read()) >= 2


async def test_demo_fails_where_the_flow_is_another(database_url: str, master_key: MasterKey, tmp_path: Path) -> None:
    """Against a server that asks for no second factor the demo ends with 1 and says what is missing."""
    with catcher(tmp_path / "mail") as (smtp_port, mail_url, _):
        settings = environment(database_url, master_key=master_key.line(), smtp_port=smtp_port, ACCOUNTS_MFA="OFF")
        async with ServerProcess(settings, tmp_path / "log") as server:
            await server.wait_for_health("SERVING")
            done = authsvc("demo", "--address", f"127.0.0.1:{server.port}", "--mail-url", mail_url)
            assert done.returncode == 1
            assert done.stderr == "Error: the step is not SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP\n"

            done = authsvc(
                "demo", "--address", f"127.0.0.1:{server.port}", "--mail-url", f"http://127.0.0.1:{free_port()}"
            )
            assert done.returncode == 1
            assert done.stderr.startswith("Error: cannot read mail from http://127.0.0.1:")


def test_demo_tells_a_refusal(tmp_path: Path) -> None:
    """Where no server listens the demo ends with 1 and one line."""
    done = authsvc("demo", "--address", f"127.0.0.1:{free_port()}", "--mail-url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: SignUp: UNAVAILABLE: ")
    assert len(done.stderr.splitlines()) == 1


def test_demo_on_a_terminal_has_colours_of_its_own(tmp_path: Path) -> None:
    """On a terminal the QR code is light on dark whatever the terminal's colours, so that any scanner reads it."""
    terminal, other_side = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, "demo"],
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=other_side,
        stderr=other_side,
    )
    os.close(other_side)
    seen = b""
    # The error tells that the other side is closed: the command has ended.
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 1 << 16):
            seen += part
    os.close(terminal)
    assert process.wait() == 0, seen.decode()
    rows = [line for line in seen.decode().splitlines() if "▄" in line]
    assert len(rows) > 20
    # White on black, as numbers of the 256 colours.
    assert all("\x1b[38;5;231;48;5;16m" in row for row in rows)
    # The folder of its own is gone.
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_demo_can_be_stopped(number: signal.Signals, tmp_path: Path) -> None:
    """Stopped in the middle, the demo removes its folder, leaves no process, and ends with 1 without a traceback."""
    with psutil.Popen(
        [*COMMAND, "demo"],
        env=bare_environment() | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert any("SignUp" in line for line in process.stdout)
        family = process.children(recursive=True)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.strip() == "Aborted!"
    assert family
    assert not any(each.is_running() for each in family)
    assert not list(tmp_path.iterdir())
