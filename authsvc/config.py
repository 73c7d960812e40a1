"""Settings: read once, typed, bounded, documented, frozen.

Every field below is the setting `AUTHSVC_<SECTION>_<FIELD>`, and the key `<field>` under `[<section>]` of the TOML file
that `AUTHSVC_SETTINGS_FILE` names; the environment wins. Durations end in `_SECONDS` out there and are timedeltas in
here. Secrets can be given as `<NAME>_FILE`, the path of a file with the value. An unknown name fails.
`docs/configuration.md` is made from these fields.
"""

from __future__ import annotations

import enum
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

PREFIX = "AUTHSVC_"
SETTINGS_FILE = "AUTHSVC_SETTINGS_FILE"


class SettingsError(Exception):
    """Tell an operator, one line a fault, which settings are wrong and what they must be."""


def _seconds(value: object) -> object:
    return timedelta(seconds=float(value)) if isinstance(value, str | int | float) else value


def _commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _caller(value: object) -> object:
    try:
        return ip_network(value, strict=False) if isinstance(value, str) else value
    except ValueError:
        return value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
Words = Annotated[tuple[str, ...], BeforeValidator(_commas)]
TrustedCaller = Annotated[IPv4Network | IPv6Network | str, BeforeValidator(_caller)]
TrustedCallers = Annotated[tuple[TrustedCaller, ...], BeforeValidator(_commas)]


def _d(**units: float) -> timedelta:
    return timedelta(**units)


class MfaMode(enum.StrEnum):
    """Say whether sign-ins need a second factor."""

    OFF = "OFF"
    OPTIONAL = "OPTIONAL"
    REQUIRED = "REQUIRED"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DatabaseSettings(_Section):
    """Postgres 14 or newer."""

    url: SecretStr = Field(SecretStr(""), description="libpq URL of the database, `postgresql://user:password@host/name`.")
    pool_size: int = Field(10, ge=2, le=200, description="Most connections of one worker process, throttling excluded.")
    throttle_pool_size: int = Field(3, ge=1, le=50, description="Most connections of one worker process for throttling.")
    connect_timeout: Duration = Field(_d(seconds=5), ge=_d(seconds=1), le=_d(seconds=60), description="For one connection attempt.")
    acquire_timeout: Duration = Field(
        _d(seconds=3), ge=_d(milliseconds=100), le=_d(seconds=60), description="Longest wait for a free connection; then DATABASE_UNAVAILABLE."
    )
    statement_timeout: Duration = Field(_d(seconds=10), ge=_d(seconds=1), le=_d(minutes=5), description="For one statement.")


