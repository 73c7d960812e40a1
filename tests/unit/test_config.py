"""Settings: every name, default, bound and fault."""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Le
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from authsvc.config import PREFIX, SETTINGS_FILE, Settings, SettingsError, is_secret, load, setting_names

NAMES = setting_names()


def section_of(section: str) -> Any:
    """Return the class of a section."""
    return Settings.model_fields[section].annotation


def field_of(name: str) -> FieldInfo:
    """Return the field behind an environment name."""
    section, field = NAMES[name]
    info: FieldInfo = section_of(section).model_fields[field]
    return info


def bounds(name: str) -> tuple[Any, Any]:
    """Return the least and the greatest value of a setting, None where there is none."""
    found = field_of(name).metadata
    least = next((bound.ge for bound in found if isinstance(bound, Ge)), None)
    most = next((bound.le for bound in found if isinstance(bound, Le)), None)
    return least, most


BOUNDED = [name for name in NAMES if bounds(name) != (None, None)]


def written(value: object) -> str:
    """Return a value as an operator writes it."""
    return str(value.total_seconds()) if isinstance(value, timedelta) else str(value)


def faults(environ: dict[str, str]) -> list[str]:
    """Return the faults of settings that are wrong."""
    with pytest.raises(SettingsError) as told:
        load(environ)
    return str(told.value).splitlines()


def test_nothing_has_to_be_set() -> None:
    """Without any variable every setting has its default."""
    assert load({}) == Settings()


@pytest.mark.parametrize("name", NAMES)
def test_default_is_within_its_own_bounds(name: str) -> None:
    """Each default would be accepted if it were given, and stays what it is."""
    section, field = NAMES[name]
    default = field_of(name).default
    assert getattr(section_of(section).model_validate({field: default}), field) == default


@pytest.mark.parametrize("name", NAMES)
def test_setting_is_documented(name: str) -> None:
    """Each setting says what it is for, in a sentence, and numbers and durations have both bounds."""
    assert (field_of(name).description or "").endswith(".")
    if field_of(name).annotation in (int, float, timedelta):
        assert None not in bounds(name)


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_are_allowed_and_what_is_beyond_is_not(name: str) -> None:
    """The least and the greatest value are read from the environment; one more or less is a fault of that name."""
    section, field = NAMES[name]
    step: Any = timedelta(milliseconds=1) if isinstance(field_of(name).default, timedelta) else 1
    least, most = bounds(name)
    model = section_of(section)
    for value in (least, most):
        assert getattr(model.model_validate({field: written(value)}), field) == value
    for value in (least - step, most + step):
        (fault,) = faults({name: written(value)})
        assert fault.startswith(f"{name}: ")


def test_names_are_those_of_sections_and_fields() -> None:
    """A name is the prefix, the section and the field; durations end in the unit that they are written in."""
    assert NAMES["AUTHSVC_SERVER_PORT"] == ("server", "port")
    assert NAMES["AUTHSVC_TOKENS_ACCESS_TTL_SECONDS"] == ("tokens", "access_ttl")
    assert all(name.startswith(PREFIX) for name in NAMES)
    assert len(set(NAMES.values())) == len(NAMES) > 70


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("AUTHSVC_SERVER_PORT", "0", 0),
        ("AUTHSVC_SERVER_REFLECTION", "true", True),
        ("AUTHSVC_SERVER_REFLECTION", "0", False),
        ("AUTHSVC_TOKENS_ACCESS_TTL_SECONDS", "600", timedelta(minutes=10)),
        ("AUTHSVC_MAIL_POLL_INTERVAL_SECONDS", "0.25", timedelta(milliseconds=250)),
        ("AUTHSVC_ACCOUNTS_MFA", "OPTIONAL", "OPTIONAL"),
        ("AUTHSVC_PASSWORDS_BLOCKLIST_FILE", "list.txt", Path("list.txt")),
        ("AUTHSVC_SERVER_TRUSTED_CALLERS", "", ()),
        (
            "AUTHSVC_SERVER_TRUSTED_CALLERS",
            " 10.0.0.0/8, 192.0.2.7 ,2001:db8::/32,, dns:web.example.com,cn:A web",
            (
                ip_network("10.0.0.0/8"),
                ip_network("192.0.2.7/32"),
                ip_network("2001:db8::/32"),
                "dns:web.example.com",
                "cn:A web",
            ),
        ),
        ("AUTHSVC_KEYS_MASTER", "id:key", SecretStr("id:key")),
    ],
)
def test_value_is_read_from_the_environment(name: str, text: str, value: object) -> None:
    """Each kind of value is read as its type."""
    section, field = NAMES[name]
    assert getattr(getattr(load({name: text}), section), field) == value


