"""The main flow by programs that this project did not write: grpc-js, oathtool, zbarimg."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dev_process import Dev

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).parent / "grpc_js"
NEEDED = {"node": "nodejs", "npm": "npm", "oathtool": "oathtool", "zbarimg": "zbar-tools"}
MISSING = [package for program, package in NEEDED.items() if shutil.which(program) is None]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(MISSING), reason=f"needs the Debian packages {' '.join(MISSING)}"),
]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Run what `make run` runs, on a free port."""
    with Dev(tmp_path_factory.mktemp("dev")) as running:
        yield running


def test_grpc_js_signs_up_in_out_and_in_again(dev: Dev, tmp_path: Path) -> None:
    """A client by grpc-js goes through the main flow; the QR code is scanned, the codes are another authenticator's."""
    shutil.copytree(CLIENT, tmp_path / "client")
    install = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"],
        cwd=tmp_path / "client",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert install.returncode == 0, install.stderr
    draw = tmp_path / "draw"
    draw.write_text(f"#!{sys.executable}\nimport segno, sys\nsegno.make(sys.argv[2]).save(sys.argv[1], scale=4)\n")
    draw.chmod(0o755)
    flow = subprocess.run(
        ["node", "main_flow.js", dev.address, str(ROOT / "protos"), dev.mail_url, str(draw)],
        cwd=tmp_path / "client",
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert flow.returncode == 0, flow.stderr
    assert json.loads(flow.stdout)["amr"] == ["pwd", "otp", "mfa"]
