"""Read the Dockerfile, compose.yaml and the manifests in docs/deploy.md, for the tests of them."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from authsvc.config import PREFIX, ServerSettings, Settings, is_secret, load, setting_names
from authsvc.crypto.sealing import MasterKey

ROOT = Path(__file__).resolve().parent.parent
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, with its lines joined."""

    name: str
    argument: str


def instructions() -> list[Instruction]:
    """Read the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def stages() -> list[list[Instruction]]:
    """Return the instructions of each stage, its FROM first."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def last(name: str) -> str:
    """Return the argument of the final stage's only instruction of that name."""
    (argument,) = (instruction.argument for instruction in stages()[-1] if instruction.name == name)
    return argument


def health_check() -> list[str]:
    """Return the command of the image's HEALTHCHECK."""
    command: list[str] = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    return command


def image_environment() -> dict[str, str]:
    """Return the variables of the final image."""
    return dict(pair.split("=", 1) for pair in last("ENV").split())


def manifests() -> list[dict[str, Any]]:
    """Return the Kubernetes manifests in docs/deploy.md."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", DEPLOY, re.MULTILINE | re.DOTALL)
    return [manifest for block in blocks for manifest in yaml.safe_load_all(block)]


def pods() -> list[dict[str, Any]]:
    """Return the pods that the manifests describe."""
    return [manifest["spec"]["template"]["spec"] for manifest in manifests() if "template" in manifest["spec"]]


def containers() -> list[dict[str, Any]]:
    """Return the containers of the manifests."""
    return [container for pod in pods() for container in pod["containers"]]


def stop_time() -> timedelta:
    """Return how long a server with default settings may take to stop: for its calls, then for its mail."""
    return 2 * ServerSettings().drain_timeout


def last_run(part: str) -> str:
    """Return the final stage's RUN with that part."""
    (run,) = (each.argument for each in stages()[-1] if each.name == "RUN" and part in each.argument)
    return run


def settings_of(environment: dict[str, str], tmp_path: Path) -> Settings:
    """Read the settings that a container gets; files of secrets are not here, so others take their place."""
    given = {name: value for name, value in {**image_environment(), **environment}.items() if name.startswith(PREFIX)}
    for name in given:
        target = setting_names().get(name.removesuffix("_FILE"))
        if name.endswith("_FILE") and target and is_secret(*target):
            file = tmp_path / name
            file.write_text(MasterKey.generate().line())
            given[name] = str(file)
    return load(given)