class ServerSettings(_Section):
    """The gRPC server."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` or `[::]` for all.")
    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that share the port.")
    reflection: bool = Field(False, description="Whether grpcurl may ask for the protos.")
    tls_certificate_file: Path | None = Field(None, description="PEM chain; with the key it turns TLS on.")
    tls_key_file: Path | None = Field(None, description="PEM private key.")
    tls_client_ca_file: Path | None = Field(None, description="PEM bundle; clients must then show a certificate of it (mTLS).")
    trusted_callers: TrustedCallers = Field(
        (),
        description="Callers whose `authsvc-client-ip` and `authsvc-client-user-agent` are believed: CIDRs, or subject "
        "alternative names or common names of client certificates; comma-separated.",
    )
    max_message_bytes: int = Field(65_536, ge=4_096, le=4_194_304, description="Largest request; a larger one is INVALID_FIELDS.")
    request_timeout: Duration = Field(
        _d(seconds=30), ge=_d(seconds=1), le=_d(minutes=5), description="Longest time for a call, whatever its deadline."
    )
    keepalive: Duration = Field(_d(seconds=60), ge=_d(seconds=10), le=_d(hours=2), description="Ping interval on idle connections.")
    max_connection_age: Duration = Field(
        _d(minutes=30), ge=_d(minutes=1), le=_d(days=1), description="After it a connection is asked to reconnect, so load spreads."
    )
    drain_timeout: Duration = Field(
        _d(seconds=20), ge=_d(seconds=1), le=_d(minutes=10), description="Time for calls in flight after SIGTERM."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of the Prometheus endpoint.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of the Prometheus endpoint `/metrics`; 0 turns it off.")


class KeysSettings(_Section):
    """The keys that protect what is stored."""

    master: SecretStr = Field(
        SecretStr(""),
        description="Master keys, one `id:base64url` of 32 bytes a line, made by `authsvc keys generate`. The first one is "
        "used, the others are still read.",
    )


class AccountsSettings(_Section):
    """Accounts and second factors."""

    confirm_sign_up: bool = Field(True, description="Whether a code by mail must confirm a new account.")
    prevent_user_existence_errors: bool = Field(True, description="Whether SignIn hides that a name does not exist.")
    unconfirmed_purge: Duration = Field(
        _d(days=7), ge=_d(days=1), le=_d(days=365), description="Age at which an unconfirmed account is removed."
    )
    mfa: MfaMode = Field(MfaMode.REQUIRED, description="`OFF`, `OPTIONAL` (asked of those who enrolled) or `REQUIRED`.")
    totp_issuer: str = Field("authsvc", min_length=1, max_length=64, pattern=r"^[^:]+$", description="Name shown in authenticator apps.")
    totp_device_limit: int = Field(5, ge=1, le=20, description="Most active authenticators of one account.")


class PasswordsSettings(_Section):
    """Password policy (NIST SP 800-63B §3.1.1) and hashing (OWASP Password Storage)."""

    min_length_with_mfa: int = Field(8, ge=8, le=128, description="Fewest characters where MFA is required.")
    min_length: int = Field(15, ge=8, le=128, description="Fewest characters elsewhere.")
    max_length: int = Field(256, ge=64, le=1024, description="Most characters.")
    blocklist_file: Path | None = Field(None, description="Further refused passwords, one a line, beside the built-in list.")
    require_lowercase: bool = Field(False, description="Whether a lower-case letter is needed.")
    require_uppercase: bool = Field(False, description="Whether an upper-case letter is needed.")
    require_numbers: bool = Field(False, description="Whether a digit is needed.")
    require_symbols: bool = Field(False, description="Whether a character that is neither letter nor digit is needed.")
    argon2_time_cost: int = Field(2, ge=1, le=32, description="Argon2id passes.")
    argon2_memory_kib: int = Field(19_456, ge=8, le=1_048_576, description="Argon2id memory of one hash, KiB.")
    argon2_parallelism: int = Field(1, ge=1, le=16, description="Argon2id lanes.")
    hash_threads: int = Field(0, ge=0, le=256, description="Hashes at once in one worker process; 0 means one for each core.")
    hash_queue: int = Field(64, ge=1, le=10_000, description="Hashes that may wait in one worker process; one more is OVERLOADED.")


class CodesSettings(_Section):
    """Codes sent by mail."""

    sign_up_ttl: Duration = Field(_d(hours=24), ge=_d(minutes=5), le=_d(days=30), description="Life of a sign-up code.")
    sign_up_digits: int = Field(6, ge=6, le=10, description="Length of a sign-up code.")
    reset_ttl: Duration = Field(_d(minutes=10), ge=_d(minutes=2), le=_d(hours=24), description="Life of a reset code.")
    reset_digits: int = Field(8, ge=6, le=10, description="Length of a reset code.")
    max_wrong: int = Field(5, ge=1, le=20, description="Wrong tries that burn a code.")
    sends_per_hour: int = Field(5, ge=1, le=100, description="Codes of one kind sent to one account in an hour.")


class ChallengesSettings(_Section):
    """Half-done sign-ins."""

    ttl: Duration = Field(_d(minutes=3), ge=_d(minutes=1), le=_d(minutes=15), description="Life of a challenge session.")
    setup_ttl: Duration = Field(_d(minutes=15), ge=_d(minutes=3), le=_d(hours=1), description="The same for set-up steps.")
    max_wrong: int = Field(5, ge=1, le=20, description="Wrong answers that kill a challenge session.")


class TokensSettings(_Section):
    """Tokens of signed-in users."""

    issuer: str = Field("authsvc", min_length=1, max_length=255, description="`iss` claim; best the URL of your service.")
    audience: str = Field("authsvc", min_length=1, max_length=255, description="`aud` claim.")
    algorithm: Literal["EdDSA", "ES256"] = Field("EdDSA", description="Signature of new signing keys: `EdDSA` or `ES256`.")
    access_ttl: Duration = Field(_d(minutes=15), ge=_d(minutes=5), le=_d(hours=24), description="Life of access and ID tokens.")
    refresh_ttl: Duration = Field(_d(days=30), ge=_d(hours=1), le=_d(days=3650), description="Life of a session from its sign-in.")
    refresh_grace: Duration = Field(
        _d(seconds=30), ge=_d(seconds=1), le=_d(minutes=5), description="Time in which a repeated refresh gets the same successor."
    )
    reauthentication_window: Duration = Field(
        _d(minutes=10), ge=_d(minutes=1), le=_d(hours=24), description="Oldest authentication for sensitive calls."
    )
    signing_key_lead: Duration = Field(
        _d(minutes=10), ge=_d(minutes=1), le=_d(days=1), description="Time between publishing a new signing key and its first use."
    )


class LimitsSettings(_Section):
    """Throttling, counted in Postgres."""

    lock_from: int = Field(5, ge=3, le=50, description="Failure in a row that first locks a factor of an account, for 1 s, doubling.")
    lock_max: Duration = Field(_d(minutes=15), ge=_d(seconds=30), le=_d(hours=24), description="Longest lock.")
    close_at: int = Field(100, ge=10, le=1000, description="Failures in a row that close a factor until it is reset.")
    sign_up_per_source: int = Field(60, ge=1, le=1_000_000, description="Sign-ups and their confirmations an hour from one address (IPv6: /64).")
    sign_in_per_source: int = Field(120, ge=1, le=1_000_000, description="Sign-ins and their answers a minute from one address.")
    resend_per_source: int = Field(30, ge=1, le=1_000_000, description="Resent codes an hour for one address.")
    reset_per_source: int = Field(30, ge=1, le=1_000_000, description="Password resets and their confirmations an hour from one address.")
    sign_up_global: int = Field(20_000, ge=1, le=100_000_000, description="Sign-ups and their confirmations an hour in all.")
    sign_in_global: int = Field(60_000, ge=1, le=100_000_000, description="Sign-ins and their answers a minute in all.")
    resend_global: int = Field(10_000, ge=1, le=100_000_000, description="Resent codes an hour in all.")
    reset_global: int = Field(10_000, ge=1, le=100_000_000, description="Password resets and their confirmations an hour in all.")


class MailSettings(_Section):
    """Outgoing mail."""

    smtp_host: str = Field("", description="SMTP server.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls", description="`starttls` (required, never downgraded), `implicit` (port 465) or `none`."
    )
    smtp_ca_file: Path | None = Field(None, description="PEM bundle that signs the SMTP server's certificate; the system's if absent.")
    smtp_username: str = Field("", description="Login; none if empty.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Its password.")
    from_address: str = Field("no-reply@authsvc.invalid", description="Sender address; its domain also names the Message-IDs.")
    from_name: str = Field("", max_length=128, description="Sender name.")
    send_timeout: Duration = Field(_d(seconds=30), ge=_d(seconds=5), le=_d(minutes=5), description="Longest time for one message in all.")
    concurrency: int = Field(4, ge=1, le=64, description="Messages sent at once by one worker process.")
    lease: Duration = Field(_d(minutes=2), ge=_d(seconds=30), le=_d(minutes=30), description="After it another worker may send the message.")
    poll_interval: Duration = Field(_d(seconds=5), ge=_d(milliseconds=100), le=_d(minutes=5), description="Longest wait of an idle worker.")
    max_attempts: int = Field(12, ge=1, le=100, description="Tries after which a message is dead.")
    backoff_first: Duration = Field(_d(seconds=5), ge=_d(seconds=1), le=_d(minutes=10), description="Wait after the first failed try, doubling.")
    backoff_max: Duration = Field(_d(minutes=30), ge=_d(seconds=10), le=_d(hours=12), description="Longest wait between tries.")
    code_subject: str = Field("Your verification code", min_length=1, max_length=140, description="Subject of mails with a code.")
    code_message: str = Field(
        "Your verification code is {####}", min_length=6, max_length=20_000, description="Text of mails with a code; `{####}` is the code."
    )


class LogSettings(_Section):
    """Logs, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")
    format: Literal["json", "console"] = Field("json", description="`json`, a line each, or `console` for people.")


