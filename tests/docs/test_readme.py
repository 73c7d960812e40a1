"""What the documents say can be done is done here, to the letter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authsvc.cli.dev import FLOW
from authsvc.errors import Reason
from tests.dev_process import Dev
from tests.time_steps import await_step_after, present_step

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
GRPCURL = Path(sys.executable).with_name("grpcurl")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Run what `make run` runs, on a free port."""
    with Dev(tmp_path_factory.mktemp("dev")) as running:
        yield running


class _Shell:
    """Run blocks of a document as a reader would paste them, filling in what the reader has to."""

    def __init__(self, dev: Dev, folder: Path) -> None:
        self._dev = dev
        self.values: dict[str, str] = {}
        self._path = f"{GRPCURL.parent}:{_oathtool(folder)}:{os.environ['PATH']}"

    def run(self, block: str) -> dict[str, Any]:
        """Return the JSON that the block printed."""
        script = re.sub(r"^(\w+)=…", lambda match: f"{match[1]}={self.values[match[1]]}", block, flags=re.MULTILINE)
        assert "…" not in script
        kept = "".join(f"{name}={value}\n" for name, value in self.values.items())
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", kept + script.replace("localhost:50051", self._dev.address)],
            env={"PATH": self._path, "HOME": os.environ.get("HOME", "/")},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.mark.skipif(not GRPCURL.exists(), reason="grpcurl's wheel has no binary for this platform")
def test_the_main_flow_in_grpcurl_works_to_the_letter(dev: Dev, tmp_path: Path) -> None:
    """Pasting the README's lines one after the other signs a user up, in, out and in again."""
    blocks = re.findall(
        r"```sh\n(.*?)```", README.split("<!-- flow -->")[1].split("<!-- end of flow -->")[0], re.DOTALL
    )
    shell = _Shell(dev, tmp_path)
    sign_up, confirm, sign_in, set_up, fetch, sign_out, sign_in_again, answer = blocks

    assert shell.run(sign_up)["next_step"]["step"] == "SIGN_UP_STEP_CONFIRM_SIGN_UP"
    shell.values["CODE"] = dev.code_for("ada@example.com")
    assert shell.run(confirm)["next_step"]["step"] == "SIGN_UP_STEP_DONE"
    started = shell.run(sign_in)
    assert started["next_step"]["step"] == "SIGN_IN_STEP_CONTINUE_SIGN_IN_WITH_TOTP_SETUP"
    shell.values |= {"SESSION": started["session"], "SECRET": started["next_step"]["totp_setup"]["shared_secret"]}
    done = shell.run(set_up)
    step = present_step()
    assert done["is_signed_in"] is True
    shell.values["ACCESS_TOKEN"] = done["tokens"]["access_token"]
    assert shell.run(fetch)["username"] == "ada"
    _python_snippet(shell, dev)
    assert shell.run(sign_out) == {}
    assert shell.run(fetch) == {}
    again = shell.run(sign_in_again)
    assert again["next_step"]["step"] == "SIGN_IN_STEP_CONFIRM_SIGN_IN_WITH_TOTP_CODE"
    shell.values["SESSION"] = again["session"]
    await_step_after(step)
    assert shell.run(answer)["is_signed_in"] is True


def _python_snippet(shell: _Shell, dev: Dev) -> None:
    snippet = README.split("<!-- snippet -->")[1].split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", snippet.replace("localhost:50051", dev.address)],
        env={"ACCESS_TOKEN": shell.values["ACCESS_TOKEN"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "ada\n"


def test_every_reason_is_in_the_readme_or_the_errors_document() -> None:
    """The README's table names only reasons that exist, and docs/errors.md every one."""
    table = README.split("## Errors")[1].split("## Deploy")[0]
    named = {name for row in re.findall(r"^\| ([A-Z_, ]+) \|", table, re.MULTILINE) for name in row.split(", ")}
    assert named <= set(Reason)
    errors = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    assert {reason for reason in Reason if f"`{reason}`" in errors} == set(Reason)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of a document names a file of the tree."""
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(document: Path) -> None:
    """Every `make …` that a document names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`?\bmake ([a-z]+)\b(?:`|  |\n| ARGS)", document.read_text(encoding="utf-8"))) <= targets


def _oathtool(folder: Path) -> Path:
    """Return a folder with oathtool's one call that the README makes, where the real one is not installed."""
    if shutil.which("oathtool") is None:
        stand_in = folder / "oathtool"
        stand_in.write_text(f"#!{sys.executable}\nimport sys, pyotp\nprint(pyotp.TOTP(sys.argv[-1]).now())\n")
        stand_in.chmod(0o755)
    return folder


def test_dev_prints_the_calls_of_the_readme() -> None:
    """What `authsvc dev` prints to be pasted are the README's calls, in its order, each on one line."""
    flow = README.split("<!-- flow -->")[1].split("<!-- end of flow -->")[0].replace(" \\\n ", "")
    calls = [line for line in flow.splitlines() if line.startswith("grpcurl")]
    assert calls == [
        f"grpcurl -plaintext {arguments} localhost:50051 authsvc.v1.AuthService/{method}"
        for _, arguments, method in FLOW
    ]
