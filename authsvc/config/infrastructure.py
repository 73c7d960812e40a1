"""Settings of what the service runs on: database, server, keys, mail, logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, SecretStr

from authsvc.config.types import (
    Duration,
    LanguageTag,
    MailAddress,
    Names,
    OptionalPath,
    Section,
    TrustedCallers,
    WebAddress,
    days,
    hours,
    milliseconds,
    minutes,
    seconds,
)

WEBHOOK_SECRET_CHARACTERS = 32


class DatabaseSettings(Section):
    """Postgres 14 or newer."""

    url: SecretStr = Field(
        SecretStr(""), description="libpq URL of the database, `postgresql://user:password@host/name`."
    )
    pool_size: int = Field(10, ge=2, le=200, description="Most connections of one worker process, throttling excluded.")
    throttle_pool_size: int = Field(
        3, ge=1, le=50, description="Most connections of one worker process for throttling."
    )
    connect_timeout: Duration = Field(
        seconds(5), ge=seconds(1), le=seconds(60), description="For one connection attempt."
    )
    acquire_timeout: Duration = Field(
        seconds(3),
        ge=milliseconds(100),
        le=seconds(60),
        description="Longest wait for a free connection; then DATABASE_UNAVAILABLE.",
    )
    statement_timeout: Duration = Field(seconds(10), ge=seconds(1), le=minutes(5), description="For one statement.")


class ServerSettings(Section):
    """The gRPC server."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` or `[::]` for all.")
    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Processes that share the port.")
    reflection: bool = Field(False, description="Whether grpcurl may ask for the protos.")
    tls_certificate_file: OptionalPath = Field(None, description="PEM chain; with the key it turns TLS on.")
    tls_key_file: OptionalPath = Field(None, description="PEM private key.")
    tls_client_ca_file: OptionalPath = Field(
        None, description="PEM bundle; clients must then show a certificate of it (mTLS)."
    )
    trusted_callers: TrustedCallers = Field(
        (),
        description="Callers whose `authsvc-client-ip` and `authsvc-client-user-agent` are believed: CIDRs, or subject "
        "alternative names or common names of client certificates; comma-separated.",
    )
    max_message_bytes: int = Field(
        65_536, ge=4_096, le=4_194_304, description="Largest request; a larger one is INVALID_FIELDS."
    )
    request_timeout: Duration = Field(
        seconds(30), ge=seconds(1), le=minutes(5), description="Longest time for a call, whatever its deadline."
    )
    keepalive: Duration = Field(
        seconds(60), ge=seconds(10), le=hours(2), description="Ping interval on idle connections."
    )
    max_connection_age: Duration = Field(
        minutes(30),
        ge=minutes(1),
        le=days(1),
        description="After it a connection is asked to reconnect, so load spreads.",
    )
    drain_timeout: Duration = Field(
        seconds(20), ge=seconds(1), le=minutes(10), description="Time for calls in flight after SIGTERM."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of the Prometheus endpoint.")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of the Prometheus endpoint `/metrics`; 0 turns it off."
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the files of TLS."""
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            yield "server.tls_certificate_file and server.tls_key_file must be given together"
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            yield "server.tls_client_ca_file needs server.tls_certificate_file"


class KeysSettings(Section):
    """The keys that protect what is stored."""

    master: SecretStr = Field(
        SecretStr(""),
        description="Master keys, one `id:base64url` of 32 bytes a line, made by `authsvc keys generate`. The first is "
        "used, the others are still read.",
    )


class MailSettings(Section):
    """Outgoing mail."""

    smtp_host: str = Field("", description="SMTP server.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls", description="`starttls` (required, never downgraded), `implicit` (port 465) or `none`."
    )
    smtp_ca_file: OptionalPath = Field(
        None, description="PEM bundle that signs the SMTP server's certificate; the system's if absent."
    )
    smtp_username: str = Field("", description="Login; none if empty.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Its password.")
    from_address: MailAddress = Field(
        "no-reply@authsvc.invalid", description="Sender; its domain also names the Message-IDs."
    )
    from_name: str = Field("", max_length=128, description="Sender name.")
    send_timeout: Duration = Field(
        seconds(30), ge=seconds(5), le=minutes(5), description="Longest time for one message in all."
    )
    concurrency: int = Field(4, ge=1, le=64, description="Messages sent at once by one worker process.")
    lease: Duration = Field(
        minutes(2), ge=seconds(30), le=minutes(30), description="After it another worker may send the message."
    )
    poll_interval: Duration = Field(
        seconds(5), ge=milliseconds(100), le=minutes(5), description="Longest wait of an idle worker."
    )
    max_attempts: int = Field(12, ge=1, le=100, description="Tries after which a message is dead.")
    backoff_first: Duration = Field(
        seconds(5), ge=seconds(1), le=minutes(10), description="Wait after the first failed try, doubling."
    )
    backoff_max: Duration = Field(minutes(30), ge=seconds(10), le=hours(12), description="Longest wait between tries.")
    default_locale: LanguageTag = Field(
        "en", description="Language of mails and SMS to accounts without a `locale`, or with one that has no templates."
    )
    templates_folder: OptionalPath = Field(
        None,
        description="Folder with mail templates of yours, `LANGUAGE/KIND.txt`, in front of the built-in ones: see "
        "docs/mail.md.",
    )
    code_subject: str = Field(
        "Your verification code",
        min_length=1,
        max_length=140,
        description="Subject of mails with a code. The default is translated; yours is for every language.",
    )
    code_message: str = Field(
        "Your verification code is {####}",
        min_length=6,
        max_length=20_000,
        description="Text of mails with a code; `{####}` is the code. The default is translated; yours is for every "
        "language.",
    )

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the words, and with the times."""
        if "{####}" not in self.code_message:
            yield "mail.code_message must contain {####}"
        if not self.code_subject.strip():
            yield "mail.code_subject must not be blank"
        if self.lease < self.send_timeout * 2:
            yield "mail.lease must be at least twice mail.send_timeout, or mails are sent twice"


class SmsSettings(Section):
    """Outgoing SMS, handed to a webhook of yours as signed JSON: see docs/hooks.md."""

    webhook_url: WebAddress = Field("", description="URL that gets each message as a POST; without it there is no SMS.")
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="Keys of the signature (HMAC-SHA-256), 32 characters or more each, by commas or white space; each "
        "message is signed under all of them, so that they can be changed one after the other.",
    )
    webhook_ca_file: OptionalPath = Field(
        None, description="PEM bundle that signs the webhook's certificate; the system's if absent."
    )
    webhook_timeout: Duration = Field(
        seconds(10), ge=seconds(1), le=seconds(60), description="Longest time for one message in all."
    )
    code_message: str = Field(
        "Your verification code is {####}",
        min_length=6,
        max_length=140,
        description="Text of messages with a code; `{####}` is the code. The default is translated; yours is for every "
        "language.",
    )

    def keys(self) -> tuple[str, ...]:
        """Return the keys of the signature."""
        return tuple(key for key in re.split(r"[\s,]+", self.webhook_secret.get_secret_value()) if key)

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the webhook's keys, and with the words."""
        if self.webhook_url and min(map(len, self.keys()), default=0) < WEBHOOK_SECRET_CHARACTERS:
            yield f"sms.webhook_secret must have at least {WEBHOOK_SECRET_CHARACTERS} characters in each key"
        if "{####}" not in self.code_message:
            yield "sms.code_message must contain {####}"