class Settings(_Section):
    """Hold every setting of the service."""

    database: DatabaseSettings = DatabaseSettings()
    server: ServerSettings = ServerSettings()
    keys: KeysSettings = KeysSettings()
    accounts: AccountsSettings = AccountsSettings()
    passwords: PasswordsSettings = PasswordsSettings()
    codes: CodesSettings = CodesSettings()
    challenges: ChallengesSettings = ChallengesSettings()
    tokens: TokensSettings = TokensSettings()
    limits: LimitsSettings = LimitsSettings()
    mail: MailSettings = MailSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if (self.server.tls_certificate_file is None) != (self.server.tls_key_file is None):
            raise ValueError("server.tls_certificate_file and server.tls_key_file must be given together")
        if self.server.tls_client_ca_file is not None and self.server.tls_certificate_file is None:
            raise ValueError("server.tls_client_ca_file needs server.tls_certificate_file")
        if "{####}" not in self.mail.code_message:
            raise ValueError("mail.code_message must contain {####}")
        if self.mail.lease < self.mail.send_timeout * 2:
            raise ValueError("mail.lease must be at least twice mail.send_timeout, or mails are sent twice")
        return self


def setting_names() -> dict[str, tuple[str, str]]:
    """Map every environment name to its (section, field), `…_FILE` names of secrets excluded."""
    names: dict[str, tuple[str, str]] = {}
    for section, holder in Settings.model_fields.items():
        fields: Mapping[str, Any] = holder.annotation.model_fields  # type: ignore[union-attr]  # every section is a model
        for field, info in fields.items():
            suffix = "_SECONDS" if info.annotation is timedelta else ""
            names[f"{PREFIX}{section}_{field}{suffix}".upper()] = (section, field)
    return names


