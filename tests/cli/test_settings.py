"""How wrong settings are told: by name, all at once, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from authsvc.crypto.sealing import MasterKey
from tests.cli.certificates import issue
from tests.cli.command import COMPLETE, authsvc


def test_missing_settings_are_told_all_at_once() -> None:
    """`serve` without settings ends with code 2 and a line for each setting that it needs, with a way to get one."""
    done = authsvc("serve")
    assert done.returncode == 2
    database, keys, mail = done.stderr.splitlines()
    assert database.startswith("Error: AUTHSVC_DATABASE_URL: is missing; set it to postgresql://")
    assert keys == "Error: AUTHSVC_KEYS_MASTER: there is no master key; make one by `authsvc keys generate`"
    assert mail.startswith("Error: AUTHSVC_MAIL_SMTP_HOST: is missing")


@pytest.mark.parametrize("command", [["serve"], ["migrate"], ["keys", "list"], ["healthcheck"]], ids=" ".join)
def test_unknown_and_unbounded_settings_are_told_all_at_once(command: list[str]) -> None:
    """Every command refuses settings that don't exist or are out of range, a line each."""
    done = authsvc(*command, settings=COMPLETE | {"AUTHSVC_SERVER_PROT": "1", "AUTHSVC_DATABASE_POOL_SIZE": "0"})
    assert done.returncode == 2
    pool, port = done.stderr.splitlines()
    assert pool.startswith("Error: AUTHSVC_DATABASE_POOL_SIZE: ")
    assert port == "Error: AUTHSVC_SERVER_PROT: unknown setting"


def test_migrate_needs_the_database_alone() -> None:
    """`migrate` runs without keys and mail server."""
    done = authsvc("migrate")
    assert done.returncode == 2
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [" AUTHSVC_DATABASE_URL"]


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "host=localhost"])
def test_a_database_url_is_a_url(url: str) -> None:
    """What is not the URL of a Postgres database is refused, without being repeated: it may hold a password."""
    done = authsvc("migrate", settings={"AUTHSVC_DATABASE_URL": url})
    assert done.returncode == 2
    assert done.stderr.startswith("Error: AUTHSVC_DATABASE_URL: is not the URL of a database")
    assert url not in done.stderr


def test_malformed_master_keys_are_refused_without_being_repeated() -> None:
    """A master key of the wrong form is told by its line, and not shown."""
    good = MasterKey.generate().line()
    done = authsvc("serve", settings=COMPLETE | {"AUTHSVC_KEYS_MASTER": f"{good}\n{good[:-3]}"})
    assert done.returncode == 2
    assert done.stderr.startswith("Error: AUTHSVC_KEYS_MASTER: line 2 is not ")
    assert good[:-3].partition(":")[2] not in done.stderr


@pytest.mark.parametrize("position", [0, 1])
def test_serve_refuses_keys_of_development(position: int) -> None:
    """A key made by `authsvc dev` keeps `serve` from starting, wherever it stands."""
    lines = [MasterKey.generate().line()]
    lines.insert(position, MasterKey.generate("dev-").line())
    done = authsvc("serve", settings=COMPLETE | {"AUTHSVC_KEYS_MASTER": "\n".join(lines)})
    assert done.returncode == 2
    assert "made by `authsvc dev`" in done.stderr
    assert "authsvc keys generate" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"PASSWORDS_BLOCKLIST_FILE": "absent"}, "absent: cannot be read: No such file or directory"),
        ({"PASSWORDS_BLOCKLIST_FILE": "latin"}, "latin: is not UTF-8 text"),
        ({"MAIL_SMTP_CA_FILE": "."}, ".: cannot be read: Is a directory"),
        ({"MAIL_SMTP_CA_FILE": "text"}, "text: holds no certificate in PEM form"),
        (
            {"SERVER_TLS_CERTIFICATE_FILE": "a.pem", "SERVER_TLS_KEY_FILE": "b.key"},
            "a.pem: does not go with AUTHSVC_SERVER_TLS_KEY_FILE",
        ),
        (
            {"SERVER_TLS_KEY_FILE": "absent", "SERVER_TLS_CERTIFICATE_FILE": "a.pem"},
            "absent: cannot be read: No such file or directory",
        ),
        (
            {
                "SERVER_TLS_CLIENT_CA_FILE": "text",
                "SERVER_TLS_CERTIFICATE_FILE": "a.pem",
                "SERVER_TLS_KEY_FILE": "a.key",
            },
            "text: holds no certificate in PEM form",
        ),
        ({"HOOKS_CHALLENGE_TLS_CA_FILE": "text"}, "text: holds no certificate in PEM form"),
        (
            {
                "HOOKS_CHALLENGE_TLS_CERTIFICATE_FILE": "a.pem",
                "HOOKS_CHALLENGE_TLS_KEY_FILE": "b.key",
                "HOOKS_CHALLENGE_TLS_CA_FILE": "a.pem",
            },
            "a.pem: does not go with AUTHSVC_HOOKS_CHALLENGE_TLS_KEY_FILE",
        ),
    ],
)
def test_a_wrong_file_is_told_by_its_setting(wrong: dict[str, str], fault: str, tmp_path: Path) -> None:
    """A file that can't be read, or holds something else, is told with the setting that names it."""
    (tmp_path / "text").write_text("text\n")
    (tmp_path / "latin").write_bytes(b"\xe9t\xe9\n")
    issue(tmp_path / "a", "a.example")
    issue(tmp_path / "b", "b.example")
    settings = COMPLETE | {f"AUTHSVC_{name}": value for name, value in wrong.items()}
    done = authsvc("serve", settings=settings, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: AUTHSVC_{next(iter(wrong))}: {fault}")
    assert len(done.stderr.splitlines()) == 1