class HooksSettings(Section):
    """Services of yours that authsvc calls: see docs/hooks.md."""

    challenge_target: str = Field(
        "",
        pattern=r"^([^\s/:]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5})?$",
        description="`host:port` of a ChallengeHookService that asks each sign-in a custom challenge; none if empty.",
    )
    challenge_timeout: Duration = Field(
        seconds(2), ge=milliseconds(100), le=seconds(10), description="Deadline of one call to it."
    )
    challenge_max_rounds: int = Field(5, ge=1, le=20, description="Most challenges in one sign-in.")
    challenge_tls_ca_file: OptionalPath = Field(
        None, description="PEM bundle that signs its certificate; without one the call is not encrypted."
    )
    challenge_tls_certificate_file: OptionalPath = Field(
        None, description="PEM chain shown to it (mTLS), with the key."
    )
    challenge_tls_key_file: OptionalPath = Field(None, description="PEM private key of that.")

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the files of TLS."""
        if (self.challenge_tls_certificate_file is None) != (self.challenge_tls_key_file is None):
            yield "hooks.challenge_tls_certificate_file and hooks.challenge_tls_key_file must be given together"
        if self.challenge_tls_certificate_file is not None and self.challenge_tls_ca_file is None:
            yield "hooks.challenge_tls_certificate_file needs hooks.challenge_tls_ca_file"


class AdminSettings(Section):
    """Who may call AdminService, beside holders of admin keys (`authsvc admin-keys`); how `authsvc admin` calls it."""

    identities: Names = Field(
        (), description="Subject alternative names or common names of client certificates (mTLS); comma-separated."
    )
    address: str = Field(
        "", description="`host:port` of the server that `authsvc admin` calls; the one of these settings here if empty."
    )
    key: SecretStr = Field(SecretStr(""), description="Admin key that `authsvc admin` shows; the server needs none.")


class AuditSettings(Section):
    """The audit trail."""

    retention: Duration = Field(
        days(400), ge=days(31), le=days(3650), description="Age at which events are removed, by whole months."
    )


class LogSettings(Section):
    """Logs, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is written.")
    format: Literal["json", "console"] = Field("json", description="`json`, a line each, or `console` for people.")