def is_secret(section: str, field: str) -> bool:
    """Tell whether a setting holds a secret, and so has a `…_FILE` form."""
    model: Any = Settings.model_fields[section].annotation
    annotation = model.model_fields[field].annotation
    return annotation is SecretStr or SecretStr in get_args(annotation)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment and the settings file.

    Raises:
        SettingsError: a name is unknown, a value out of its range, or a file can't be read; all faults at once.
    """
    environ = os.environ if environ is None else environ
    names = setting_names()
    values: dict[str, dict[str, object]] = {}
    faults: list[str] = []
    if path := environ.get(SETTINGS_FILE):
        _read_settings_file(Path(path), names, values, faults)
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == SETTINGS_FILE:
            continue
        if environ.get(name.removesuffix("_FILE"), value) != value and name.removesuffix("_FILE") in names:
            faults.append(f"{name}: give either this or {name.removesuffix('_FILE')}, not both")
        _read_variable(name, value, names, values, faults)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += [_fault(names, fault["loc"], fault["msg"]) for fault in error.errors(include_url=False, include_input=False)]
    if faults:
        raise SettingsError("\n".join(sorted(faults)))
    return settings


def _read_settings_file(
    path: Path, names: dict[str, tuple[str, str]], values: dict[str, dict[str, object]], faults: list[str]
) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        faults.append(f"{SETTINGS_FILE}: {path}: {error}")
        return
    for section, fields in content.items():
        if not isinstance(fields, dict):
            faults.append(f"{path}: {section!r} must be a section")
            continue
        for key, value in fields.items():
            target = names.get(f"{PREFIX}{section}_{key}".upper())
            if target is None:
                faults.append(f"{path}: unknown setting {key!r} in [{section}]")
            else:
                values.setdefault(target[0], {})[target[1]] = value


def _read_variable(
    name: str, value: str, names: dict[str, tuple[str, str]], values: dict[str, dict[str, object]], faults: list[str]
) -> None:
    target = names.get(name)
    if target is None and name.endswith("_FILE"):
        target = names.get(name.removesuffix("_FILE"))
        if target is not None and is_secret(*target):
            try:
                value = Path(value).read_text(encoding="utf-8").rstrip("\n")
            except (OSError, ValueError) as error:
                faults.append(f"{name}: cannot be read: {error}")
        else:
            target = None
    if target is None:
        faults.append(f"{name}: unknown setting")
    else:
        values.setdefault(target[0], {})[target[1]] = value


def _fault(names: dict[str, tuple[str, str]], location: tuple[int | str, ...], message: str) -> str:
    by_target = {target: name for name, target in names.items()}
    name = by_target.get((str(location[0]), str(location[1]))) if len(location) > 1 else None
    return f"{name or 'settings'}: {message.removeprefix('Value error, ')}"