@pytest.mark.parametrize("setting", ["AUTHSVC_SERVER_TRUSTED_CALLERS", "AUTHSVC_ADMIN_IDENTITIES"])
@pytest.mark.parametrize("name", ["web.example.com", "10.0.0.0/33", "spiffe://a/b", "DNS:a", "dns:", "ip:192.0.2.1"])
def test_name_of_a_certificate_says_its_kind(setting: str, name: str) -> None:
    """A name without its kind, or an address that is none, is refused with what to write instead."""
    (fault,) = faults({setting: name})
    assert fault.startswith(f"{setting}: ")
    assert f"dns:{name}, uri:{name} or cn:{name}" in fault


@pytest.mark.parametrize("identity", ["dns:a=", "dns:a=everything", "dns:a=read,dns:b=none", "uri:b://c?d=e", "cn:a=b"])
def test_scopes_of_a_certificate_are_such(identity: str) -> None:
    """What stands behind the name of an operator's certificate is scopes, and a name with an equals sign has some."""
    (fault, *_) = faults({"AUTHSVC_ADMIN_IDENTITIES": identity})
    assert "must end in scopes, one of read, support, users, secrets, all" in fault


def test_certificates_of_operators_have_scopes() -> None:
    """Each name has its scopes, and without any the least."""
    identities = "dns:a.example.com=users+support, cn:Ada=Lovelace=all, uri:spiffe://b"
    assert load({"AUTHSVC_ADMIN_IDENTITIES": identities}).admin.scopes() == {
        "dns:a.example.com": {"users", "support"},
        "cn:Ada=Lovelace": {"all"},
        "uri:spiffe://b": {"read"},
    }


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-inf", "1e400", "1e18", "-1", "5 minutes"])
def test_duration_that_is_none_is_a_fault(text: str) -> None:
    """Whatever stands where seconds should is told by its name, and never ends the program otherwise."""
    (fault,) = faults({"AUTHSVC_TOKENS_ACCESS_TTL_SECONDS": text})
    assert fault.startswith("AUTHSVC_TOKENS_ACCESS_TTL_SECONDS: ")


@pytest.mark.parametrize(
    "name", ["AUTHSVC_SERVER_PROT", "AUTHSVC_", "AUTHSVC_SERVER_PORT_FILE", "AUTHSVC_PORT", "AUTHSVC_server_port"]
)
def test_unknown_name_is_a_fault(name: str) -> None:
    """A misspelt setting is told, not ignored; only secrets have a `_FILE` form."""
    assert faults({name: "1"}) == [f"{name}: unknown setting"]


def test_names_of_others_are_left_alone() -> None:
    """Variables without the prefix are nobody's business."""
    assert load({"PATH": "/bin", "AUTHSVCX": "1", "PGHOST": "db"}) == Settings()


def test_secret_can_be_read_from_a_file(tmp_path: Path) -> None:
    """Each secret, and nothing else, has a `_FILE` form; the line break at the end of the file is not part of it."""
    secrets = {name for name, target in NAMES.items() if is_secret(*target)}
    assert secrets == {
        "AUTHSVC_ADMIN_KEY",
        "AUTHSVC_DATABASE_URL",
        "AUTHSVC_KEYS_MASTER",
        "AUTHSVC_MAIL_SMTP_PASSWORD",
        "AUTHSVC_SMS_WEBHOOK_SECRET",
    }
    (tmp_path / "secret").write_text("first\nsecond \n\n")
    for name in secrets:
        section, field = NAMES[name]
        read: SecretStr = getattr(getattr(load({f"{name}_FILE": str(tmp_path / "secret")}), section), field)
        assert read.get_secret_value() == "first\nsecond "


