"""`authsvc init`: what is asked, what is refused, and what the written file says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, example, given
from hypothesis import strategies as st

from authsvc.cli.init import command
from authsvc.config import SETTINGS_FILE, Settings, load
from authsvc.config.describe import described, sections
from authsvc.domain import SECOND_FACTORS
from tests.cli.command import authsvc, bare_environment
from tests.processes import CHEAP_HASHES, ServerProcess, serving

# Enough for every question; an empty line takes what is offered.
DEFAULTS = "\n" * 12
EVERYTHING = [
    "email",
    "optional",
    "totp, sms EMAIL",
    "Your code for Example",
    "Say {####} to nobody",
    "https://sms.example.com/send",
    "",
    "Example: {####}",
    "12",
    "uppercase numbers symbols",
    "email, name phone_number",
    "90",
]


def init(folder: Path, *arguments: str, lines: str = DEFAULTS) -> Result:
    """Run the command in this process, with these answers and a file of the folder."""
    return CliRunner().invoke(command, [*arguments, str(folder / "authsvc.toml")], input=lines)


def written(folder: Path) -> Settings:
    """Load the file, as a server does."""
    return load({SETTINGS_FILE: str(folder / "authsvc.toml")})


def test_yes_takes_the_defaults_and_asks_nothing(tmp_path: Path) -> None:
    """`init --yes` writes a file that says what holds without one, without reading a single answer."""
    done = authsvc("init", "--yes", folder=tmp_path)
    assert done.returncode == 0
    assert written(tmp_path) == Settings()
    assert "username or email" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["authsvc.toml"]


def test_taking_every_offer_is_the_same_as_yes(tmp_path: Path) -> None:
    """Empty answers take the defaults, and write the same file."""
    (tmp_path / "asked").mkdir()
    (tmp_path / "yes").mkdir()
    assert init(tmp_path / "asked").exit_code == 0
    assert init(tmp_path / "yes", "--yes", lines="").exit_code == 0
    assert (tmp_path / "asked/authsvc.toml").read_text() == (tmp_path / "yes/authsvc.toml").read_text()


def test_every_answer_is_a_setting(tmp_path: Path) -> None:
    """The file loads, and gives exactly what was chosen; all else is the default."""
    done = init(tmp_path, lines="\n".join(EVERYTHING) + "\n")
    assert done.exit_code == 0, done.output
    secret_file = tmp_path / "sms-webhook.secret"
    assert written(tmp_path) == Settings.model_validate(
        {
            "accounts": {
                "sign_in_by_email": True,
                "mfa": "OPTIONAL",
                "mfa_types": "TOTP,SMS,EMAIL",
                "required_attributes": "email,name,phone_number",
            },
            "mail": {"code_subject": "Your code for Example", "code_message": "Say {####} to nobody"},
            "sms": {
                "webhook_url": "https://sms.example.com/send",
                "webhook_secret": secret_file.read_text().strip(),
                "code_message": "Example: {####}",
            },
            "passwords": {
                "min_length": 12,
                "require_uppercase": True,
                "require_numbers": True,
                "require_symbols": True,
            },
            "tokens": {"refresh_ttl": timedelta(days=90)},
        }
    )


def test_the_secret_is_in_a_file_of_its_own(tmp_path: Path) -> None:
    """The webhook's secret is made, readable by its owner alone, and neither printed nor in the settings file."""
    done = init(tmp_path, lines="\n".join(EVERYTHING) + "\n")
    secret_file = tmp_path / "sms-webhook.secret"
    secret = secret_file.read_text().strip()
    assert len(secret) >= 32
    assert secret_file.stat().st_mode & 0o777 == 0o600
    assert str(secret_file) in done.output
    assert secret not in done.output + (tmp_path / "authsvc.toml").read_text()


def test_a_secret_that_is_there_is_kept(tmp_path: Path) -> None:
    """A file with a secret is taken as it is; one with a secret that is too short is asked for again."""
    (tmp_path / "sms-webhook.secret").write_text("short\n")
    (tmp_path / "other.secret").write_text("s" * 32)
    answers = [*EVERYTHING[:7], str(tmp_path / "none" / "x"), str(tmp_path), str(tmp_path / "other.secret")]
    done = init(tmp_path, lines="\n".join([*answers, *EVERYTHING[7:]]) + "\n")
    assert done.exit_code == 0, done.output
    assert "Error: sms.webhook_secret must have at least 32 characters" in done.output
    assert f"Error: {tmp_path / 'none'} is no folder" in done.output
    assert "Error: cannot be read: Is a directory" in done.output
    assert written(tmp_path).sms.webhook_secret.get_secret_value() == "s" * 32
    assert (tmp_path / "sms-webhook.secret").read_text() == "short\n"


