"""`authsvc init`: ask what `amplify add auth` asks, and write the settings file that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote

import click
from pydantic import ValidationError

from authsvc.cli import whole_file
from authsvc.cli.failures import Failed, using
from authsvc.cli.paths import FILE
from authsvc.cli.settings_text import Target, settings_text
from authsvc.config import MfaMode, Settings, sends_sms
from authsvc.core.accounts.attributes import STANDARD
from authsvc.crypto.tokens import new_handle
from authsvc.domain import SECOND_FACTORS, FactorKind

# What an answer chooses.
Answer = dict[Target, object]

DAY_SECONDS = 86_400
NONE = "none"
_CHARACTERS = ("lowercase", "uppercase", "numbers", "symbols")
_KINDS = [kind.lower() for kind in SECOND_FACTORS]
_SECRET = ("sms", "webhook_secret")
_NEXT = """\
Wrote {settings_file}. Every setting in it can be changed later, for the accounts that are there too. Next:

  authsvc keys generate --if-missing --file {key_file}
  export AUTHSVC_SETTINGS_FILE={settings_file}
  export AUTHSVC_KEYS_MASTER_FILE={key_file}
  export AUTHSVC_DATABASE_URL=postgresql://USER:PASSWORD@HOST/DATABASE
  export AUTHSVC_MAIL_SMTP_HOST=HOST
  authsvc migrate
  authsvc serve"""


@click.command
@click.option("--yes", is_flag=True, help="Take the defaults, and ask nothing.")
@click.argument("path", metavar="[FILE]", default="authsvc.toml", type=FILE)
def command(yes: bool, path: Path) -> None:
    """Ask for the rules of sign-in, and write them to FILE (authsvc.toml) with every other setting as a comment.

    Asks how users sign in, for second factors, texts of mail and SMS, the password policy, required attributes and how
    long a sign-in lasts. A file that is there is replaced only if you say so.
    """
    if not path.absolute().parent.is_dir():
        raise Failed(f"{path.absolute().parent}: is no folder")
    exists = path.exists()
    if exists and (yes or not click.confirm(f"{path} is there already. Replace it?")):
        raise Failed(f"{path}: is there already, and stays as it is")
    interview = _Interview(path=path, ask=not yes)
    interview.hold()
    for secret_file in interview.secret_files.values():
        if not secret_file.exists():
            with using(secret_file):
                whole_file.create(secret_file, f"{interview.chosen[_SECRET]}\n", mode=0o600)
        click.echo(f"The webhook checks its SMS with the secret in {secret_file}.")
    text = settings_text(interview.settings(), interview.chosen, interview.secret_files)
    with using(path):
        if exists:
            whole_file.replace(path, text)
        else:
            whole_file.create(path, text, mode=0o644)
    settings_file, key_file = path.absolute(), path.absolute().parent / "master.key"
    click.echo(_NEXT.format(settings_file=quote(str(settings_file)), key_file=quote(str(key_file))))


class _Interview:
    """Ask one question after the other; what is chosen so far always makes valid settings."""

    def __init__(self, *, path: Path, ask: bool) -> None:
        self.chosen: Answer = {}
        self.secret_files: dict[Target, Path] = {}
        self._path = path
        self._ask = ask

    def hold(self) -> None:
        """Ask everything."""
        default = Settings()
        self._put("Users sign in by username or email", "username", _sign_in_by)
        mfa = default.accounts.mfa.lower()
        self._put("Second factor: off, optional or required", mfa, _chosen("accounts", "mfa", str.upper))
        mfa = self.settings().accounts.mfa
        if mfa is not MfaMode.OFF:
            kinds = ",".join(default.accounts.mfa_types).lower()
            self._put(f"Kinds of second factor: {', '.join(_KINDS)}, or several of them", kinds, _mfa_types)
        subject, message = default.mail.code_subject, default.mail.code_message
        self._put("Subject of mails with a code", subject, _chosen("mail", "code_subject"))
        self._put("Text of mails with a code, {####}", message, _chosen("mail", "code_message"))
        self._ask_for_sms(default)
        field = "min_length_with_mfa" if mfa is MfaMode.REQUIRED else "min_length"
        least = str(getattr(default.passwords, field))
        self._put("Fewest characters of a password", least, _chosen("passwords", field, _whole_number))
        self._put(f"A password must have: {', '.join(_CHARACTERS)}, several of them or none", NONE, _characters)
        self._put("Attributes that every account must have, such as name, or none", NONE, _required_attributes)
        self._put("Days until a user has to sign in again", str(default.tokens.refresh_ttl.days), _refresh_days)

    def settings(self) -> Settings:
        """Return the settings as chosen so far."""
        return _settings(self.chosen)

    def _ask_for_sms(self, default: Settings) -> None:
        needed = sends_sms(self.settings().accounts.mfa_types)
        question = "URL of the webhook that sends SMS" if needed else "URL of the webhook that sends SMS, or none"
        self._put(question, None if needed else NONE, _webhook_url)
        if not self.chosen["sms", "webhook_url"]:
            del self.chosen[_SECRET]
            return
        path = self._path.absolute().parent / "sms-webhook.secret"
        self._put("File with the webhook's secret; made if it is not there", str(path), self._secret_in)
        self._put("Text of SMS with a code, {####}", default.sms.code_message, _chosen("sms", "code_message"))

    def _secret_in(self, text: str) -> Answer:
        path = Path(text).absolute()
        try:
            secret = path.read_text(encoding="utf-8").rstrip("\n")
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise ValueError(f"{path.parent} is no folder") from error
            secret = str(self.chosen[_SECRET])
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error
        self.secret_files[_SECRET] = path
        return {_SECRET: secret}

    def _put(self, question: str, default: str | None, parse: Callable[[str], Answer]) -> None:
        def take(text: str) -> None:
            try:
                text.encode()
                answer = parse(text)
                _settings(self.chosen | answer)
            except ValidationError as error:
                faults = (fault["msg"].removeprefix("Value error, ") for fault in error.errors(include_url=False))
                raise click.UsageError("; ".join(faults)) from error
            except UnicodeEncodeError as error:
                raise click.UsageError("must be text") from error
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            self.chosen |= answer

        if self._ask:
            click.prompt(question, default=default, value_proc=take)
        else:
            take(default or "")


def _settings(chosen: Answer) -> Settings:
    values: dict[str, dict[str, object]] = {}
    for (section, field), value in chosen.items():
        values.setdefault(section, {})[field] = value
    return Settings.model_validate(values)


def _chosen(section: str, field: str, parse: Callable[[str], object] = lambda text: text) -> Callable[[str], Answer]:
    return lambda text: {(section, field): parse(text)}


def _sign_in_by(text: str) -> Answer:
    return {("accounts", "sign_in_by_email"): "email" in _words(text, ("username", "email"))}


def _mfa_types(text: str) -> Answer:
    kinds = [FactorKind(kind.upper()) for kind in _words(text, _KINDS)]
    answer: Answer = {("accounts", "mfa_types"): [str(kind) for kind in kinds]}
    if sends_sms(kinds):
        # Asked for next; until then something that is valid.
        answer |= _webhook_url("https://sms.invalid/")
    return answer


def _webhook_url(text: str) -> Answer:
    url = "" if text.strip().lower() == NONE else text.strip()
    if url and not url.startswith(("https://", "http://")):
        raise ValueError("must start with https:// or http://")
    return {("sms", "webhook_url"): url, _SECRET: new_handle() if url else ""}


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError("must be a whole number") from error


def _characters(text: str) -> Answer:
    words = _words(text, (*_CHARACTERS, NONE))
    return {("passwords", f"require_{each}"): each in words for each in _CHARACTERS}


def _required_attributes(text: str) -> Answer:
    names = [name for name in _words(text, (*sorted(STANDARD), NONE)) if name != NONE]
    return {("accounts", "required_attributes"): names}


def _refresh_days(text: str) -> Answer:
    try:
        seconds = float(text) * DAY_SECONDS
    except ValueError as error:
        raise ValueError("must be a number of days") from error
    return {("tokens", "refresh_ttl"): seconds}


def _words(text: str, known: Iterable[str]) -> list[str]:
    """Return the words of a list, each once, all of them known."""
    words = list(dict.fromkeys(text.lower().replace(",", " ").split()))
    known = list(known)
    if not words or not set(words) <= set(known):
        raise ValueError(f"must be of: {', '.join(known)}")
    return words
