"""What a release is made of."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_bill_of_materials_has_every_locked_package() -> None:
    """`make sbom` lists the packages of requirements.lock, each with its version and hashes."""
    locked = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    subprocess.run(["make", "--no-print-directory", "sbom"], cwd=ROOT, check=True, capture_output=True)
    bill = json.loads((ROOT / "dist/sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "authsvc"
    assert sorted((each["name"], each["version"]) for each in bill["components"]) == sorted(locked)
    assert all(each["externalReferences"][0]["hashes"] for each in bill["components"])
