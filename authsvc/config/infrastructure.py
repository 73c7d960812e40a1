"""Settings of what the service runs on: database, server, keys, mail, logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import SecretStr

from authsvc.config.types import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    AdminIdentities,
    Duration,
    LanguageTag,
    MailAddress,
    OptionalPath,
    Section,
    TrustedCallers,
    WebAddress,
    field,
)
from authsvc.domain import AdminScope

WEBHOOK_SECRET_CHARACTERS = 32


class DatabaseSettings(Section):
    """Postgres 14 or newer."""

    url: SecretStr = field(SecretStr(""), "libpq URL of the database, `postgresql://user:password@host/name`.")
    pool_size: int = field(10, "Most connections of one worker process, throttling excluded.", ge=2, le=200)
    throttle_pool_size: int = field(3, "Most connections of one worker process for throttling.", ge=1, le=50)
    connect_timeout: Duration = field(5 * SECOND, "For one connection attempt.", ge=SECOND, le=MINUTE)
    acquire_timeout: Duration = field(
        3 * SECOND, "Longest wait for a free connection; then DATABASE_UNAVAILABLE.", ge=SECOND / 10, le=MINUTE
    )
    statement_timeout: Duration = field(10 * SECOND, "For one statement.", ge=SECOND, le=5 * MINUTE)


class ServerSettings(Section):
    """The gRPC server."""

    host: str = field("127.0.0.1", "Address to listen on; `0.0.0.0` or `[::]` for all.")
    port: int = field(50051, "Port to listen on; 0 takes a free one.", ge=0, le=65535)
    workers: int = field(1, "Processes that share the port.", ge=1, le=64)
    reflection: bool = field(False, "Whether grpcurl may ask for the protos.")
    tls_certificate_file: OptionalPath = field(None, "PEM chain; with the key it turns TLS on.")
    tls_key_file: OptionalPath = field(None, "PEM private key.")
    tls_client_ca_file: OptionalPath = field(None, "PEM bundle; clients must then show a certificate of it (mTLS).")
    trusted_callers: TrustedCallers = field(
        (),
        "Callers whose `authsvc-client-ip` and `authsvc-client-user-agent` are believed: CIDRs, or "
        "names in client certificates with their kind, `dns:`, `uri:` or `cn:`; comma-separated.",
    )
    max_message_bytes: int = field(65_536, "Largest request; a larger one is INVALID_FIELDS.", ge=4_096, le=4_194_304)
    max_connections: int = field(1000, "Most connections of one worker process; more are closed.", ge=10, le=100_000)
    max_connections_per_peer: int = field(
        100, "Most connections from one address (IPv6: /64); the newest above it are closed.", ge=1, le=100_000
    )
    max_streams: int = field(100, "Most calls at once on one connection; clients wait with more.", ge=1, le=10_000)
    max_calls: int = field(
        1000,
        "Most calls at once in one worker process, and four times as many as one address may have of those whose "
        "message is still on its way; more are OVERLOADED.",
        ge=10,
        le=100_000,
    )
    receive_timeout: Duration = field(
        10 * SECOND,
        "Longest time for a connection to be set up, and for a call's first message to arrive whole.",
        ge=SECOND,
        le=MINUTE,
    )
    request_timeout: Duration = field(
        30 * SECOND, "Longest time for a call, whatever its deadline.", ge=SECOND, le=5 * MINUTE
    )
    keepalive: Duration = field(MINUTE, "Ping interval on idle connections.", ge=10 * SECOND, le=2 * HOUR)
    max_connection_age: Duration = field(
        30 * MINUTE, "After it a connection is asked to reconnect, so load spreads.", ge=MINUTE, le=DAY
    )
    drain_timeout: Duration = field(20 * SECOND, "Time for calls in flight after SIGTERM.", ge=SECOND, le=10 * MINUTE)
    metrics_host: str = field("127.0.0.1", "Address of the Prometheus endpoint.")
    metrics_port: int = field(0, "Port of the Prometheus endpoint `/metrics`; 0 turns it off.", ge=0, le=65535)

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the files of TLS."""
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            yield "server.tls_certificate_file and server.tls_key_file must be given together"
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            yield "server.tls_client_ca_file needs server.tls_certificate_file"


class KeysSettings(Section):
    """The keys that protect what is stored."""

    master: SecretStr = field(
        SecretStr(""),
        "Master keys, one `id:base64url` of 32 bytes a line, made by `authsvc keys generate`. The first is "
        "used, the others are still read.",
    )