@pytest.mark.parametrize(
    ("place", "bad", "told"),
    [
        (0, "phone", "must be of: username, email"),
        (1, "always", "Input should be 'OFF', 'OPTIONAL' or 'REQUIRED'"),
        (2, "fax", f"must be of: {', '.join(SECOND_FACTORS).lower()}"),
        (2, ",", f"must be of: {', '.join(SECOND_FACTORS).lower()}"),
        (3, "x" * 141, "String should have at most 140 characters"),
        (4, "Your code", "mail.code_message must contain {####}"),
        (5, "sms.example.com", "must start with https:// or http://"),
        (5, "none", "accounts.mfa_types has SMS: sms.webhook_url must be given"),
        (7, "Your code", "sms.code_message must contain {####}"),
        (7, "{####}" + "x" * 140, "String should have at most 140 characters"),
        (8, "twelve", "must be a whole number"),
        (8, "7", "Input should be greater than or equal to 8"),
        (8, "129", "Input should be less than or equal to 128"),
        (9, "letters", "must be of: lowercase, uppercase, numbers, symbols, none"),
        (10, "shoe_size", "must be of: address, birthdate, "),
        (11, "a while", "must be a number of days"),
        (11, "0.04", "Input should be greater than or equal to 1 hour"),
        (11, "inf", "must be a number of seconds"),
    ],
)
def test_a_bad_answer_is_asked_for_again(place: int, bad: str, told: str, tmp_path: Path) -> None:
    """What breaks a rule of the settings is told by that rule, and asked for again; the next answer counts."""
    done = init(tmp_path, lines="\n".join([*EVERYTHING[:place], bad, *EVERYTHING[place:]]) + "\n")
    assert done.exit_code == 0, done.output
    assert [line for line in done.output.splitlines() if line.startswith("Error: ")] == [
        line for line in done.output.splitlines() if line.startswith(f"Error: {told}")
    ]
    assert f"Error: {told}" in done.output
    good = tmp_path / "good"
    good.mkdir()
    assert init(good, lines="\n".join(EVERYTHING) + "\n").exit_code == 0
    values, wanted = (tomllib.loads((each / "authsvc.toml").read_text()) for each in (tmp_path, good))
    del values["sms"]["webhook_secret_file"], wanted["sms"]["webhook_secret_file"]
    assert values == wanted


def test_rules_between_settings_are_told_at_the_question(tmp_path: Path) -> None:
    """A choice that does not go with an earlier one is asked for again."""
    done = init(tmp_path, lines="\n\nemail\ntotp email" + DEFAULTS)
    assert done.exit_code == 0
    assert "Error: accounts.mfa_types has EMAIL alone: where MFA is REQUIRED there must be another" in done.output
    assert written(tmp_path).accounts.mfa_types == ("TOTP", "EMAIL")


def test_without_second_factors_their_kinds_are_not_asked_for(tmp_path: Path) -> None:
    """With MFA off nothing is asked about its kinds, and the longer passwords are asked for."""
    done = init(tmp_path, lines="\noff" + DEFAULTS)
    assert "Kinds" not in done.output
    assert "Fewest characters of a password [15]" in done.output
    assert written(tmp_path) == Settings.model_validate({"accounts": {"mfa": "OFF"}})


def test_sms_can_be_had_without_being_a_second_factor(tmp_path: Path) -> None:
    """A webhook verifies phone numbers, whichever second factors there are."""
    done = init(tmp_path, lines="\n\n\n\n\nhttp://localhost:8090/sms" + DEFAULTS)
    assert done.exit_code == 0, done.output
    assert written(tmp_path).sms.webhook_url == "http://localhost:8090/sms"
    assert len(written(tmp_path).sms.webhook_secret.get_secret_value()) >= 32


@pytest.mark.parametrize(
    ("arguments", "lines"), [(("--yes",), ""), ((), "\n"), ((), "n\n")], ids=["yes", "enter", "no"]
)
def test_a_file_is_never_overwritten_unasked(arguments: tuple[str, ...], lines: str, tmp_path: Path) -> None:
    """A file that is there stays as it is, unless somebody says that it shall not."""
    (tmp_path / "authsvc.toml").write_text("mine")
    done = init(tmp_path, *arguments, lines=lines)
    assert done.exit_code == 1
    assert "is there already, and stays as it is" in done.output
    assert (tmp_path / "authsvc.toml").read_text() == "mine"


def test_a_file_is_replaced_when_asked(tmp_path: Path) -> None:
    """The new file keeps the permissions of the former one."""
    path = tmp_path / "authsvc.toml"
    path.write_text("mine")
    path.chmod(0o640)
    assert init(tmp_path, lines="y\n" + DEFAULTS).exit_code == 0
    assert written(tmp_path) == Settings()
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_interview_that_ends_early_writes_nothing(tmp_path: Path) -> None:
    """When the answers end, so does the command, and the folder is as it was."""
    for count in range(len(EVERYTHING)):
        done = init(tmp_path, lines="".join(f"{line}\n" for line in EVERYTHING[:count]))
        assert done.exit_code == 1
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    """Nobody answers twelve questions for nothing."""
    done = init(tmp_path / "none")
    assert done.exit_code == 1
    assert done.output == f"Error: {tmp_path / 'none'}: is no folder\n"