def test_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """A missing file, and one that is not text, is told by the name of its setting."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, reason in (
        ("missing", "cannot be read: No such file or directory"),
        ("binary", "is not UTF-8 text"),
        ("", "cannot be read: Is a directory"),
    ):
        path = tmp_path / name
        (fault,) = faults({"AUTHSVC_KEYS_MASTER_FILE": str(path)})
        assert fault == f"AUTHSVC_KEYS_MASTER_FILE: {path}: {reason}"


def test_secret_given_twice_is_a_fault(tmp_path: Path) -> None:
    """Which of two secrets is meant is not guessed."""
    (tmp_path / "secret").write_text("from the file")
    given = {"AUTHSVC_KEYS_MASTER": "given", "AUTHSVC_KEYS_MASTER_FILE": str(tmp_path / "secret")}
    assert faults(given) == ["AUTHSVC_KEYS_MASTER_FILE: give either this or AUTHSVC_KEYS_MASTER, not both"]


def settings_file(folder: Path, content: str) -> dict[str, str]:
    """Write a settings file and return the environment that names it."""
    path = folder / "authsvc.toml"
    path.write_text(content)
    return {SETTINGS_FILE: str(path)}


def test_settings_file_has_sections_and_the_environment_wins(tmp_path: Path) -> None:
    """The file sets what the environment does not, in TOML's own types or as text."""
    environ = settings_file(
        tmp_path,
        """
        [server]
        port = 7000
        workers = "2"
        reflection = true
        trusted_callers = ["10.0.0.0/8", "cn:web"]
        [tokens]
        access_ttl_seconds = 450.5
        [keys]
        master = "from the file"
        """,
    )
    settings = load({**environ, "AUTHSVC_SERVER_PORT": "8000"})
    assert (settings.server.port, settings.server.workers, settings.server.reflection) == (8000, 2, True)
    assert settings.server.trusted_callers == (ip_network("10.0.0.0/8"), "cn:web")
    assert settings.tokens.access_ttl == timedelta(seconds=450.5)
    assert settings.keys.master.get_secret_value() == "from the file"


def test_faults_of_the_settings_file_are_told(tmp_path: Path) -> None:
    """Unknown sections and keys, and keys outside a section, are told with the file's path."""
    environ = settings_file(tmp_path, "port = 1\n[sever]\nport = 1\n[server]\nprot = 1\n[tokens]\naccess_ttl = 600")
    path = environ[SETTINGS_FILE]
    assert faults(environ) == [
        f"{path}: 'port' must be a section",
        f"{path}: unknown setting 'access_ttl' in [tokens]",
        f"{path}: unknown setting 'port' in [sever]",
        f"{path}: unknown setting 'prot' in [server]",
    ]