class MailSettings(Section):
    """Outgoing mail."""

    smtp_host: str = field("", "SMTP server.")
    smtp_port: int = field(587, "Its port.", ge=1, le=65535)
    smtp_tls: Literal["starttls", "implicit", "none"] = field(
        "starttls", "`starttls` (required, never downgraded), `implicit` (port 465) or `none`."
    )
    smtp_ca_file: OptionalPath = field(
        None, "PEM bundle that signs the SMTP server's certificate; the system's if absent."
    )
    smtp_username: str = field("", "Login; none if empty.")
    smtp_password: SecretStr = field(SecretStr(""), "Its password.")
    from_address: MailAddress = field("no-reply@authsvc.invalid", "Sender; its domain also names the Message-IDs.")
    from_name: str = field("", "Sender name.", max_length=128)
    send_timeout: Duration = field(30 * SECOND, "Longest time for one message in all.", ge=5 * SECOND, le=5 * MINUTE)
    concurrency: int = field(4, "Messages sent at once by one worker process.", ge=1, le=64)
    lease: Duration = field(2 * MINUTE, "After it another worker may send the message.", ge=30 * SECOND, le=30 * MINUTE)
    poll_interval: Duration = field(5 * SECOND, "Longest wait of an idle worker.", ge=SECOND / 10, le=5 * MINUTE)
    max_attempts: int = field(12, "Tries after which a message is dead.", ge=1, le=100)
    backoff_first: Duration = field(5 * SECOND, "Wait after the first failed try, doubling.", ge=SECOND, le=10 * MINUTE)
    backoff_max: Duration = field(30 * MINUTE, "Longest wait between tries.", ge=10 * SECOND, le=12 * HOUR)
    default_locale: LanguageTag = field(
        "en", "Language of mails and SMS to accounts without a `locale`, or with one that has no templates."
    )
    templates_folder: OptionalPath = field(
        None,
        "Folder with mail templates of yours, `LANGUAGE/KIND.txt`, in front of the built-in ones: see docs/mail.md.",
    )
    code_subject: str = field(
        "Your verification code",
        "Subject of mails with a code. The default is translated; yours is for every language.",
        min_length=1,
        max_length=140,
    )
    code_message: str = field(
        "Your verification code is {####}",
        "Text of mails with a code; `{####}` is the code. The default is translated; yours is for every language.",
        min_length=6,
        max_length=20_000,
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

    webhook_url: WebAddress = field("", "URL that gets each message as a POST; without it there is no SMS.")
    webhook_secret: SecretStr = field(
        SecretStr(""),
        "Keys of the signature (HMAC-SHA-256), 32 characters or more each, by commas or white space; each "
        "message is signed under all of them, so that they can be changed one after the other.",
    )
    webhook_ca_file: OptionalPath = field(
        None, "PEM bundle that signs the webhook's certificate; the system's if absent."
    )
    webhook_timeout: Duration = field(10 * SECOND, "Longest time for one message in all.", ge=SECOND, le=MINUTE)
    code_message: str = field(
        "Your verification code is {####}",
        "Text of messages with a code; `{####}` is the code. The default is translated; yours is for every language.",
        min_length=6,
        max_length=140,
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

    challenge_target: str = field(
        "",
        "`host:port` of a ChallengeHookService that asks each sign-in a custom challenge; none if empty.",
        pattern=r"^([^\s/:]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5})?$",
    )
    challenge_timeout: Duration = field(2 * SECOND, "Deadline of one call to it.", ge=SECOND / 10, le=10 * SECOND)
    challenge_max_rounds: int = field(5, "Most challenges in one sign-in.", ge=1, le=20)
    challenge_tls_ca_file: OptionalPath = field(
        None, "PEM bundle that signs its certificate; without one the call is not encrypted."
    )
    challenge_tls_certificate_file: OptionalPath = field(None, "PEM chain shown to it (mTLS), with the key.")
    challenge_tls_key_file: OptionalPath = field(None, "PEM private key of that.")

    def broken_rules(self) -> Iterator[str]:
        """Yield what is wrong with the files of TLS."""
        if (self.challenge_tls_certificate_file is None) != (self.challenge_tls_key_file is None):
            yield "hooks.challenge_tls_certificate_file and hooks.challenge_tls_key_file must be given together"
        if self.challenge_tls_certificate_file is not None and self.challenge_tls_ca_file is None:
            yield "hooks.challenge_tls_certificate_file needs hooks.challenge_tls_ca_file"


class AdminSettings(Section):
    """Who may call AdminService, beside holders of admin keys (`authsvc admin-keys`); how `authsvc admin` calls it."""

    identities: AdminIdentities = field(
        (),
        "Names in client certificates (mTLS) with their kind, `dns:`, `uri:` or `cn:`, and their scopes, "
        "`dns:console.example.com=users+support`; `read` without; comma-separated.",
    )
    address: str = field(
        "", "`host:port` of the server that `authsvc admin` calls; the one of these settings here if empty."
    )
    key: SecretStr = field(SecretStr(""), "Admin key that `authsvc admin` shows; the server needs none.")

    def scopes(self) -> dict[str, frozenset[AdminScope]]:
        """Return what the holder of each certificate may do, by its name with its kind."""
        told = (identity.rpartition("=") if "=" in identity else (identity, "", "read") for identity in self.identities)
        return {name: frozenset(map(AdminScope, scopes.split("+"))) for name, _, scopes in told}


class AuditSettings(Section):
    """The audit trail."""

    retention: Duration = field(
        400 * DAY, "Age at which events are removed, by whole months.", ge=31 * DAY, le=3650 * DAY
    )


class LogSettings(Section):
    """Logs, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = field("info", "Least level that is written.")
    format: Literal["json", "console"] = field("json", "`json`, a line each, or `console` for people.")