def test_every_other_setting_is_a_comment_with_its_default(tmp_path: Path) -> None:
    """Without the comment signs the file still says what holds by default, setting for setting, each once."""
    init(tmp_path, "--yes", lines="")
    path = tmp_path / "authsvc.toml"
    text = re.sub(r"^#(\w+ = )", r"\1", path.read_text(), flags=re.MULTILINE)
    path.write_text(text)
    assert written(tmp_path) == Settings()
    assert {section: list(keys) for section, keys in tomllib.loads(text).items()} == {
        section: [setting.key for setting in described(section)] for section in sections()
    }
    meanings = re.sub(r"\n# ", " ", text)
    assert [
        setting.name for section in sections() for setting in described(section) if setting.meaning not in meanings
    ] == []


PRINTED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), min_size=1, max_size=60)


@given(
    way=st.sampled_from(["username", "email"]),
    mfa=st.sampled_from(["off", "optional", "required"]),
    kinds=st.sets(st.sampled_from(["totp", "sms", "email"]), min_size=1),
    subject=PRINTED,
    before=PRINTED,
    after=PRINTED,
    least=st.integers(8, 128),
    characters=st.sets(st.sampled_from(["lowercase", "uppercase", "numbers", "symbols"])),
    attributes=st.sets(st.sampled_from(["name", "locale", "phone_number", "birthdate"])),
    days=st.integers(1, 3650),
)
@example("email", "optional", {"sms"}, "\x7f\\\"'", '"""', "\t#\x00\x1f\u2028", 8, set(), set(), 1)
def test_every_file_loads(
    way: str,
    mfa: str,
    kinds: set[str],
    subject: str,
    before: str,
    after: str,
    least: int,
    characters: set[str],
    attributes: set[str],
    days: int,
) -> None:
    """Whatever is chosen, the file loads and gives just that, with any characters in its texts."""
    # Refused by a rule between settings; that is told, and asked for again.
    assume(mfa != "required" or kinds != {"email"})
    assume(subject.strip())
    message = f"{before}{{####}}{after}"
    lines = [
        way,
        mfa,
        *([",".join(kinds)] if mfa != "off" else []),
        subject,
        message,
        "https://sms.example",
        "",
        message,
    ]
    lines += [str(least), " ".join(characters) or "none", " ".join(attributes) or "none", str(days)]
    with tempfile.TemporaryDirectory() as name:
        done = init(Path(name), lines="\n".join(lines) + "\n")
        assert done.exit_code == 0, done.output
        settings = written(Path(name))
    assert settings.accounts.sign_in_by_email is (way == "email")
    assert settings.accounts.mfa == mfa.upper()
    assert set(settings.accounts.mfa_types) == ({kind.upper() for kind in kinds} if mfa != "off" else {"TOTP"})
    assert (settings.mail.code_subject, settings.mail.code_message) == (subject, message)
    assert (settings.sms.webhook_url, settings.sms.code_message) == ("https://sms.example", message)
    passwords = settings.passwords
    assert (passwords.min_length_with_mfa if mfa == "required" else passwords.min_length) == least
    required = {
        each for each in ("lowercase", "uppercase", "numbers", "symbols") if getattr(passwords, f"require_{each}")
    }
    assert required == characters
    assert set(settings.accounts.required_attributes) == attributes
    assert settings.tokens.refresh_ttl == timedelta(days=days)


async def test_the_commands_that_it_prints_lead_to_a_server(database_url: str, tmp_path: Path) -> None:
    """Pasting what `init` prints, with a database and a mail server in it, makes the keys, the schema and a server."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    done = init(folder, "--yes", lines="")
    commands = re.findall(r"^  (.*)$", done.output, re.MULTILINE)
    assert commands[-2:] == ["authsvc migrate", "authsvc serve"]
    script = "\n".join(commands[:-1]) + "\nenv -0"
    script = script.replace("postgresql://USER:PASSWORD@HOST/DATABASE", f"'{database_url}'").replace(
        "HOST=HOST", "HOST=h"
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euc", script], env=bare_environment() | {"PATH": path}, capture_output=True, text=True, check=True
    )
    environment = dict(
        line.split("=", 1) for line in ran.stdout[ran.stdout.index("AUTHSVC_") :].split("\0") if "=" in line
    )
    settings = {name: value for name, value in environment.items() if name.startswith("AUTHSVC_")}
    assert set(settings) == {
        SETTINGS_FILE,
        "AUTHSVC_KEYS_MASTER_FILE",
        "AUTHSVC_DATABASE_URL",
        "AUTHSVC_MAIL_SMTP_HOST",
    }
    server = ServerProcess(
        bare_environment() | settings | CHEAP_HASHES | {"AUTHSVC_SERVER_PORT": "0"}, tmp_path / "log"
    )
    async with serving(server):
        server.send(signal.SIGTERM)