@pytest.mark.parametrize("content", ["[server", "\x00", None])
def test_settings_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: str | None) -> None:
    """A missing file, and one that is no TOML, is told by the name of the variable."""
    environ = settings_file(tmp_path, content or "")
    if content is None:
        Path(environ[SETTINGS_FILE]).unlink()
    (fault,) = faults(environ)
    assert fault.startswith(f"{SETTINGS_FILE}: {environ[SETTINGS_FILE]}: ")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Faults of the file, of names, of values and of secrets come in one answer, one line each."""
    environ = settings_file(tmp_path, "[server]\nprot = 1\n[mail]\nsmtp_port = 'x'")
    told = faults(
        {
            **environ,
            "AUTHSVC_NONSENSE": "1",
            "AUTHSVC_SERVER_PORT": "65536",
            "AUTHSVC_ACCOUNTS_MFA": "SOMETIMES",
            "AUTHSVC_KEYS_MASTER_FILE": str(tmp_path / "missing"),
        }
    )
    assert [fault.partition(": ")[0].removeprefix(str(tmp_path)) for fault in told] == [
        "/authsvc.toml",
        "AUTHSVC_ACCOUNTS_MFA",
        "AUTHSVC_KEYS_MASTER_FILE",
        "AUTHSVC_MAIL_SMTP_PORT",
        "AUTHSVC_NONSENSE",
        "AUTHSVC_SERVER_PORT",
    ]


@pytest.mark.parametrize("target", ["", "hook:50061", "hook.example:1", "192.0.2.1:50061", "[2001:db8::1]:50061"])
def test_a_hook_is_at_a_host_and_a_port(target: str) -> None:
    """The target of the challenge hook is a host with a port, or nothing."""
    assert load({"AUTHSVC_HOOKS_CHALLENGE_TARGET": target}).hooks.challenge_target == target


@pytest.mark.parametrize(
    "target", ["hook", "hook:", ":50061", "https://hook:50061", "dns:///hook:1", "2001:db8::1", "a b:1", "hook:1\n"]
)
def test_a_hook_is_at_nothing_else(target: str) -> None:
    """What is no host with a port is told at the start, not at the first sign-in."""
    (fault,) = faults({"AUTHSVC_HOOKS_CHALLENGE_TARGET": target})
    assert fault.startswith("AUTHSVC_HOOKS_CHALLENGE_TARGET: ")


def test_secret_is_neither_in_faults_nor_in_reprs(tmp_path: Path) -> None:
    """A secret is not repeated: not by settings that are printed, nor by a fault of a value of the wrong type."""
    environ = {"AUTHSVC_DATABASE_URL": "postgresql://u:hunter2@db/x", "AUTHSVC_MAIL_SMTP_PASSWORD": "hunter2"}
    settings = load(environ)
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    wrong = settings_file(tmp_path, "[mail]\nsmtp_password = ['hunter2']\n[database]\nurl = {secret = 'hunter2'}")
    assert len(faults(wrong)) == 2
    assert "hunter2" not in "".join(faults(wrong))


def test_settings_cannot_be_changed() -> None:
    """What was read at the start holds until the end."""
    settings = load({})
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]  # that mypy refuses it too is well
    with pytest.raises(ValidationError):
        settings.server = settings.server  # type: ignore[misc]  # that mypy refuses it too is well


def test_a_secret_can_be_named_by_its_file_in_the_settings_file(tmp_path: Path) -> None:
    """Each secret, and nothing else, has a `_file` key; giving both, or a file that is not there, is told."""
    secret, path = tmp_path / "secret", tmp_path / "settings.toml"
    secret.write_text("s" * 40 + "\n")
    path.write_text(f'[sms]\nwebhook_secret_file = "{secret}"\n[mail]\nsmtp_password_file = "{secret}"\n')
    settings = load({SETTINGS_FILE: str(path)})
    assert settings.sms.webhook_secret.get_secret_value() == settings.mail.smtp_password.get_secret_value() == "s" * 40
    assert load(
        {SETTINGS_FILE: str(path), "AUTHSVC_MAIL_SMTP_PASSWORD": "other"}
    ).mail.smtp_password.get_secret_value() == ("other")

    path.write_text(
        f'[sms]\nwebhook_secret_file = "{secret}"\nwebhook_secret = "{"t" * 40}"\nwebhook_url_file = "{secret}"\n'
        f'[mail]\nsmtp_password_file = "{tmp_path / "none"}"\n'
    )
    with pytest.raises(SettingsError) as refused:
        load({SETTINGS_FILE: str(path)})
    twice, missing, unknown = sorted(str(refused.value).splitlines())
    assert twice == f"{path}: give either webhook_secret_file or webhook_secret in [sms], not both"
    reason = "cannot be read: No such file or directory"
    assert missing == f"{path}: smtp_password_file in [mail]: {tmp_path / 'none'}: {reason}"
    assert unknown == f"{path}: unknown setting 'webhook_url_file' in [sms]"
