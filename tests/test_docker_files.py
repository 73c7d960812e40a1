"""What can be said of Dockerfile and compose.yaml without Docker."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from authsvc.config import PREFIX, load
from tests.docker_files import (
    ROOT,
    SERVICES,
    containers,
    health_check,
    image_environment,
    instructions,
    last,
    last_run,
    settings_of,
    stages,
    stop_time,
)

OWN = {name: service for name, service in SERVICES.items() if service["image"] == "authsvc"}
JOBS = ("keys", "migrate", "e2e")
SECRET_NAME = re.compile(r"password|secret|token|key", re.IGNORECASE)


def test_both_stages_stand_on_one_slim_python_that_the_project_supports() -> None:
    """The environment made in the first stage points to an interpreter that is the same in the last."""
    assert [stage[0].argument for stage in stages()] == ["${BASE} AS build", "${BASE}"]
    (base,) = (each.argument for each in instructions() if each.name == "ARG" and each.argument.startswith("BASE="))
    version = re.fullmatch(r"BASE=python:(3\.\d+)-slim-[a-z]+", base)
    assert version
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version[1]}" in classifiers


def test_image_runs_the_server_as_nobody_special() -> None:
    """The image's process is `authsvc serve` itself, with a numeric user other than root, stopped by SIGTERM."""
    assert json.loads(last("ENTRYPOINT")) == ["authsvc"]
    assert json.loads(last("CMD")) == ["serve"]
    assert last("STOPSIGNAL") == "SIGTERM"
    user, group = map(int, last("USER").split(":"))
    assert user >= 1000
    assert group >= 1000
    names = [instruction.name for instruction in stages()[-1]]
    assert "RUN" not in names[names.index("USER") :], "nothing is left to be done as that user"


def test_image_listens_where_it_says() -> None:
    """The exposed port is the default one, on every address of the container."""
    settings = load({name: value for name, value in image_environment().items() if name.startswith(PREFIX)})
    assert int(last("EXPOSE")) == settings.server.port
    assert settings.server.host == "0.0.0.0"


def test_final_image_has_no_build_tools() -> None:
    """Pip goes with its job done, and nothing but the finished environment comes from the first stage."""
    (copied,) = (instruction.argument for instruction in stages()[-1] if instruction.name == "COPY")
    assert copied == "--from=build /opt/authsvc /opt/authsvc"
    assert any("pip uninstall" in instruction.argument for instruction in stages()[-1] if instruction.name == "RUN")


def test_packages_are_installed_from_the_lock_files_alone() -> None:
    """Every installation is of hashed wheels, or of the project's own one without looking for others."""
    runs = " && ".join(instruction.argument for instruction in stages()[0] if instruction.name == "RUN")
    installations = [command for command in runs.split("&&") if " install " in command or " wheel " in command]
    assert len(installations) == 4
    for command in installations:
        assert "--require-hashes" in command or "--no-deps" in command, command
        assert "--only-binary :all:" in command or "--no-deps" in command, command


def test_build_context_is_what_is_copied() -> None:
    """The builder is sent everything that it copies, and nothing else."""
    copies = [each.argument.split()[:-1] for each in stages()[0] if each.name == "COPY"]
    copied = {source for sources in copies for source in sources}
    everything, *patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert everything == "*"
    assert {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every authsvc command of the Docker files and of the manifests, by where it stands."""
    yield "Dockerfile CMD", json.loads(last("CMD"))
    yield "Dockerfile HEALTHCHECK", health_check()[1:]
    for name, service in OWN.items():
        yield f"compose {name}", service.get("command", ["serve"])
    for container in containers():
        yield f"manifest {container['name']}", container["args"]


@pytest.mark.parametrize("arguments", [pytest.param(arguments, id=where) for where, arguments in commands()])
def test_commands_are_understood(arguments: list[str]) -> None:
    """Each command and option that the files give is one that authsvc has."""
    # click parses the whole line before it looks at --help, so that an unknown option is an error all the same.
    done = subprocess.run(
        [sys.executable, "-m", "authsvc", *arguments, "--help"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr


def test_compose_settings_are_right(tmp_path: Path) -> None:
    """The server and the migrate job get the database that compose runs, and the server its mail catcher."""
    for name in ("server", "migrate"):
        url = urlsplit(settings_of(SERVICES[name]["environment"], tmp_path).database.url.get_secret_value())
        database = SERVICES["postgres"]["environment"]
        assert url.hostname == "postgres"
        assert url.username == database["POSTGRES_USER"]
        assert url.password == database["POSTGRES_PASSWORD"]
        assert url.path == f"/{database['POSTGRES_DB']}"
    server = settings_of(SERVICES["server"]["environment"], tmp_path)
    catcher = SERVICES["mail"]["command"]
    assert server.mail.smtp_host == "mail"
    assert str(server.mail.smtp_port) == catcher[catcher.index("--smtp-port") + 1]
    assert server.server.reflection


def test_compose_keeps_the_master_key_to_the_service() -> None:
    """The key is made once by a job, in a volume that the server reads only and no other container sees."""
    command = SERVICES["keys"]["command"]
    path = command[command.index("--file") + 1]
    assert "--if-missing" in command
    assert path == SERVICES["server"]["environment"]["AUTHSVC_KEYS_MASTER_FILE"]
    folder = path.rpartition("/")[0]
    assert SERVICES["keys"]["volumes"] == [f"keys:{folder}"]
    assert SERVICES["server"]["volumes"] == [f"keys:{folder}:ro"]
    assert [name for name, service in SERVICES.items() if "keys:" in str(service.get("volumes"))] == ["keys", "server"]
    # A new volume takes over what the image has at its place.
    assert f"--owner authsvc --group authsvc --mode 0700 {folder} " in f"{last_run('install --directory')} "


def test_compose_holds_no_secret_but_the_one_for_trials() -> None:
    """Every secret in the Docker files calls itself one for trials and says nothing else; no image layer holds any."""
    password = SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert password == "for-trials-only"
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if SECRET_NAME.search(name) and not name.endswith("_FILE"):
                assert set(value.replace(password, "_")) <= {"_", "-"}, name
    set_in_image = [each.argument for each in instructions() if each.name in ("ARG", "ENV", "LABEL")]
    assert not any(SECRET_NAME.search(argument) for argument in set_in_image)
    long_runs = re.compile(r"[A-Za-z0-9_-]{40,}")
    assert not long_runs.search((ROOT / "compose.yaml").read_text())


def test_compose_containers_of_ours_are_hardened() -> None:
    """They all run with a read-only root, without capabilities, and can't gain privileges."""
    assert set(OWN) == {"keys", "migrate", "mail", "server", "e2e"}
    for name, service in OWN.items():
        assert service["read_only"] is True, name
        assert service["tmpfs"] == ["/tmp"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert not any({"privileged", "cap_add", "user", "network_mode", "pid"} & set(each) for each in SERVICES.values())


def test_compose_ports_are_seen_by_this_machine_only() -> None:
    """What is published is bound to loopback; the database is not published at all."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"mail": ["127.0.0.1:8025:8025"], "server": ["127.0.0.1:50051:50051"]}


def test_compose_builds_its_image_once_and_never_fetches_it() -> None:
    """One service builds the image; the others use it, and none takes an image of that name from elsewhere."""
    assert [name for name, service in SERVICES.items() if "build" in service] == ["server"]
    assert OWN["server"]["pull_policy"] == "build"
    assert all(service["pull_policy"] == "never" for name, service in OWN.items() if name != "server")
    others = {name: service["image"] for name, service in SERVICES.items() if name not in OWN}
    assert others.keys() == {"postgres"}
    assert re.fullmatch(r"postgres:\d+", others["postgres"])


def test_compose_starts_in_order() -> None:
    """The schema waits for the database, the server for schema, key and mail, the end-to-end run for the server."""
    conditions = {
        name: {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    assert conditions["migrate"] == {"postgres": "service_healthy"}
    assert conditions["server"] == {
        "keys": "service_completed_successfully",
        "migrate": "service_completed_successfully",
        "mail": "service_healthy",
    }
    assert conditions["e2e"] == {"server": "service_healthy", "mail": "service_healthy"}


def test_compose_jobs_run_once_and_servers_tell_their_health() -> None:
    """Jobs have no health check and don't start again; whatever others wait for has a check of its own."""
    for name in JOBS:
        assert SERVICES[name]["restart"] == "no", name
        assert SERVICES[name]["healthcheck"] == {"disable": True}, name
    assert SERVICES["e2e"]["profiles"] == ["e2e"]
    for name in ("postgres", "mail"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name
    assert "test" not in SERVICES["server"]["healthcheck"], "the image's own"
    assert health_check() == ["authsvc", "healthcheck"]


def test_compose_gives_the_server_time_to_stop() -> None:
    """Docker kills the server no sooner than its calls and mails in flight had their time."""
    seconds = re.fullmatch(r"(\d+)s", SERVICES["server"]["stop_grace_period"])
    assert seconds
    assert timedelta(seconds=int(seconds[1])) > stop_time()


def test_compose_end_to_end_run_knows_its_addresses() -> None:
    """The end-to-end run talks to the services that compose runs, at the ports that they listen on."""
    command = SERVICES["e2e"]["command"]
    catcher = SERVICES["mail"]["command"]
    assert command[command.index("--address") + 1] == f"server:{last('EXPOSE')}"
    assert command[command.index("--mail-url") + 1] == f"http://mail:{catcher[catcher.index('--http-port') + 1]}"
